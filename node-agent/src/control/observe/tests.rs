//! What becomes of placements as they come from the API server, good and bad.

use serde_json::{Value, json};

use super::*;

fn object(spec: Value) -> DeserializeGuard<ComponentPlacement> {
    serde_json::from_value(json!({
        "apiVersion": "lighterman.dev/v1alpha1",
        "kind": "ComponentPlacement",
        "metadata": {"name": "orders-n", "namespace": "shop", "uid": "u", "generation": 3},
        "spec": spec,
    }))
    .unwrap()
}

fn spec(port: i32) -> Value {
    json!({
        "componentRef": {"name": "orders", "uid": "c"},
        "nodeName": "node",
        "replicas": 2,
        "ports": [{"trigger": "web", "port": port}],
        "revisions": [{
            "name": "wc-orders-1",
            "digest": artifact::Digest::of(b"x").to_string(),
            "weight": 100,
        }],
    })
}

fn read_one(
    before: &BTreeMap<PlacementKey, DesiredPlacement>,
    object: DeserializeGuard<ComponentPlacement>,
) -> BTreeMap<PlacementKey, DesiredPlacement> {
    let mut into = BTreeMap::new();
    read(&mut into, before, object);
    into
}

#[test]
fn a_placement_is_read_with_the_component_of_its_own_namespace() {
    let read = read_one(&BTreeMap::new(), object(spec(20_017)));
    let placement = read.values().next().unwrap();
    assert_eq!(placement.component.namespace, "shop");
    assert_eq!(placement.ports["web"], 20_017);
    assert_eq!((placement.replicas, placement.generation), (2, 3));
}

#[test]
fn a_placement_that_cannot_be_read_keeps_its_last_state() {
    let before = read_one(&BTreeMap::new(), object(spec(20_017)));
    for bad in [
        spec(0),
        spec(70_000),
        json!({"nodeName": 7}),
        json!({"componentRef": "later"}),
    ] {
        assert_eq!(read_one(&before, object(bad.clone())), before, "{bad}");
        assert!(read_one(&BTreeMap::new(), object(bad)).is_empty());
    }
}

#[test]
fn what_is_kept_for_a_revision_is_named_by_namespace_and_revision() {
    let desired = Desired {
        placements: read_one(&BTreeMap::new(), object(spec(20_017))),
    };
    let names = names_of(&desired, "values-");
    assert_eq!(
        names,
        BTreeSet::from(["values-shop_wc-orders-1".to_owned()])
    );
}
