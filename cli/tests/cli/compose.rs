//! Components that fit together become one.

use super::program::Home;

/// Exports `acme:math/tools` in this version: `add` of two f64.
fn tool(version: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(component
            (core module $m
                (func (export "add") (param f64 f64) (result f64)
                    local.get 0 local.get 1 f64.add))
            (core instance $i (instantiate $m))
            (func $add (param "a" f64) (param "b" f64) (result f64)
                (canon lift (core func $i "add")))
            (instance $tools (export "add" (func $add)))
            (export "acme:math/tools@{version}" (instance $tools)))"#
    ))
    .unwrap()
}

/// Imports it with these parameters, and exports `sum`.
fn user(parameters: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(component
            (import "acme:math/tools@1.0.0" (instance $tools
                (export "add" (func {parameters} (result f64)))))
            (alias export $tools "add" (func $add))
            (export "sum" (func $add)))"#
    ))
    .unwrap()
}

const TWO: &str = r#"(param "a" f64) (param "b" f64)"#;

#[test]
fn an_import_is_joined_to_a_newer_export_that_fits_it() {
    let home = Home::new();
    let (user, tool) = (
        home.write("user.wasm", user(TWO)),
        home.write("tool.wasm", tool("1.2.0")),
    );
    let whole = home
        .run(&[
            "compose",
            &user,
            "--plug",
            &tool,
            "--to",
            "whole.wasm",
            "-o",
            "json",
        ])
        .success()
        .json();
    assert_eq!(whole["imports"], serde_json::json!([]));
    assert_eq!(whole["exports"], serde_json::json!(["sum"]));
    let found = home
        .run(&["inspect", "whole.wasm", "-o", "json"])
        .success()
        .json();
    assert_eq!(found["kind"], "component");
    assert_eq!(found["size"], whole["size"]);
}

#[test]
fn a_plug_for_no_import_is_named_with_what_each_has() {
    let home = Home::new();
    let (user, tool) = (
        home.write("user.wasm", user(TWO)),
        home.write("tool.wasm", tool("2.0.0")),
    );
    home.run(&["compose", &user, "--plug", &tool, "--to", "whole.wasm"])
        .fails(
            1,
            &[
                "has no import for",
                "tool.wasm",
                "it imports acme:math/tools@1.0.0; exported is acme:math/tools@2.0.0",
            ],
        );
    assert!(!home.path("whole.wasm").exists());
}

#[test]
fn a_plug_of_other_types_is_no_fit() {
    let home = Home::new();
    let (user, tool) = (
        home.write("user.wasm", user(r#"(param "a" f64)"#)),
        home.write("tool.wasm", tool("1.0.0")),
    );
    home.run(&["compose", &user, "--plug", &tool, "--to", "whole.wasm"])
        .fails(1, &["both name acme:math/tools@1.0.0, with other types"]);
}

#[test]
fn two_plugs_for_one_import_are_one_too_many() {
    let home = Home::new();
    let (user, one, two) = (
        home.write("user.wasm", user(TWO)),
        home.write("one.wasm", tool("1.0.0")),
        home.write("two.wasm", tool("1.1.0")),
    );
    home.run(&[
        "compose",
        &user,
        "--plug",
        &one,
        "--plug",
        &two,
        "--to",
        "whole.wasm",
    ])
    .fails(1, &["the parts do not go together", "leave out"]);
}

#[test]
fn what_is_no_component_is_refused_by_name() {
    let home = Home::new();
    let (user, tool) = (
        home.write("user.wasm", user(TWO)),
        home.write("tool.wasm", "text"),
    );
    home.run(&["compose", &user, "--plug", &tool, "--to", "whole.wasm"])
        .fails(1, &["tool.wasm"]);
}
