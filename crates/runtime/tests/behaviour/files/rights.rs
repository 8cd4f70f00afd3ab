//! Read globs, write globs, and the way to them.

use super::{BOTH, Burglar, Directory, granted, load, mount, path, told};
use ::capability::{Effective, Grant, Request};
use runtime::{EngineClass, Mount};
use std::fs;

const SAMPLE: &str = r#"
[component]
name = "data-processor"
version = "1.0.0"

[permissions.filesystem]
readable_paths = ["/data/input/**"]
writable_paths = ["/data/output/**"]
"#;

fn house() -> Directory {
    Directory::with(&[
        "input/a",
        "input/deep/b",
        "output/old",
        "private/key",
        "top",
    ])
}

fn burglar(class: EngineClass, house: &Directory) -> Burglar {
    let rights = granted(&["/data/input/**"], &["/data/output/**"]);
    Burglar::new(class, rights, house.mount())
}

#[tokio::test]
async fn what_is_readable_is_read_and_what_is_writable_is_written() {
    for class in BOTH {
        let house = house();
        let burglar = burglar(class, &house);
        let told = burglar
            .told([
                "do=preopens",
                "do=open&from=/data&path=input/deep/b&for=r&as=b",
                "do=read&from=b",
                "do=read&from=b&offset=6&length=4",
                "do=stat&from=b",
                "do=flags&from=b",
                "do=open&from=/data&path=output/new&for=wcx&as=n",
                "do=write&to=n&text=hello",
                "do=append&to=n&text=, you",
                "do=write&to=n&offset=1&text=E",
                "do=sync&from=n",
                "do=resize&to=n&size=8",
                "do=open&from=/data&path=output/old&for=wt&as=o",
                "do=touch-it&to=o",
                "do=mkdir&from=/data&path=output/d",
                "do=touch&from=/data&path=output/d",
                "do=rmdir&from=/data&path=output/d",
            ])
            .await;
        assert_eq!(
            told,
            [
                "/data",
                "open",
                "input/deep/b",
                "deep",
                "file 12",
                "read",
                "open",
                "done",
                "done",
                "done",
                "done",
                "done",
                "open",
                "done",
                "done",
                "done",
                "done"
            ],
            "{class:?}"
        );
        assert_eq!(house.read("output/new"), "hEllo, y");
        assert_eq!(house.read("output/old"), "");
        let noted = burglar.noted();
        assert!(noted.contains(&("/data/input/deep/b".into(), "Granted".into())));
        assert!(noted.contains(&("/data/output/new".into(), "Granted".into())));
    }
}

#[tokio::test]
async fn everything_else_is_an_ordinary_error_and_a_record() {
    for class in BOTH {
        let house = house();
        let burglar = burglar(class, &house);
        let told = burglar
            .told([
                "do=open&from=/data&path=private/key&for=r&as=x",
                "do=open&from=/data&path=top&for=r&as=x",
                "do=open&from=/data&path=input/a&for=rw&as=x",
                "do=open&from=/data&path=input/new&for=wc&as=x",
                "do=open&from=/data&path=input/a&for=rt&as=x",
                "do=open&from=/data&path=nothing&for=r&as=x",
                "do=stat&from=/data&path=private",
                "do=stat&from=/data&path=top",
                "do=hash&from=/data&path=private/key",
                "do=unlink&from=/data&path=input/a",
                "do=touch&from=/data&path=input/a",
                "do=mkdir&from=/data&path=new",
                "do=rmdir&from=/data&path=private",
                "do=open&from=/data&path=&for=r&as=x",
            ])
            .await;
        let mut expected = ["access"; 14];
        expected[13] = "no-entry";
        assert_eq!(told, expected, "{class:?}");
        let denied = burglar.denied("NotGranted");
        for object in [
            "/data/private/key",
            "/data/top",
            "/data/input/a",
            "/data/nothing",
        ] {
            assert!(
                denied.iter().any(|noted| noted == object),
                "{object}: {denied:?}"
            );
        }
        assert_eq!(house.read("input/a"), "input/a");
    }
}

#[tokio::test]
async fn who_may_only_write_can_not_read_however_it_opens() {
    for class in BOTH {
        let house = house();
        let burglar = burglar(class, &house);
        let told = burglar
            .told([
                "do=open&from=/data&path=output/old&for=r&as=x",
                "do=open&from=/data&path=output/old&for=rw&as=x",
                "do=open&from=/data&path=output/old&for=rc&as=x",
                "do=open&from=/data&path=output/old&for=c&as=made",
                "do=read&from=made",
                "do=write&to=made&text=x",
                "do=open&from=/data&path=output/old&for=&as=looked",
                "do=read&from=looked&length=3",
                "do=open&from=/data&path=output/old&for=w&as=w",
                "do=read&from=w",
                "do=flags&from=w",
                "do=stat&from=w",
            ])
            .await;
        let bad = "bad-descriptor";
        assert_eq!(
            told,
            [
                "access", "access", "access", "open", bad, bad, "open", bad, "open", bad, "write",
                "file 10"
            ],
            "{class:?}"
        );
    }
}

#[tokio::test]
async fn directories_on_the_way_show_what_may_be_known_and_no_more() {
    for class in BOTH {
        let house = house();
        let burglar = burglar(class, &house);
        let told = burglar
            .told([
                "do=list&from=/data",
                "do=stat&from=/data",
                "do=open&from=/data&path=.&for=r&as=root",
                "do=flags&from=root",
                "do=open&from=/data&path=input&for=rd&as=in",
                "do=list&from=in",
                "do=open&from=in&path=deep/b&for=r&as=b",
                "do=stat&from=in&path=a",
                "do=open&from=/data&path=output&for=r&as=out",
                "do=list&from=out",
                "do=flags&from=out",
                "do=type&from=out",
            ])
            .await;
        assert_eq!(
            told,
            [
                "input/ output/",
                "directory 0 without times",
                "open",
                "read",
                "open",
                "a deep/",
                "open",
                "file 7",
                "open",
                "old",
                "read mutate",
                "directory"
            ],
            "{class:?}"
        );
    }
}

#[tokio::test]
async fn no_spelling_leads_out() {
    for class in BOTH {
        let house = house();
        let burglar = burglar(class, &house);
        let told = burglar
            .told([
                "do=open&from=/data&path=../etc/passwd&for=r&as=x",
                "do=open&from=/data&path=input/../../etc/passwd&for=r&as=x",
                "do=open&from=/data&path=/etc/passwd&for=r&as=x",
                "do=open&from=/data&path=/data/input/a&for=r&as=x",
                "do=open&from=/data&path=input/a%00/../../private/key&for=r&as=x",
                "do=open&from=/data&path=input/../private/key&for=r&as=x",
                "do=open&from=/data&path=input/./deep/..//a&for=r&as=x",
                "do=open&from=/data&path=input/a/&for=r&as=x",
                "do=open&from=/data&path=input/a/.&for=r&as=x",
                "do=unlink&from=/data&path=output/old/",
                "do=mkdir&from=/data&path=output/made/",
                "do=open&from=/data&path=output/made2/&for=wc&as=x",
                "do=open&from=/data&path=input&for=rd&as=in",
                "do=open&from=in&path=../private/key&for=r&as=x",
                "do=open&from=in&path=..&for=r&as=up",
                "do=list&from=up",
                "do=open&from=up&path=..&for=r&as=x",
            ])
            .await;
        let out = "not-permitted";
        assert_eq!(
            told,
            [
                out,
                out,
                out,
                out,
                out,
                "access",
                "open",
                "not-directory",
                "not-directory",
                "is-directory",
                "done",
                "is-directory",
                "open",
                "access",
                "open",
                "input/ output/",
                out
            ],
            "{class:?}"
        );
        assert!(house.path("output/made").is_dir() && house.path("output/old").exists());
        assert_eq!(burglar.denied("Malformed").len(), 6);
    }
}

#[tokio::test]
async fn request_grant_and_ceiling_hold_together() {
    let house = house();
    let all = || granted(&["/data/**"], &["/data/**"]);
    let read = ["do=open&from=/data&path=top&for=r&as=x"];
    let manifest = Effective {
        requests: vec![Request::from_toml(SAMPLE).unwrap()],
        ..all()
    };
    let burglar = Burglar::new(EngineClass::SMALL, manifest.clone(), house.mount());
    assert_eq!(burglar.told(read).await, ["access"]);
    assert_eq!(burglar.denied("NotRequested"), ["/data/top"]);

    // All that is asked for, where the volume is.
    let mounts = manifest.grant.mounts().cloned().collect();
    let requested = Effective {
        grant: Grant::Requested { mounts },
        ..manifest
    };
    let burglar = Burglar::new(EngineClass::SMALL, requested, house.mount());
    let told = burglar
        .told(["do=open&from=/data&path=input/a&for=r&as=x", read[0]])
        .await;
    assert_eq!(told, ["open", "access"]);

    // Nothing without a policy, and nothing that one of them does not admit.
    let mut unadmitted = all();
    unadmitted.ceilings[0].allow.volumes.clear();
    let mut ungoverned = all();
    ungoverned.ceilings.clear();
    for rights in [unadmitted, ungoverned] {
        let burglar = Burglar::new(EngineClass::SMALL, rights, house.mount());
        let told = burglar.told(["do=preopens", read[0]]).await;
        assert_eq!(told, ["", "bad-descriptor"]);
        // The guest sees an absence; that it was withheld is written down.
        let noted = burglar.noted();
        assert!(
            noted
                .iter()
                .any(|(object, rule)| object == "/data" && rule != "Granted")
        );
    }
}

#[tokio::test]
async fn a_read_only_volume_is_not_written_whatever_is_granted() {
    for class in BOTH {
        let house = house();
        let mount = Mount {
            read_only: true,
            ..house.mount()
        };
        let burglar = Burglar::new(class, granted(&["/data/**"], &["/data/**"]), mount);
        let told = burglar
            .told([
                "do=open&from=/data&path=top&for=r&as=x",
                "do=open&from=/data&path=top&for=w&as=x",
                "do=unlink&from=/data&path=top",
                "do=flags&from=/data",
            ])
            .await;
        assert_eq!(
            told,
            ["open", "read-only", "read-only", "read"],
            "{class:?}"
        );
        assert_eq!(burglar.denied("ReadOnlyVolume").len(), 2);
    }
}

#[tokio::test]
async fn a_hash_tells_files_apart_and_one_store_nothing_of_another() {
    for class in BOTH {
        let house = house();
        let burglar = burglar(class, &house);
        let orders = [
            "do=hash&from=/data&path=input/a",
            "do=hash&from=/data&path=input/deep/b",
            "do=open&from=/data&path=input/a&for=r&as=a",
            "do=hash&from=a",
            "do=open&from=/data&path=input/deep/../a&for=r&as=b",
            "do=same&from=a&other=b",
            "do=same&from=a&other=/data",
        ];
        let first = burglar.told(orders).await;
        assert_eq!(
            (&first[0], &first[5], &first[6]),
            (&first[3], &"true".into(), &"false".into())
        );
        assert_ne!(first[0], first[1]);
        let second = burglar.told(orders).await;
        assert_ne!(first[0], second[0]);
    }
}

#[tokio::test]
async fn what_is_refreshed_is_seen_by_the_next_instance() {
    let (old, new) = (Directory::with(&["input/a"]), Directory::new());
    fs::create_dir(new.path("input")).unwrap();
    fs::write(new.path("input/a"), "fresh").unwrap();
    let burglar = burglar(EngineClass::SMALL, &old);
    let read = [
        "do=open&from=/data&path=input/a&for=r&as=a",
        "do=read&from=a",
    ];
    assert_eq!(burglar.told(read).await[1], "input/a");
    let rights = std::sync::Arc::new(granted(&["/data/**"], &[]));
    let mounts = vec![new.mount()];
    let component = &burglar.component;
    component
        .refresh(rights, Default::default(), mounts, Vec::new())
        .unwrap();
    assert_eq!(burglar.told(read).await[1], "fresh");
}

#[tokio::test]
async fn components_see_their_own_volumes() {
    let (one, other) = (Directory::with(&["a"]), Directory::with(&["b"]));
    let rights = || granted(&["/data/**"], &[]);
    let burglar = Burglar::new(EngineClass::SMALL, rights(), one.mount());
    let neighbour = load(&burglar.runtime, EngineClass::P3, rights(), mount(&other.0));
    assert_eq!(burglar.told(["do=list&from=/data"]).await, ["a"]);
    assert_eq!(told(&neighbour, ["do=list&from=/data"]).await, ["b"]);
    assert_eq!(path("/data").as_str(), "/data");
}
