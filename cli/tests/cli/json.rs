//! `-o json`: one document, and failures in the same shape everywhere.

use super::program::Home;

#[test]
fn an_answer_is_one_document() {
    let version = Home::new().run(&["version", "-o", "json"]).success().json();
    assert!(version["wasmtime"].as_str().unwrap().starts_with("48.0."));
    assert_eq!(version["api"], "lighterman.dev/v1alpha1");
}

#[test]
fn a_failure_says_kind_what_and_mend() {
    let ended = Home::new()
        .run(&["-o", "json", "new", "Hello"])
        .fails(2, &[]);
    let failure: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!(failure["error"]["kind"], "usage");
    assert!(failure["error"]["what"].as_str().unwrap().contains("Hello"));
    assert!(!failure["error"]["mend"].as_str().unwrap().is_empty());
}
