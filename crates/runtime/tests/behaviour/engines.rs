//! Engine classes: which component goes where, and what their names and hashes say.

use crate::support::{HELLO, code, get, runtime, verified, workload};
use capability::Limits;
use runtime::{EngineClass, Runtime, WASMTIME_VERSION};
use std::collections::HashSet;

#[test]
fn components_with_little_data_go_to_the_small_engine_and_large_ones_to_the_other() {
    let facts = verified(HELLO).facts().clone();
    let limits = Limits::default();
    assert_eq!(EngineClass::of(&facts, &limits), EngineClass::SMALL);
    let large = artifact::component::Facts {
        data_bytes: 1 << 20,
        ..facts.clone()
    };
    assert_eq!(EngineClass::of(&large, &limits), EngineClass::LARGE);
    let world = artifact::component::World::HttpP3;
    assert_eq!(
        EngineClass::of(&artifact::component::Facts { world, ..facts }, &limits),
        EngineClass::P3
    );
    let mut limits = limits;
    limits.per_call.fuel = Some(1_000_000);
    let metered = EngineClass::of(&large, &limits);
    assert_eq!(metered, EngineClass::LARGE.metered());
}

#[tokio::test]
async fn the_large_engine_serves_the_same_component() {
    let runtime = runtime();
    let component = runtime
        .load(&code(EngineClass::LARGE, HELLO), workload("hello"))
        .unwrap();
    assert!(
        get(&component, "/")
            .await
            .text
            .starts_with("Hello from Lighterman")
    );
}

#[test]
fn each_class_has_a_hash_of_its_own_that_does_not_change() {
    let hashes = EngineClass::ALL.map(Runtime::engine_hash);
    assert_eq!(hashes, EngineClass::ALL.map(Runtime::engine_hash));
    assert!(hashes.iter().all(|hash| hash.len() == 16), "{hashes:?}");
    let different: HashSet<_> = hashes.iter().collect();
    assert_eq!(different.len(), hashes.len(), "{hashes:?}");
}

#[test]
fn the_version_that_is_reported_is_the_one_that_is_built() {
    let lock = include_str!("../../../../Cargo.lock");
    let (_, after) = lock.split_once("name = \"wasmtime\"\n").unwrap();
    assert!(after.starts_with(&format!("version = \"{WASMTIME_VERSION}\"")));
}

#[test]
fn a_class_is_found_by_its_name() {
    for class in EngineClass::ALL {
        assert_eq!(EngineClass::from_name(class.name()), Some(class));
    }
    assert_eq!(EngineClass::from_name("medium"), None);
}
