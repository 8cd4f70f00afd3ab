//! A definition never takes back what the last commit's admitted: no field is gone,
//! newly required or of another type, and no bound is narrower.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

use std::path::Path;
use std::process::Command;

use crds::definition;
use serde_json::{Value, json};

/// The file as of the last commit, or nothing where it is not in it.
fn committed(name: &str) -> Option<Value> {
    let output = Command::new("git")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .args(["show", &format!("HEAD:./generated/{name}")])
        .output()
        .expect("git is needed to compare with the last commit; install it");
    let text = String::from_utf8(output.stdout).unwrap();
    output
        .status
        .success()
        .then(|| serde_saphyr::from_str(&text).unwrap())
}

fn schema(definition: &Value) -> &Value {
    definition
        .pointer("/spec/versions/0/schema/openAPIV3Schema")
        .unwrap()
}

/// What `new` no longer admits of what `old` did.
fn taken_back(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    for name in [
        "type",
        "format",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-type",
    ] {
        if old[name] != new[name] {
            found.push(format!(
                "{path}: {name} was {} and is {}",
                old[name], new[name]
            ));
        }
    }
    for (name, is_upper) in [
        ("maxLength", true),
        ("maxItems", true),
        ("maxProperties", true),
        ("maximum", true),
        ("minLength", false),
        ("minItems", false),
        ("minimum", false),
    ] {
        let narrower = match (old[name].as_f64(), new[name].as_f64()) {
            (Some(old), Some(new)) => {
                if is_upper {
                    new < old
                } else {
                    new > old
                }
            }
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if narrower {
            found.push(format!(
                "{path}: {name} was {} and is {}",
                old[name], new[name]
            ));
        }
    }
    for value in old["enum"].as_array().into_iter().flatten() {
        if !new["enum"].is_null() && !new["enum"].as_array().unwrap().contains(value) {
            found.push(format!("{path}: {value} is no longer admitted"));
        }
    }
    if old["enum"].is_null() && !new["enum"].is_null() {
        found.push(format!("{path}: only some values are admitted now"));
    }
    let was_required = |name: &Value| {
        old["required"]
            .as_array()
            .is_some_and(|required| required.contains(name))
    };
    for name in new["required"].as_array().into_iter().flatten() {
        if !was_required(name) {
            found.push(format!("{path}: {name} is newly required"));
        }
    }
    for (name, property) in old["properties"].as_object().into_iter().flatten() {
        match new["properties"].get(name) {
            Some(kept) => taken_back(&format!("{path}.{name}"), property, kept, found),
            None => found.push(format!("{path}.{name} is gone")),
        }
    }
    for member in ["items", "additionalProperties"] {
        if old[member].is_object() {
            taken_back(
                &format!("{path}.{member}"),
                &old[member],
                &new[member],
                found,
            );
        }
    }
}

#[test]
fn nothing_that_the_last_commit_admitted_is_refused() {
    let mut found = Vec::new();
    for file in definition::files().unwrap() {
        let Some(old) = committed(&file.name) else {
            continue;
        };
        let new: Value = serde_saphyr::from_str(&file.text).unwrap();
        assert_eq!(old["spec"]["scope"], new["spec"]["scope"], "{}", file.name);
        taken_back(&file.name, schema(&old), schema(&new), &mut found);
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn whatever_is_taken_back_is_noticed() {
    let old = json!({
        "type": "object",
        "required": ["a"],
        "properties": {
            "a": {"type": "string", "maxLength": 10},
            "b": {"type": "array", "items": {"type": "integer", "maximum": 9}},
            "c": {"type": "string", "enum": ["x", "y"]},
        },
    });
    let changes: [(&str, Value); 8] = [
        ("/properties/a/maxLength", json!(9)),
        ("/properties/a/type", json!("integer")),
        ("/properties/b/items/maximum", json!(8)),
        (
            "/properties/b/items",
            json!({"type": "integer", "minimum": 1, "maximum": 9}),
        ),
        ("/properties/c/enum", json!(["x"])),
        (
            "/properties/c",
            json!({"type": "string", "enum": ["x", "y"], "maxLength": 5}),
        ),
        ("/required", json!(["a", "b"])),
        (
            "/properties",
            json!({"a": old["properties"]["a"], "c": old["properties"]["c"]}),
        ),
    ];
    for (place, value) in changes {
        let mut new = old.clone();
        *new.pointer_mut(place).unwrap() = value;
        let mut found = Vec::new();
        taken_back("x", &old, &new, &mut found);
        assert_eq!(found.len(), 1, "{place}: {found:?}");
    }
}

#[test]
fn what_only_admits_more_is_compatible() {
    let old = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "maxLength": 10}}});
    let new = json!({"type": "object", "properties": {"a": {"type": "string", "maxLength": 11}, "b": {"type": "string"}}});
    let mut found = Vec::new();
    taken_back("x", &old, &new, &mut found);
    assert!(found.is_empty(), "{found:?}");
}
