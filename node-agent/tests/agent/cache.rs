//! The cache believes only its own files.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use node_agent::control::cache::{Cache, CacheError, Entry, Key};

const ROOMY: u64 = 1 << 20;

fn open(directory: &Path, most: u64) -> Cache {
    let key = Key::of_node(directory).unwrap();
    Cache::open(&directory.join("cache"), key, most).unwrap()
}

fn entry(name: &str) -> Entry {
    Entry::new(name).unwrap()
}

fn content(cache: &Cache, name: &str) -> Option<Vec<u8>> {
    cache
        .get(&entry(name))
        .unwrap()
        .map(|sealed| sealed.bytes().unwrap())
}

fn overwrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o400)).unwrap();
}

#[test]
fn what_is_put_is_found_also_by_the_next_process() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path(), ROOMY)
        .put(&entry("code-a"), b"machine code")
        .unwrap();
    let cache = open(directory.path(), ROOMY);
    assert_eq!(
        content(&cache, "code-a").as_deref(),
        Some(b"machine code".as_slice())
    );
    assert_eq!(content(&cache, "code-b"), None);
}

#[test]
fn a_changed_file_is_deleted_and_counted_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path(), ROOMY);
    cache.put(&entry("code-a"), b"machine code").unwrap();
    let path = directory.path().join("cache/code-a");
    overwrite(&path, |bytes| *bytes.last_mut().unwrap() ^= 1);
    assert_eq!(content(&cache, "code-a"), None);
    assert!(!path.exists());
    assert_eq!(cache.figures(), (0, 1, 0));
}

#[test]
fn a_genuine_file_under_another_name_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path(), ROOMY);
    cache.put(&entry("code-a"), b"of component a").unwrap();
    cache.put(&entry("code-b"), b"of component b").unwrap();
    let files = directory.path().join("cache");
    std::fs::rename(files.join("code-a"), files.join("code-b")).unwrap();
    assert_eq!(content(&cache, "code-b"), None);
}

#[test]
fn a_file_of_another_nodes_key_is_not_believed() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    open(one.path(), ROOMY)
        .put(&entry("code-a"), b"elsewhere")
        .unwrap();
    let cache = open(other.path(), ROOMY);
    std::fs::copy(
        one.path().join("cache/code-a"),
        other.path().join("cache/code-a"),
    )
    .unwrap();
    assert_eq!(content(&cache, "code-a"), None);
}

#[test]
fn a_symlink_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path(), ROOMY);
    cache.put(&entry("code-a"), b"genuine").unwrap();
    let files = directory.path().join("cache");
    std::fs::rename(files.join("code-a"), directory.path().join("elsewhere")).unwrap();
    symlink(directory.path().join("elsewhere"), files.join("code-a")).unwrap();
    assert_eq!(content(&cache, "code-a"), None);
}

#[test]
fn a_file_that_others_may_read_or_that_has_a_second_name_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path(), ROOMY);
    let files = directory.path().join("cache");
    cache.put(&entry("code-a"), b"genuine").unwrap();
    std::fs::set_permissions(files.join("code-a"), std::fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!(content(&cache, "code-a"), None);
    cache.put(&entry("code-b"), b"genuine").unwrap();
    std::fs::hard_link(files.join("code-b"), directory.path().join("held")).unwrap();
    assert_eq!(content(&cache, "code-b"), None);
}

#[test]
fn the_least_recently_used_goes_first_and_the_bound_holds() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path(), 1_000);
    for name in ["a", "b", "c"] {
        cache.put(&entry(name), &[7; 250]).unwrap();
    }
    assert!(content(&cache, "a").is_some());
    cache.put(&entry("d"), &[7; 250]).unwrap();
    assert_eq!(content(&cache, "b"), None);
    assert!(content(&cache, "a").is_some() && content(&cache, "d").is_some());
    let (total, _, evicted) = cache.figures();
    assert!(total <= 1_000 && evicted == 1, "{total} {evicted}");
}

#[test]
fn the_bound_holds_after_a_restart_with_a_smaller_one() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path(), ROOMY);
    for name in ["a", "b", "c"] {
        cache.put(&entry(name), &[7; 250]).unwrap();
    }
    let cache = open(directory.path(), 600);
    assert!(cache.figures().0 <= 600);
    assert!(content(&cache, "c").is_some(), "the newest stays");
}

#[test]
fn what_is_larger_than_the_cache_is_no_space() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path(), 100);
    let error = cache.put(&entry("a"), &[7; 200]).unwrap_err();
    assert!(matches!(error, CacheError::NoSpace { .. }), "{error}");
}

#[test]
fn no_name_leaves_the_directory() {
    for name in [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        ".hidden",
        "a\0b",
        "incoming.1.2",
    ] {
        assert!(Entry::new(name).is_err(), "{name:?}");
    }
}
