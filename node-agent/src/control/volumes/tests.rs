//! What becomes of volumes: kept, exchanged, removed, and never outside their place.

use std::os::unix::fs::PermissionsExt;

use rustix::fs::openat;

use super::*;

const OWNER: &str = "11111111-1111-1111-1111-111111111111";

struct Node {
    folder: tempfile::TempDir,
    volumes: Volumes,
}

fn node() -> Node {
    let folder = tempfile::tempdir().unwrap();
    let allowed = folder.path().join("allowed");
    std::fs::create_dir_all(allowed.join("models")).unwrap();
    let volumes = Volumes::open(
        &folder.path().join("state"),
        &folder.path().join("memory"),
        &[allowed, "/proc".into(), folder.path().join("missing")],
    )
    .unwrap();
    Node { folder, volumes }
}

fn files(content: &str) -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([("nested/app.conf".to_owned(), content.as_bytes().to_vec())])
}

fn read(directory: &OwnedFd) -> String {
    let file = openat(directory, "nested/app.conf", OFlags::RDONLY, Mode::empty()).unwrap();
    io::read_to_string(std::fs::File::from(file)).unwrap()
}

#[test]
fn scratch_space_outlives_whoever_used_it_and_goes_with_its_component() {
    let node = node();
    let path = node
        .folder
        .path()
        .join("state/volumes")
        .join(OWNER)
        .join("data");
    let first = node.volumes.scratch(OWNER, "data").unwrap();
    std::fs::write(path.join("kept"), "x").unwrap();
    drop(first);
    let second = node.volumes.scratch(OWNER, "data").unwrap();
    assert!(path.join("kept").exists());

    // A placed component keeps its volumes; one that is gone does, too, while it drains.
    assert!(!node.volumes.sweep(&BTreeSet::from([OWNER.to_owned()])));
    assert!(node.volumes.sweep(&BTreeSet::new()), "it is in use");
    assert!(path.join("kept").exists());
    drop(second);
    assert!(!node.volumes.sweep(&BTreeSet::new()));
    assert!(!path.parent().unwrap().exists());
}

#[test]
fn nobody_walks_to_a_volume_and_whoever_has_its_descriptor_may_use_it() {
    let node = node();
    let volume = node.volumes.scratch(OWNER, "data").unwrap();
    let mode = |path: &str| {
        let path = node.folder.path().join(path);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("state/volumes"), 0o700);
    assert_eq!(mode("memory"), 0o700);
    assert_eq!(mode(&format!("state/volumes/{OWNER}/data")), 0o777);
    drop(volume);
}

#[test]
fn new_content_is_another_directory_and_the_old_one_stays_while_it_is_in_use() {
    let node = node();
    let old = node.volumes.content(OWNER, "conf", &files("old")).unwrap();
    let new = node.volumes.content(OWNER, "conf", &files("new")).unwrap();
    assert_eq!((read(&old), read(&new)), ("old".into(), "new".into()));

    let conf = node.folder.path().join("memory").join(OWNER).join("conf");
    assert_eq!(names(&conf).len(), 2);
    drop(old);
    let again = node.volumes.content(OWNER, "conf", &files("new")).unwrap();
    assert_eq!(names(&conf).len(), 1);
    assert_eq!(read(&again), "new");

    node.volumes.sweep(&BTreeSet::from([OWNER.to_owned()]));
    assert_eq!(read(&again), "new");
    drop((new, again));
    node.volumes.sweep(&BTreeSet::from([OWNER.to_owned()]));
    assert!(!conf.exists());
}

#[test]
fn contents_of_all_components_are_bounded_together() {
    let node = node();
    let large = |byte| BTreeMap::from([("large".to_owned(), vec![byte; 30 << 20])]);
    let first = node.volumes.content(OWNER, "one", &large(1)).unwrap();
    let second = node.volumes.content(OWNER, "two", &large(2));
    assert!(matches!(second, Err(VolumeError::NoSpace { .. })));
    assert!(node.volumes.content(OWNER, "one", &large(1)).is_ok());
    drop(first);
    node.volumes.sweep(&BTreeSet::new());
    assert!(node.volumes.content(OWNER, "two", &large(2)).is_ok());
}

#[test]
fn content_cannot_be_written_by_who_reads_it() {
    let node = node();
    let opened = node.volumes.content(OWNER, "conf", &files("x")).unwrap();
    let path = node.folder.path().join("memory").join(OWNER).join("conf");
    let made = path.join(&names(&path)[0]).join("nested/app.conf");
    let mode = std::fs::metadata(made).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o444);
    drop(opened);
}

#[test]
fn files_of_a_volume_stay_in_it() {
    let node = node();
    for path in ["../escape", "/etc/escape", "a/../../escape", "", "./x/.."] {
        let files = BTreeMap::from([(path.to_owned(), Vec::new())]);
        let made = node.volumes.content(OWNER, "conf", &files);
        assert!(matches!(made, Err(VolumeError::InvalidFile(_))), "{path}");
    }
    for name in ["..", "", "a/b", ".hidden"] {
        let made = node.volumes.scratch(OWNER, name);
        assert!(matches!(made, Err(VolumeError::InvalidName(_))), "{name}");
        let made = node.volumes.scratch(name, "data");
        assert!(matches!(made, Err(VolumeError::InvalidName(_))), "{name}");
    }
}

#[test]
fn directories_of_the_node_are_opened_below_the_prefixes_of_the_agent_only() {
    let node = node();
    let allowed = node.folder.path().join("allowed");
    let at = |path: PathBuf| node.volumes.of_node(path.to_str().unwrap());
    assert!(at(allowed.clone()).is_ok());
    assert!(at(allowed.join("models")).is_ok());
    for outside in ["state", "allowed-not", "missing"] {
        let opened = at(node.folder.path().join(outside));
        assert!(opened.is_err(), "{outside}");
    }
    let out = at(allowed.join("../state"));
    assert!(matches!(out, Err(VolumeError::NoDirectory { .. })));
}

#[test]
fn a_link_below_a_prefix_leads_nowhere() {
    let node = node();
    let allowed = node.folder.path().join("allowed");
    std::os::unix::fs::symlink("models", allowed.join("inside")).unwrap();
    std::os::unix::fs::symlink("/etc", allowed.join("outside")).unwrap();
    std::fs::write(allowed.join("file"), "x").unwrap();
    for name in ["inside", "outside", "file", "absent"] {
        let opened = node.volumes.of_node(allowed.join(name).to_str().unwrap());
        assert!(
            matches!(opened, Err(VolumeError::NoDirectory { .. })),
            "{name}"
        );
    }
}

#[test]
fn the_kernels_own_file_systems_are_not_opened() {
    let opened = node().volumes.of_node("/proc/self");
    assert!(
        matches!(opened, Err(VolumeError::NoDirectory { .. })),
        "a link"
    );
    let opened = node().volumes.of_node("/proc/sys");
    assert!(matches!(opened, Err(VolumeError::ForeignFileSystem(_))));
}
