//! Engine classes: which component goes where, and what their names and hashes say.

use crate::support::{HELLO, code, get, runtime, verified, workload};
use runtime::{EngineClass, Runtime, WASMTIME_VERSION};

#[test]
fn components_with_little_data_go_to_the_small_engine_and_large_ones_to_the_other() {
    let facts = verified(HELLO).facts().clone();
    assert_eq!(EngineClass::of(&facts), EngineClass::Small);
    let large = artifact::component::Facts {
        data_bytes: 1 << 20,
        ..facts.clone()
    };
    assert_eq!(EngineClass::of(&large), EngineClass::Large);
    let world = artifact::component::World::HttpP3;
    assert_eq!(
        EngineClass::of(&artifact::component::Facts { world, ..facts }),
        EngineClass::P3
    );
}

#[tokio::test]
async fn the_large_engine_serves_the_same_component() {
    let runtime = runtime();
    let component = runtime
        .load(&code(EngineClass::Large, HELLO), workload("hello"))
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
    let hashes: Vec<_> = [EngineClass::Small, EngineClass::Large, EngineClass::P3]
        .iter()
        .map(|class| (Runtime::engine_hash(*class), Runtime::engine_hash(*class)))
        .collect();
    for (once, again) in &hashes {
        assert_eq!(once, again);
        assert_eq!(once.len(), 16);
    }
    assert_ne!(hashes[0].0, hashes[1].0);
    assert_ne!(hashes[0].0, hashes[2].0);
}

#[test]
fn the_version_that_is_reported_is_the_one_that_is_built() {
    let lock = include_str!("../../../../Cargo.lock");
    let (_, after) = lock.split_once("name = \"wasmtime\"\n").unwrap();
    assert!(after.starts_with(&format!("version = \"{WASMTIME_VERSION}\"")));
}

#[test]
fn a_class_is_found_by_its_name() {
    for class in [EngineClass::Small, EngineClass::Large, EngineClass::P3] {
        assert_eq!(EngineClass::from_name(class.name()), Some(class));
    }
    assert_eq!(EngineClass::from_name("medium"), None);
}
