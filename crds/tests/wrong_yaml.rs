//! Files that are wrong, each in one way: every fault is answered with its field
//! and its mend. The first line of each file is the whole answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

use std::fs;
use std::path::Path;

use crds::document;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong_yaml")
}

#[test]
fn every_wrong_file_is_answered_with_field_and_mend() {
    let mut files: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 40, "only {} files", files.len());
    let mut differences = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let expected = text.lines().next().unwrap().trim_start_matches("# ");
        let answer = match document::check(&text) {
            Ok(_) => "nothing is wrong".to_owned(),
            Err(problems) => problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" | "),
        };
        let answer = answer.replace("document 1: ", "");
        if answer != expected {
            differences.push(format!(
                "{}\n  expected {expected}\n  answered {answer}",
                path.display()
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
