//! Whatever is swapped while a path is opened: what was judged is what is opened.

use super::{BOTH, Burglar, Directory, granted};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SECRET: &str = "the neighbour's secret";
const ORDERS: usize = 400;

/// Swaps `one` and `other` as fast as it can until it is dropped.
struct Swapping(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Swapping {
    fn new(house: &Directory, one: &str, other: &str) -> Swapping {
        let over = Arc::new(AtomicBool::new(false));
        let (one, other) = (house.path(one), house.path(other));
        let seen = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            while !seen.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(rustix::fs::CWD, &one, rustix::fs::CWD, &other, flags)
                    .unwrap();
            }
        });
        Swapping(over, Some(thread))
    }
}

impl Drop for Swapping {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().unwrap().join();
    }
}

async fn look(burglar: &Burglar, path: &str) -> Vec<String> {
    let open = format!("do=open&from=/data&path={path}&for=r&as=x\ndo=read&from=x\n");
    let close = "do=close&from=x\n";
    let orders = (open + close).repeat(ORDERS);
    let answer = crate::support::post(&burglar.component, "/", orders).await;
    answer.text.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_becomes_a_link_leads_nowhere() {
    for class in BOTH {
        let outside = Directory::new();
        fs::write(outside.path("x"), SECRET).unwrap();
        let house = Directory::with(&["d/x"]);
        symlink(&outside.0, house.path("link")).unwrap();
        let burglar = Burglar::new(class, granted(&["/data/d/**"], &[]), house.mount());
        let swapping = Swapping::new(&house, "d", "link");
        let seen = look(&burglar, "d/x").await;
        drop(swapping);
        assert!(seen.iter().all(|line| line != SECRET), "{class:?}");
        for expected in ["d/x", "loop"] {
            assert!(
                seen.iter().any(|line| line == expected),
                "{class:?}: never {expected}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_becomes_a_link_leads_nowhere() {
    for class in BOTH {
        let outside = Directory::new();
        fs::write(outside.path("x"), SECRET).unwrap();
        let house = Directory::with(&["f"]);
        symlink(outside.path("x"), house.path("link")).unwrap();
        let burglar = Burglar::new(class, granted(&["/data/f"], &[]), house.mount());
        let swapping = Swapping::new(&house, "f", "link");
        let seen = look(&burglar, "f").await;
        drop(swapping);
        assert!(seen.iter().all(|line| line != SECRET), "{class:?}");
        for expected in ["f", "loop"] {
            assert!(
                seen.iter().any(|line| line == expected),
                "{class:?}: never {expected}"
            );
        }
    }
}
