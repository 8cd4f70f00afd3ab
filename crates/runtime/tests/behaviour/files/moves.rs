//! Nothing gains or loses rights by being moved.

use super::{BOTH, Burglar, Directory, granted};
use std::fs;

#[tokio::test]
async fn files_move_where_they_have_equal_rights() {
    for class in BOTH {
        let house = Directory::with(&["out/a", "out/b", "both/x", "in/y"]);
        let rights = granted(
            &["/data/in/**", "/data/both/**"],
            &["/data/out/**", "/data/both/**"],
        );
        let burglar = Burglar::new(class, rights, house.mount());
        let told = burglar
            .told([
                "do=rename&from=/data&path=out/a&to=/data&into=out/b",
                // To where it could be read.
                "do=rename&from=/data&path=out/b&to=/data&into=both/b",
                // From where it could be read: it is not the guest's to hide.
                "do=rename&from=/data&path=both/x&to=/data&into=out/x",
                "do=rename&from=/data&path=in/y&to=/data&into=out/y",
                "do=rename&from=/data&path=out/b&to=/data&into=in/b",
                "do=rename&from=/data&path=out/none&to=/data&into=out/c",
                "do=rename&from=/data&path=out/b&to=/data&into=out/c/",
                "do=rename&from=/data&path=out&to=/data&into=both/out",
            ])
            .await;
        assert_eq!(
            told,
            [
                "done",
                "not-permitted",
                "not-permitted",
                "access",
                "access",
                "no-entry",
                "not-directory",
                "not-permitted"
            ],
            "{class:?}"
        );
        assert_eq!(house.read("out/b"), "out/a");
        assert_eq!(burglar.denied("UnequalRights").len(), 3);
    }
}

#[tokio::test]
async fn directories_move_only_where_all_below_has_equal_rights() {
    for class in BOTH {
        let house = Directory::with(&["d/secret", "e/x", "f/y"]);
        // In `d` nothing can be read; everything can be written.
        let rights = granted(&["/data/e/**"], &["/data/**"]);
        let burglar = Burglar::new(class, rights, house.mount());
        let told = burglar
            .told([
                "do=rename&from=/data&path=d&to=/data&into=e/d",
                "do=rename&from=/data&path=d&to=/data&into=g",
                "do=rename&from=/data&path=e&to=/data&into=h",
                // Both are written to alike, but not what is below.
                "do=rename&from=/data&path=g&to=/data&into=e",
                "do=rename&from=/data&path=g/secret&to=/data&into=f/secret",
            ])
            .await;
        let no = "not-permitted";
        assert_eq!(told, [no, "done", no, no, "done"], "{class:?}");
        assert!(house.path("f/secret").exists() && house.path("e/x").exists());
    }
}

#[tokio::test]
async fn a_directory_that_was_moved_takes_no_rights_along() {
    for class in BOTH {
        let house = Directory::with(&["out/d/x", "private/x"]);
        let rights = granted(&["/data/out/**"], &["/data/out/**"]);
        let burglar = Burglar::new(class, rights, house.mount());
        let told = burglar
            .told([
                "do=open&from=/data&path=out/d&for=rd&as=d",
                "do=rename&from=/data&path=out/d&to=/data&into=out/e",
                // The handle means the path, not what was there.
                "do=open&from=d&path=x&for=r&as=x",
                "do=mkdir&from=/data&path=out/d",
                "do=list&from=d",
                "do=stat&from=d",
            ])
            .await;
        let first = ["open", "done", "no-entry", "done", ""];
        assert_eq!(told[..5], first, "{class:?}");
        assert!(told[5].starts_with("directory"));

        // Somebody of the host swaps it for what is not granted.
        fs::remove_dir(house.path("out/d")).unwrap();
        fs::rename(house.path("private"), house.path("out/d")).unwrap();
        let told = burglar
            .told([
                "do=open&from=/data&path=out/d/x&for=r&as=x",
                "do=open&from=/data&path=private/x&for=r&as=x",
            ])
            .await;
        assert_eq!(told, ["open", "access"]);
    }
}
