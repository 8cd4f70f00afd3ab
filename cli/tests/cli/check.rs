//! `check` names the field and the mend, and knows what the examples say.

use std::io::Write;
use std::process::Stdio;

use super::program::{Home, component, repository};

#[test]
fn every_example_is_good() {
    let home = Home::new();
    for entry in std::fs::read_dir(repository("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            home.run(&["check", &path.display().to_string()]).success();
        }
    }
}

#[test]
fn an_unknown_field_is_named_with_its_path_and_the_nearest_one() {
    let home = Home::new();
    let file = home.write(
        "a.yaml",
        component("registry.example/hello:1").replace("triggers", "trigers"),
    );
    let ended = home.run(&["check", &file]).fails(1, &[]);
    assert!(ended.stdout.contains("spec.trigers"), "{ended:?}");
    assert!(ended.stdout.contains("triggers"), "{ended:?}");
}

#[test]
fn every_fault_of_every_file_is_listed_with_file_document_field_and_mend() {
    let home = Home::new();
    let good = component("registry.example/hello:1");
    let bad = good.replace("name: hello", "name: Hello");
    let (first, second) = (
        home.write("a.yaml", format!("{good}---\n{bad}")),
        home.write("b.yaml", "kind: Pod\n"),
    );
    let ended = home
        .run(&["check", "-o", "json", &first, &second])
        .fails(1, &[]);
    let faults = ended.json()["faults"].as_array().unwrap().clone();
    let find = |file: &str| faults.iter().find(|fault| fault["file"] == file).unwrap();
    assert_eq!(find(&first)["document"], 2);
    assert_eq!(find(&first)["field"], "metadata.name");
    assert!(!find(&first)["mend"].as_str().unwrap().is_empty());
    assert!(!find(&second)["message"].as_str().unwrap().is_empty());
}

#[test]
fn the_same_component_twice_is_a_fault() {
    let home = Home::new();
    let one = component("registry.example/hello:1");
    let file = home.write("a.yaml", format!("{one}---\n{one}"));
    let ended = home.run(&["check", &file]).fails(1, &[]);
    assert!(
        ended.stdout.contains("default/hello is there twice"),
        "{ended:?}"
    );
}

#[test]
fn a_dash_reads_standard_input() {
    let home = Home::new();
    let mut child = home
        .command(&["check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(component("registry.example/hello:1").as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .starts_with("good: 1 components")
    );
}

#[test]
fn a_file_that_is_not_there_is_no_verdict() {
    Home::new()
        .run(&["check", "absent.yaml"])
        .fails(3, &["absent.yaml"]);
}
