//! A file with every field that can be written passes, and reads back as it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

use std::collections::BTreeMap;

use crds::document::{self, Document};
use proptest::prelude::*;
use serde_json::Value;

const FULL: &str = include_str!("full.yaml");

#[test]
fn a_file_with_every_field_passes() {
    let documents = document::check(FULL).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let kinds: Vec<_> = documents
        .iter()
        .map(|document| match document {
            Document::WasmComponent(_) => "WasmComponent",
            Document::TrustPolicy(_) => "TrustPolicy",
            Document::CapabilityPolicy(_) => "CapabilityPolicy",
            Document::Secret(_) => "Secret",
            Document::ConfigMap(_) => "ConfigMap",
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "WasmComponent",
            "WasmComponent",
            "WasmComponent",
            "WasmComponent",
            "TrustPolicy",
            "CapabilityPolicy",
            "Secret",
            "ConfigMap"
        ]
    );
}

/// So that a field added to the types is added to the file, and so to the tests that
/// read it.
#[test]
fn the_file_names_every_field_of_the_specs() {
    let mut specs: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for document in document::parse(FULL).unwrap() {
        let (kind, spec) = match document {
            Document::WasmComponent(object) => {
                ("WasmComponent", serde_json::to_value(&object.spec))
            }
            Document::TrustPolicy(object) => ("TrustPolicy", serde_json::to_value(&object.spec)),
            Document::CapabilityPolicy(object) => {
                ("CapabilityPolicy", serde_json::to_value(&object.spec))
            }
            Document::Secret(_) | Document::ConfigMap(_) => continue,
        };
        specs.entry(kind).or_default().push(spec.unwrap());
    }
    // What excludes each other is in files of its own.
    for (kind, written) in specs {
        let definition = crds::definitions()
            .into_iter()
            .find(|definition| definition.spec.names.kind == kind)
            .unwrap();
        let schema = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
        let spec = schema.pointer("/openAPIV3Schema/properties/spec").unwrap();
        let mut unnamed = Vec::new();
        unwritten(
            kind,
            spec,
            &written.iter().collect::<Vec<_>>(),
            &mut unnamed,
        );
        assert!(unnamed.is_empty(), "{unnamed:#?}");
    }
}

/// The members of `schema` that none of the values has, at any depth.
fn unwritten(path: &str, schema: &Value, values: &[&Value], found: &mut Vec<String>) {
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let members: Vec<&Value> = values.iter().filter_map(|value| value.get(name)).collect();
        if members.is_empty() {
            found.push(path);
        } else {
            unwritten(&path, member, &members, found);
        }
    }
    if schema["items"].is_object() {
        let items: Vec<&Value> = values
            .iter()
            .filter_map(|value| value.as_array())
            .flatten()
            .collect();
        unwritten(&format!("{path}[]"), &schema["items"], &items, found);
    }
}

#[test]
fn defaults_are_those_of_the_api_server() {
    let text = "apiVersion: lighterman.dev/v1alpha1\nkind: WasmComponent\nmetadata: {name: orders}\n\
                spec:\n  image: registry.example/shop/orders:1.4\n  triggers: [{name: web, http: {}}]\n";
    let documents = document::check(text).unwrap();
    let [Document::WasmComponent(component)] = documents.as_slice() else {
        panic!("one component");
    };
    let spec = &component.spec;
    assert_eq!(spec.replicas, 1);
    assert_eq!(spec.limits(), capability::Limits::default());
    assert_eq!(spec.rollout.termination_grace_period_seconds, 30);
    assert_eq!(spec.rollout.revision_history_limit, 10);
    assert_eq!(
        (spec.rollout.parallel(3), spec.rollout.parallel(100)),
        (1, 25)
    );
    assert_eq!(spec.triggers[0].http.as_ref().unwrap().port, 80);
}

#[test]
fn an_empty_document_between_others_is_passed_over() {
    let text = format!("---\n---\n{FULL}\n---\n");
    assert_eq!(document::parse(&text).unwrap().len(), 8);
}

#[test]
fn a_fault_names_the_document_it_is_in() {
    let text = format!("{FULL}---\nkind: Nothing\n");
    let problems = document::check(&text).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].document, 8);
    assert!(
        problems[0].to_string().starts_with("document 9: kind "),
        "{}",
        problems[0]
    );
}

#[test]
fn values_of_a_later_version_are_read_and_refused_by_name() {
    let spec = serde_json::json!({
        "image": "registry.example/a:1",
        "placement": {"mode": "InventedTomorrow"},
        "service": {"type": "InventedTomorrow", "trafficDistribution": "InventedTomorrow"},
        "volumes": [{"name": "a", "inventedTomorrow": {}}],
        "capabilities": {
            "grant": "InventedTomorrow",
            "network": {"outbound": [
                {"host": "a.example", "port": 1, "protocol": "InventedTomorrow"},
                {"host": "a.example", "port": 1, "reach": "InventedTomorrow"},
            ]},
        },
        "audit": "InventedTomorrow",
        "inventedTomorrow": {},
    });
    let spec: crds::WasmComponentSpec = serde_json::from_value(spec).unwrap();
    let component = crds::WasmComponent::new("orders", spec);
    let fields: Vec<_> = crds::component::problems(&component)
        .into_iter()
        .map(|problem| problem.field)
        .collect();
    assert_eq!(
        fields,
        [
            "spec.placement.mode",
            "spec.service.type",
            "spec.service.trafficDistribution",
            "spec.volumes[0]",
            "spec.capabilities.network.outbound[0].protocol",
            "spec.capabilities.network.outbound[1].reach",
            "spec.capabilities.grant",
            "spec.audit",
        ]
    );
    assert_eq!(
        component.spec.grant(),
        capability::Grant::default(),
        "what is not known grants nothing"
    );
}

#[test]
fn broken_yaml_names_the_document_it_is_in() {
    let text = format!("# a note\n---\n{FULL}---\nkind: [\n");
    let problems = document::check(&text).unwrap_err();
    assert_eq!(problems[0].document, 8);
}

proptest! {
    // Each case works out the schemas of five kinds.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        let _ = document::check(&text);
    }

    #[test]
    fn a_file_with_a_part_torn_out_is_read_or_refused(from in 0usize..4_500, length in 0usize..80) {
        let torn: String = FULL.chars().take(from).chain(FULL.chars().skip(from + length)).collect();
        if let Err(problems) = document::check(&torn) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert!(!problem.field.is_empty() && !problem.mend.is_empty(), "{problem}");
            }
        }
    }
}
