//! Links, pipes and sockets: none is made, and none that is there leads anywhere.

use super::{BOTH, Burglar, Directory, granted};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

#[tokio::test]
async fn no_link_is_made_or_read() {
    for class in BOTH {
        let house = Directory::with(&["a"]);
        let all = granted(&["/data/**"], &["/data/**"]);
        let burglar = Burglar::new(class, all, house.mount());
        let told = burglar
            .told([
                "do=symlink&from=/data&target=/etc&path=l",
                "do=link&from=/data&path=a&to=/data&into=b",
                "do=readlink&from=/data&path=a",
            ])
            .await;
        assert_eq!(told, ["not-permitted"; 3], "{class:?}");
        assert_eq!(burglar.denied("LinkRefused").len(), 3);
        assert_eq!(std::fs::read_dir(&house.0).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn links_of_the_host_are_not_followed_and_not_shown() {
    for class in BOTH {
        let outside = Directory::with(&["secret", "d/secret"]);
        let house = Directory::with(&["a"]);
        symlink(outside.path("secret"), house.path("file")).unwrap();
        symlink(outside.path("d"), house.path("dir")).unwrap();
        symlink("a", house.path("inside")).unwrap();
        let all = granted(&["/data/**"], &["/data/**"]);
        let burglar = Burglar::new(class, all, house.mount());
        let told = burglar
            .told([
                "do=open&from=/data&path=file&for=r&as=x",
                "do=open&from=/data&path=file&for=wc&as=x",
                "do=open&from=/data&path=dir/secret&for=r&as=x",
                "do=open&from=/data&path=dir&for=rd&as=x",
                "do=open&from=/data&path=inside&for=r&as=x",
                "do=stat&from=/data&path=file",
                "do=mkdir&from=/data&path=dir/new",
                "do=unlink&from=/data&path=dir/secret",
                "do=rename&from=/data&path=a&to=/data&into=dir/a",
                "do=rename&from=/data&path=file&to=/data&into=b",
                "do=list&from=/data",
            ])
            .await;
        assert_eq!(
            told,
            [
                "loop", "loop", "loop", "loop", "loop", "loop", "loop", "loop", "loop", "access",
                "a"
            ],
            "{class:?}"
        );
        assert_eq!(outside.read("secret"), "secret");
        assert!(!outside.path("d/new").exists());
        assert_eq!(burglar.denied("LinkRefused").len(), 9);
    }
}

#[tokio::test]
async fn pipes_and_sockets_hold_nobody_up() {
    for class in BOTH {
        let house = Directory::new();
        let _socket = UnixListener::bind(house.path("socket")).unwrap();
        let root = std::fs::File::open(&house.0).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(&root, "pipe", mode).unwrap();
        let all = granted(&["/data/**"], &["/data/**"]);
        let burglar = Burglar::new(class, all, house.mount());
        let told = burglar
            .told([
                "do=open&from=/data&path=pipe&for=r&as=x",
                "do=open&from=/data&path=pipe&for=w&as=x",
                "do=open&from=/data&path=pipe&for=&as=x",
                "do=open&from=/data&path=socket&for=r&as=x",
                "do=stat&from=/data&path=pipe",
                "do=list&from=/data",
            ])
            .await;
        assert_eq!(
            told,
            ["access", "access", "access", "access", "access", ""],
            "{class:?}"
        );
        assert_eq!(burglar.denied("SpecialFile").len(), 5);
    }
}
