//! Sizes, handles and threads: one guest takes no more of the host than its share.

use super::{BOTH, Burglar, Directory, FILES, granted, load, told};
use crate::support::{code, eventually, verified, workload};
use ::capability::Bytes;
use runtime::{AuditLevel, EngineClass, Mount};
use std::sync::Arc;

fn limited(house: &Directory, limit: u64) -> Mount {
    Mount {
        size_limit: Some(limit),
        ..house.mount()
    }
}

#[tokio::test]
async fn a_size_limit_holds_for_all_instances_and_versions() {
    for class in BOTH {
        let house = Directory::new();
        let rights = || granted(&["/data/**"], &["/data/out/**"]);
        let burglar = Burglar::new(class, rights(), limited(&house, 256 * 1024));
        let told_first = burglar
            .told([
                "do=list&from=/data",
                "do=open&from=/data&path=out/a&for=wc&as=a",
                "do=write&to=a&size=200000",
                "do=append&to=a&size=100000",
                "do=write&to=a&offset=99999999999&text=x",
                "do=resize&to=a&size=99999999999",
                "do=resize&to=a&size=0",
                "do=write&to=a&size=100000",
            ])
            .await;
        let full = "insufficient-space";
        let expected = ["out/", "open", "done", full, full, full, "done", "done"];
        assert_eq!(told_first, expected, "{class:?}");
        assert!(
            burglar
                .denied("QuotaExceeded")
                .contains(&"/data/out/a".to_owned())
        );

        // The next revision of the component, on the same directory.
        let mount = limited(&house, 256 * 1024);
        let successor = load(&burglar.runtime, EngineClass::SMALL, rights(), mount);
        let orders = [
            "do=open&from=/data&path=out/b&for=wc&as=b",
            "do=write&to=b&size=200000",
            "do=unlink&from=/data&path=out/a",
            "do=write&to=b&size=200000",
        ];
        assert_eq!(
            told(&successor, orders).await,
            ["open", full, "done", "done"]
        );
    }
}

#[tokio::test]
async fn names_and_empty_files_are_not_free() {
    let house = Directory::new();
    let rights = granted(&[], &["/data/**"]);
    let burglar = Burglar::new(EngineClass::SMALL, rights, limited(&house, 64 * 1024));
    let mut made = 0;
    for name in 0..40 {
        let order = format!("do=mkdir&from=/data&path={name}");
        if burglar.told([order.as_str()]).await == ["done"] {
            made += 1;
        }
    }
    assert_eq!(made, 64 * 1024 / (4096 + 256));
}

#[tokio::test]
async fn handles_of_the_host_are_bounded_and_come_back() {
    for class in BOTH {
        let house = Directory::with(&["a"]);
        let burglar = Burglar::new(class, granted(&["/data/**"], &[]), house.mount());
        // Directories are names: they cost nothing.
        let orders = [
            "do=hoard&from=/data&path=.&count=400",
            "do=hoard&from=/data&path=a&count=600",
            "do=open&from=/data&path=a&for=r&as=a",
        ];
        let told = burglar.told(orders).await;
        match class {
            // 0.3 has fewer handles of its own.
            EngineClass::P3 => assert!(told[1].starts_with("5") || told[1] == "600", "{told:?}"),
            _ => assert_eq!(told, ["400", "512 quota", "open"]),
        }
        assert_eq!(burglar.told(orders).await[0], "400");
    }
}

/// Few threads for blocking work, as if a whole node's were taken.
fn narrow() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn listings_that_nobody_reads_hold_no_thread() {
    narrow().block_on(async {
        for class in BOTH {
            let names: Vec<String> = (0..200).map(|name| name.to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let house = Directory::with(&names);
            let burglar = Burglar::new(class, granted(&["/data/**"], &[]), house.mount());
            let told = burglar
                .told([
                    "do=listings&from=/data&count=200&first=1",
                    "do=listings&from=/data&count=300",
                    // Every thread is free: this needs one.
                    "do=open&from=/data&path=17&for=r&as=x",
                    "do=read&from=x",
                ])
                .await;
            assert_eq!(told, ["200", "500", "open", "17"], "{class:?}");
            let told = burglar.told(["do=list&from=/data"]).await;
            assert_eq!(told[0].split(' ').count(), 200);
        }
    });
}

#[tokio::test]
async fn what_the_host_holds_counts_against_the_call() {
    // Too many entries for one chunk, so that each listing that was begun holds its buffers.
    let names: Vec<String> = (0..70).map(|name| name.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let house = Directory::with(&names);
    let rights = || granted(&["/data/**"], &[]);
    let burglar = Burglar::new(EngineClass::SMALL, rights(), house.mount());
    let mut poor = workload("files");
    let initial = verified(FILES).facts().initial_memory;
    poor.limits.per_call.memory = Bytes(initial + 300_000);
    poor.effective = rights().into();
    poor.mounts = vec![house.mount()];
    let code = code(EngineClass::SMALL, FILES);
    let poor = burglar.runtime.load(&code, poor).unwrap();
    let listings = "do=listings&from=/data&count=5&first=1";
    assert_eq!(told(&poor, [listings]).await, ["insufficient-memory"]);
    assert_eq!(burglar.denied("LimitExceeded"), ["/data"]);
    eventually("nothing is held", || poor.stats().memory == 0).await;
    assert_eq!(burglar.told([listings]).await, ["5"]);
}

#[tokio::test]
async fn bytes_of_files_count_as_bytes_that_a_call_moves() {
    for class in BOTH {
        let house = Directory::new();
        let rights = || granted(&["/data/**"], &["/data/out/**"]);
        let burglar = Burglar::new(class, rights(), limited(&house, 8 << 20));
        let mut bounded = workload("files");
        bounded.limits.per_call.io = Some(Bytes::kib(256));
        bounded.effective = rights().into();
        bounded.mounts = vec![limited(&house, 8 << 20)];
        let wasm = match class {
            EngineClass::P3 => super::ASYNC_FILES,
            _ => FILES,
        };
        let bounded = burglar.runtime.load(&code(class, wasm), bounded).unwrap();
        let little = [
            "do=open&from=/data&path=out/a&for=wc&as=a",
            "do=write&to=a&size=100000",
        ];
        assert_eq!(told(&bounded, little).await, ["open", "done"], "{class:?}");
        let much = [little[0], "do=write&to=a&size=300000"];
        let answer = crate::support::post(&bounded, "/", much.join("\n")).await;
        assert_eq!(answer.reason(), "IoExceeded", "{class:?}");
    }
}

#[tokio::test]
async fn a_component_without_volumes_has_no_files() {
    let house = Directory::new();
    let burglar = Burglar::new(EngineClass::SMALL, granted(&[], &[]), house.mount());
    let workload = runtime::Workload {
        audit: AuditLevel::All,
        ..workload("files")
    };
    let bare = burglar
        .runtime
        .load(&code(EngineClass::SMALL, FILES), workload)
        .unwrap();
    assert_eq!(told(&bare, ["do=preopens"]).await, [""]);
    let _ = burglar.noted();
    assert_eq!(Arc::strong_count(&bare), 1);
    assert!(bare.stats().uses.iter().all(|uses| uses.denied == 0));
}
