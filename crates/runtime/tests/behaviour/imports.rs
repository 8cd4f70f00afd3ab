//! What links, and what is refused by name before anything runs.

use crate::support::{HELLO, PROBE, PROBE_CONFIG, runtime, try_load};
use runtime::{EngineClass, LoadError, compile};

fn component(inside: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {inside})")).unwrap()
}

#[test]
fn an_import_without_its_grant_is_refused_by_name_and_says_what_mends_it() {
    let error = try_load(&runtime(), PROBE_CONFIG, |_| {}).unwrap_err();
    let LoadError::ImportNotGranted { import, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(import, "wasi:config/store@0.2.0-rc.1");
    assert!(error.to_string().contains("spec.config"), "{error}");
}

#[test]
fn an_import_that_nothing_can_grant_is_refused_by_name() {
    let wasm = component(r#"(import "acme:secret/vault@1.0.0" (instance (export "open" (func))))"#);
    let error = try_load(&runtime(), &wasm, |_| {}).unwrap_err();
    let LoadError::ImportNotGranted { import, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(import, "acme:secret/vault@1.0.0");
}

#[test]
fn a_component_without_a_handler_is_refused() {
    let error = try_load(&runtime(), &component(""), |_| {}).unwrap_err();
    assert!(matches!(error, LoadError::NoHandler { .. }), "{error}");
}

#[test]
fn a_component_that_starts_with_more_memory_than_a_call_may_have_is_refused() {
    let error = try_load(&runtime(), HELLO, |workload| {
        workload.initial_memory = 65 << 20
    })
    .unwrap_err();
    assert!(matches!(error, LoadError::MemoryTooSmall { .. }), "{error}");
}

#[test]
fn wasi_0_3_is_refused_where_it_is_off() {
    let runtime = runtime();
    let code = crate::support::code(EngineClass::P3, HELLO);
    let error = runtime
        .load(&code, crate::support::workload("hello"))
        .unwrap_err();
    assert!(matches!(error, LoadError::P3Off), "{error}");
}

#[test]
fn features_that_widen_the_attack_surface_do_not_compile() {
    for (feature, module) in [
        ("threads", "(memory 1 1 shared)"),
        ("memory64", "(memory i64 1)"),
        ("several memories", "(memory 1) (memory 1)"),
        ("exceptions", "(tag)"),
        ("garbage collection", "(type (struct))"),
    ] {
        let wasm = component(&format!("(core module {module})"));
        assert!(
            compile::compile(EngineClass::SMALL, &wasm).is_err(),
            "{feature}"
        );
    }
    assert!(compile::compile(EngineClass::SMALL, PROBE).is_ok());
}
