//! Our WIT packages (`wit/`) as every tool reads them: each folder is one package of ours, in its
//! first version, whose functions all have words that say what they are for. What a guest is
//! really linked to, the runtime's bindings are made of.

use std::fs;
use std::path::{Path, PathBuf};

use wit_parser::Resolve;

fn packages() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let entries = fs::read_dir(folder).unwrap();
    let folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!folders.is_empty());
    folders
}

#[test]
fn every_folder_of_wit_is_one_package_of_ours_that_says_what_it_does() {
    let mut unsaid = Vec::new();
    for folder in packages() {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(&folder).unwrap();
        let package = &resolve.packages[package];
        let name = folder.file_name().unwrap().to_str().unwrap();
        assert_eq!(package.name.to_string(), format!("lighterman:{name}@1.0.0"));
        for (name, interface) in &package.interfaces {
            let interface = &resolve.interfaces[*interface];
            let functions = interface.functions.values();
            let quiet = functions.filter(|function| function.docs.contents.is_none());
            unsaid.extend(quiet.map(|function| format!("{name}.{}", function.name)));
        }
    }
    assert!(unsaid.is_empty(), "write what these are for: {unsaid:?}");
}

/// The names of an interface's functions, in the order of the file.
fn functions(package: &str, interface: &str) -> Vec<String> {
    let mut resolve = Resolve::default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let (package, _) = resolve.push_dir(folder.join(package)).unwrap();
    let interface = resolve.packages[package].interfaces[interface];
    let functions = &resolve.interfaces[interface].functions;
    functions.keys().cloned().collect()
}

#[test]
fn what_may_be_started_has_the_operations_that_a_guest_was_built_with() {
    assert_eq!(
        functions("ext-process", "process"),
        [
            "spawn",
            "[method]child.stdout",
            "[method]child.stderr",
            "[method]child.subscribe",
            "[method]child.try-wait",
            "[method]child.wait",
            "[method]child.signal",
        ]
    );
}

#[test]
fn what_runs_by_itself_has_the_life_that_a_guest_was_built_with() {
    assert_eq!(
        functions("core", "lifecycle"),
        ["init", "execute", "shutdown"]
    );
    assert_eq!(functions("core", "ending"), ["is-asked", "subscribe"]);
    assert_eq!(functions("core", "state"), ["save", "restore"]);
}
