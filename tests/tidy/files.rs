//! How source files look (CONTRIBUTING.md): one noun each, an opening that says
//! what it is, short, and nothing switched off.

use std::fs;
use std::path::{Path, PathBuf};

/// Above this a file has two subjects.
const MOST_LINES: usize = 600;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["mod", "util", "utils", "common", "helpers", "types"];
/// The only files that may hold unsafe code, each with its argument why it is sound.
const MAY_BE_UNSAFE: [&str; 3] = [
    "crates/runtime/src/code.rs",
    "crates/runtime/src/pool.rs",
    // Looks at the pool's memory from outside.
    "crates/runtime/src/pool/tests.rs",
];
/// Guests run inside the sandbox: unsafe there is what the sandbox is for.
const GUESTS: &str = "tests/guests";

#[test]
fn every_file_opens_with_what_it_is() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|file| !text(file).starts_with("//!"))
        .collect();
    assert!(
        wrong.is_empty(),
        "these files do not open with `//!`: {wrong:#?}"
    );
}

#[test]
fn no_file_has_an_empty_name() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|file| {
            let folders = file
                .ancestors()
                .skip(1)
                .filter_map(|folder| folder.file_name());
            file.file_stem()
                .into_iter()
                .chain(folders)
                .any(|name| EMPTY_NAMES.iter().any(|empty| name == *empty))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "name these after what they hold (`foo.rs` beside `foo/`, never `mod.rs`): {wrong:#?}"
    );
}

#[test]
fn no_file_is_longer_than_one_subject() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .map(|file| (text(&file).lines().count(), file))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .collect();
    assert!(
        wrong.is_empty(),
        "split these, at most {MOST_LINES} lines each: {wrong:#?}"
    );
}

#[test]
fn no_test_is_switched_off() {
    // In two parts, or this file would be found.
    let mark = concat!("#[", "ignore");
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|file| text(file).contains(mark))
        .collect();
    assert!(
        wrong.is_empty(),
        "delete these tests, or mend what they show: {wrong:#?}"
    );
}

#[test]
fn unsafe_code_is_only_where_it_is_argued_for() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|file| {
            !MAY_BE_UNSAFE
                .iter()
                .any(|allowed| file == Path::new(allowed))
        })
        .filter(|file| !file.starts_with(GUESTS))
        .filter(|file| {
            text(file)
                .lines()
                .map(str::trim_start)
                .filter(|line| !line.starts_with("//"))
                .any(|line| {
                    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
                        .iter()
                        .any(|start| {
                            // Not within a string, where the word may be spoken of.
                            line.split('"').step_by(2).any(|code| code.contains(start))
                        })
                })
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "unsafe code outside of {MAY_BE_UNSAFE:?}: {wrong:#?}"
    );
}

/// Every Rust source of the repository, relative to its root.
pub(crate) fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                found.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    assert!(
        found.len() > 20,
        "only {} sources found: is the walk broken?",
        found.len()
    );
    found.sort();
    found
}

pub(crate) fn text(file: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join(file)).unwrap()
}
