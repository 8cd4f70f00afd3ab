//! A new project is whole: its WIT resolves, its YAML is good, nothing is left to fill in.

use std::path::Path;

use super::program::Home;

#[test]
fn the_starter_has_wit_that_resolves_and_yaml_that_is_good() {
    let home = Home::new();
    home.run(&["new", "my-orders"]).success();
    home.run(&["check", "my-orders/my-orders.yaml"]).success();

    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(home.path("my-orders/wit")).unwrap();
    let world = resolve.select_world(&[package], Some("component")).unwrap();
    assert_eq!(resolve.worlds[world].exports.len(), 1);
}

#[test]
fn no_placeholder_is_left() {
    let home = Home::new();
    let made = home
        .run(&["new", "orders", "--directory", "there", "-o", "json"])
        .success()
        .json();
    for file in made["files"].as_array().unwrap() {
        let path = home.path("there").join(file.as_str().unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        let is_ours = !path.starts_with(home.path("there/wit/deps"));
        assert!(
            !is_ours
                || !text.contains("{{name")
                    && !text.contains("{{module")
                    && !text.contains("{{wasi"),
            "{path:?}"
        );
    }
    assert!(Path::new(&home.path("there/src/lib.rs")).exists());
}

#[test]
fn nothing_that_exists_is_written_over() {
    let home = Home::new();
    home.run(&["new", "orders"]).success();
    home.run(&["new", "orders"])
        .fails(3, &["exists already", "--directory"]);
    home.run(&["new", "Orders!"]).fails(2, &["lower-case"]);
}
