//! What is committed in `generated/` is what the types say, and keeps Kubernetes' rules.
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

use crds::definition;
use serde_json::Value;

/// Calls `visit` with the path and schema of everything in the five definitions.
fn each_schema(visit: &mut dyn FnMut(&str, &Value)) {
    for definition in crds::definitions() {
        let kind = definition.spec.names.kind.clone();
        for version in &definition.spec.versions {
            let schema = serde_json::to_value(&version.schema).unwrap();
            walk(&kind, &schema["openAPIV3Schema"], visit);
        }
    }
}

fn walk(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    for (suffix, member) in [("[]", "items"), ("{}", "additionalProperties")] {
        if schema[member].is_object() {
            walk(&format!("{path}{suffix}"), &schema[member], visit);
        }
    }
}

/// Collects the paths for which `wrong` is true.
fn paths_where(wrong: impl Fn(&str, &Value) -> bool) -> Vec<String> {
    let mut paths = Vec::new();
    each_schema(&mut |path, schema| {
        if wrong(path, schema) {
            paths.push(path.to_owned());
        }
    });
    paths
}

#[test]
fn the_committed_files_are_current() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (folder, files) in [
        ("generated", definition::files()),
        (
            "../charts/lighterman-crds/templates",
            definition::templates(),
        ),
    ] {
        let (folder, files) = (room.join(folder), files.unwrap());
        for file in &files {
            let committed = fs::read_to_string(folder.join(&file.name)).unwrap_or_default();
            assert!(
                committed == file.text,
                "{} is not current; run `make crds`",
                folder.join(&file.name).display()
            );
        }
        let mut found: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        let expected: Vec<_> = files.into_iter().map(|file| file.name).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn helm_keeps_the_kinds_and_takes_nothing_in_them_for_a_template() {
    for file in definition::templates().unwrap() {
        assert!(
            file.text.contains("helm.sh/resource-policy: keep"),
            "{}",
            file.name
        );
        assert!(!file.text.contains("{{"), "{}", file.name);
    }
}

#[test]
fn a_written_file_reads_back_as_its_definition() {
    for (file, definition) in definition::files().unwrap().iter().zip(crds::definitions()) {
        let read: Value = serde_saphyr::from_str(&file.text).unwrap();
        let read: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition =
            serde_json::from_value(read).unwrap();
        assert_eq!(read, definition, "{}", file.name);
    }
}

#[test]
fn every_list_text_and_map_is_bounded() {
    let unbounded = paths_where(|_, schema| {
        let has = |name: &str| schema[name].is_u64();
        match schema["type"].as_str() {
            Some("string") => !has("maxLength") && !schema["enum"].is_array(),
            Some("array") => !has("maxItems"),
            Some("object") => schema["additionalProperties"].is_object() && !has("maxProperties"),
            Some("integer" | "boolean") => false,
            _ => schema["x-kubernetes-int-or-string"] != true || !has("maxLength"),
        }
    });
    assert!(unbounded.is_empty(), "{unbounded:#?}");
}

#[test]
fn every_field_is_described() {
    let silent = paths_where(|path, schema| {
        let is_member = !path.ends_with("[]") && !path.ends_with("{}");
        is_member
            && schema["description"]
                .as_str()
                .is_none_or(|text| text.len() < 10)
    });
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn nothing_unknown_is_kept_and_no_null_is_stored() {
    let open = paths_where(|_, schema| {
        schema.get("x-kubernetes-preserve-unknown-fields").is_some()
            || schema.get("nullable").is_some()
            || schema["additionalProperties"] == true
    });
    assert!(open.is_empty(), "{open:#?}");
}

#[test]
fn every_list_of_objects_says_how_it_is_merged() {
    let unsaid = paths_where(|_, schema| {
        schema["items"]["type"] == "object" && schema["x-kubernetes-list-type"].is_null()
    });
    assert!(unsaid.is_empty(), "{unsaid:#?}");
}

#[test]
fn every_rule_says_what_is_wrong() {
    let silent = paths_where(|_, schema| {
        let rules = schema["x-kubernetes-validations"].as_array();
        rules
            .into_iter()
            .flatten()
            .any(|rule| rule["message"].as_str().is_none_or(str::is_empty))
    });
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn the_columns_are_those_that_people_look_for() {
    let columns = |kind: &str, wide: bool| -> Vec<String> {
        let definition = crds::definitions()
            .into_iter()
            .find(|definition| definition.spec.names.kind == kind)
            .unwrap();
        let columns = definition.spec.versions[0]
            .additional_printer_columns
            .clone();
        columns
            .unwrap()
            .into_iter()
            .filter(|column| (column.priority.unwrap_or(0) > 0) == wide)
            .map(|column| column.name.to_uppercase())
            .collect()
    };
    assert_eq!(
        columns("WasmComponent", false),
        ["READY", "REPLICAS", "VERSION", "URL", "AGE"]
    );
    assert_eq!(
        columns("WasmComponent", true),
        ["SIGNER", "DIGEST", "REASON"]
    );
    assert_eq!(
        columns("ComponentPlacement", false),
        ["COMPONENT", "NODE", "READY", "SERVING", "AGE"]
    );
    assert_eq!(
        columns("TrustPolicy", false),
        ["ACCEPTED", "COMPONENTS", "REFUSED", "AGE"]
    );
    assert_eq!(
        columns("CapabilityPolicy", false),
        ["MODE", "ACCEPTED", "COMPONENTS", "REFUSED", "AGE"]
    );
    assert_eq!(
        columns("WasmNode", false),
        ["AGENT", "WASMTIME", "MEMORY", "AGE"]
    );
}

#[test]
fn placements_can_be_watched_by_node_and_components_scaled() {
    let [_, placement, _, component, _] = crds::definitions();
    let fields = placement.spec.versions[0]
        .selectable_fields
        .clone()
        .unwrap();
    assert_eq!(fields[0].json_path, ".spec.nodeName");
    let subresources = component.spec.versions[0].subresources.clone().unwrap();
    let scale = subresources.scale.unwrap();
    assert_eq!(scale.spec_replicas_path, ".spec.replicas");
    assert_eq!(
        scale.label_selector_path.as_deref(),
        Some(".status.selector")
    );
}
