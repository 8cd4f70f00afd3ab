//! What is read from a component, and from which part of it.

use artifact::RefusalCode;
use artifact::component::{Facts, World, inspect};
use artifact::limits::NAME_MAX;

use crate::support::{component, http_component, with_name, with_section};

fn facts(wasm: &[u8]) -> Facts {
    inspect(wasm).unwrap_or_else(|refusal| panic!("{refusal}"))
}

#[test]
fn facts_are_read_from_the_binary() {
    let wasm = with_section(with_name(http_component(), "orders"), "version", b"1.4.0\n");
    assert_eq!(
        facts(&wasm),
        Facts {
            name: Some("orders".to_owned()),
            version: Some("1.4.0".to_owned()),
            imports: vec!["wasi:clocks/monotonic-clock@0.2.3".to_owned()],
            exports: vec!["wasi:http/incoming-handler@0.2.3".to_owned()],
            world: World::HttpP2,
            initial_memory: 3 * 64 * 1024,
            data_bytes: 5,
            memories: 1,
            core_modules: 1,
            request: None,
        }
    );
}

#[test]
fn the_world_is_told_by_exports() {
    for (export, world) in [
        ("wasi:http/incoming-handler@0.2.0", World::HttpP2),
        ("wasi:http/incoming-handler@0.2.12", World::HttpP2),
        ("wasi:http/handler@0.3.0", World::HttpP3),
        ("wasi:cli/run@0.2.6", World::Command),
        ("wasi:cli/run@0.3.0", World::Command),
        ("lighterman:core/lifecycle@1.0.0", World::Command),
        ("wasi:http/incoming-handler@0.1.0", World::Other),
        ("wasi:http/incoming-handlers@0.2.0", World::Other),
        ("acme:math/tools@1.0.0", World::Other),
    ] {
        let wasm = component(&format!(
            r#"(instance $i) (export "{export}" (instance $i))"#
        ));
        assert_eq!(facts(&wasm).world, world, "{export}");
    }
    assert_eq!(facts(&component("")).world, World::Other);
}

#[test]
fn only_the_outermost_component_speaks_for_itself() {
    let wasm = component(
        r#"(component
             (import "acme:inner/secret" (instance))
             (core module (memory 2) (data "abc")))
           (core module (memory 1))"#,
    );
    let facts = facts(&wasm);
    assert!(facts.imports.is_empty() && facts.exports.is_empty());
    assert_eq!((facts.memories, facts.core_modules), (2, 2));
    assert_eq!((facts.initial_memory, facts.data_bytes), (3 * 64 * 1024, 3));
}

#[test]
fn two_sections_of_one_name_are_refused() {
    let version = with_section(http_component(), "version", b"1.0.0");
    let name = with_name(http_component(), "orders");
    for (wasm, section) in [
        (with_section(version, "version", b"2.0.0"), "version"),
        (with_name(name, "billing"), "component-name"),
    ] {
        let refusal = inspect(&wasm).unwrap_err();
        assert_eq!(refusal.code(), RefusalCode::InvalidComponent);
        assert!(
            refusal
                .to_string()
                .contains(&format!("more than one {section}")),
            "{refusal}"
        );
    }
}

#[test]
fn names_and_versions_that_do_not_belong_in_a_status_are_refused() {
    let long = "a".repeat(NAME_MAX + 1);
    for wasm in [
        with_section(http_component(), "version", b"1.0\x1b[31m"),
        with_section(http_component(), "version", b"\xff\xfe"),
        with_section(http_component(), "version", long.as_bytes()),
        with_name(http_component(), &long),
        with_name(http_component(), "two\nlines"),
    ] {
        assert_eq!(
            inspect(&wasm).unwrap_err().code(),
            RefusalCode::InvalidComponent
        );
    }
}

#[test]
fn a_wit_package_is_refused_by_name() {
    let package = component(r#"(type $world (component)) (export "world" (type $world))"#);
    let refusal = inspect(&package).unwrap_err();
    assert_eq!(refusal.code(), RefusalCode::UnsupportedArtifact);
    assert!(refusal.to_string().contains("a WIT package"), "{refusal}");
}

#[test]
fn an_empty_version_is_none() {
    assert_eq!(
        facts(&with_section(http_component(), "version", b" ")).version,
        None
    );
}

#[test]
fn features_that_nodes_do_not_run_are_refused() {
    for (feature, module) in [
        ("threads", "(memory 1 1 shared)"),
        ("64-bit memory", "(memory i64 1)"),
        ("several memories", "(memory 1) (memory 1)"),
        ("exceptions", "(tag)"),
        ("garbage collection", "(type (struct))"),
    ] {
        let refusal = inspect(&component(&format!("(core module {module})"))).unwrap_err();
        assert_eq!(refusal.code(), RefusalCode::InvalidComponent, "{feature}");
    }
}

#[test]
fn too_many_interfaces_are_refused() {
    let imports: String = (0..=artifact::limits::INTERFACES_MAX)
        .map(|i| format!(r#"(import "acme:many/i{i}" (instance))"#))
        .collect();
    assert_eq!(
        inspect(&component(&imports)).unwrap_err().code(),
        RefusalCode::TooLarge
    );
}
