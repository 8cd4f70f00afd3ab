//! Which places have equal rights below, and which directories are made ahead.

use super::*;
use capability::grant::{MountGrant, MountPoint, VolumeSource};

fn path(text: &str) -> GuestPath {
    text.parse().unwrap()
}

fn effective(read: &[&str], write: &[&str]) -> Effective {
    let globs = |globs: &[&str]| globs.iter().map(|glob| glob.parse().unwrap()).collect();
    Effective {
        grant: Grant::Listed {
            filesystem: vec![MountGrant {
                mount: MountPoint {
                    volume: "data".into(),
                    source: VolumeSource::EmptyDir,
                    path: path("/data"),
                },
                read: globs(read),
                write: globs(write),
            }],
            outbound: Vec::new(),
            process: Default::default(),
        },
        ..Effective::default()
    }
}

#[test]
fn places_are_equal_below_only_if_every_glob_holds_both_or_neither() {
    let effective = effective(&["/data/in/**", "/data/*/x"], &["/data/out/**"]);
    for (one, other, equal) in [
        ("/data/out/a", "/data/out/b", true),
        ("/data/in/a", "/data/in/b/c", true),
        ("/data/in/a", "/data/out/a", false),
        // `/data/*/x` holds something of `/data/out`, but of `/data/out/y` nothing.
        ("/data/out", "/data/out/y", false),
        ("/data/q", "/data/r", false),
        ("/data/out/x", "/data/out/y", false),
    ] {
        assert_eq!(
            equal_below(&effective, &path(one), &path(other)),
            equal,
            "{one} {other}"
        );
    }
}

#[test]
fn the_directories_that_write_globs_name_are_wanted() {
    let mut effective = effective(
        &["/data/in/**"],
        &[
            "/data/out/**",
            "/data/log/*.txt",
            "/data/**",
            "/data/out/**",
        ],
    );
    // Without a policy there are no rights, so nothing to prepare for.
    assert!(wanted(&effective, &path("/data")).is_empty());
    let admits = r#"{"policy": "p", "allow": {"volumes": ["emptyDir"]}}"#;
    effective.ceilings = vec![serde_json::from_str(admits).unwrap()];
    assert_eq!(
        wanted(&effective, &path("/data")),
        [path("/data/log"), path("/data/out")]
    );
}
