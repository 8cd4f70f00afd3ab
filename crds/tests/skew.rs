//! Agents and operators of neighbouring versions understand each other: what one
//! does not know it passes over, and what must not be passed over is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

use crds::handover::{Problem, SealedRevision, TallyReport, Values};
use crds::placement::Phase;
use crds::wasm_node::feature;
use crds::{ComponentPlacement, Reason, WasmComponent, WasmNode};
use serde_json::{Value, json};

fn sealed() -> Value {
    json!({
        "document": {
            "version": 1,
            "component": {"namespace": "shop", "name": "orders", "uid": "u"},
            "image": "registry.example/shop/orders",
            "digest": "sha256:0",
            "triggers": [{"name": "web", "http": {"port": 80}}],
        },
        "seal": {"clusterUid": "c", "generation": 1, "signature": ""},
        "parcel": {"manifest": "m", "config": "c", "layer": "l"},
    })
}

/// Puts a member of a later version into every object.
fn of_tomorrow(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(of_tomorrow);
            members.insert("ofTomorrow".to_owned(), json!({"a": [1]}));
        }
        Value::Array(items) => items.iter_mut().for_each(of_tomorrow),
        _ => {}
    }
}

#[test]
fn hand_over_messages_of_a_later_operator_are_read() {
    let mut later = sealed();
    of_tomorrow(&mut later);
    let now: SealedRevision = serde_json::from_value(sealed()).unwrap();
    let read: SealedRevision = serde_json::from_value(later).unwrap();
    assert_eq!(read, now);
    let values = json!({"env": {"A": "b"}, "ofTomorrow": {"F": "x"}});
    let values: Values = serde_json::from_value(values).unwrap();
    assert_eq!(values.env["A"], "b");
    let problem = json!({"reason": "OfTomorrow", "message": "no", "ofTomorrow": 1});
    let problem: Problem = serde_json::from_value(problem).unwrap();
    assert_eq!((problem.reason, problem.status()), (Reason::Unknown, 503));
}

#[test]
fn counts_of_a_later_agent_are_read() {
    let report = json!({
        "components": [{
            "component": {"namespace": "shop", "name": "orders", "uid": "u", "ofTomorrow": 1},
            "revisions": [{
                "revision": "wc-orders-1", "epoch": 7, "ofTomorrow": 1,
                "tally": {"failures": {"OfTomorrow": 2}, "latency": {"1000": 5}, "ofTomorrow": 1},
            }],
        }],
        "ofTomorrow": 1,
    });
    let report: TallyReport = serde_json::from_value(report).unwrap();
    let tally = &report.components[0].revisions[0].tally;
    assert_eq!((tally.requests(), tally.failed(), tally.errors), (5, 2, 0));
}

/// A later operator's revision may say less than it means to an agent that passes a
/// field over: it must not hold the seal of the whole.
#[test]
fn a_revision_with_a_field_that_is_not_known_does_not_pass_for_what_was_sealed() {
    let now: SealedRevision = serde_json::from_value(sealed()).unwrap();
    let mut later = now.document.canonical();
    later["isolation"] = json!({"mode": "Namespace"});
    let signed_later = later.to_string();
    let read: crds::RevisionDocument = serde_json::from_value(later).unwrap();
    assert_ne!(
        read.canonical().to_string(),
        signed_later,
        "the agent's statement is over what it understood"
    );
    assert_eq!(
        read.seal_statement("c", 1),
        now.document.seal_statement("c", 1)
    );
}

#[test]
fn a_revision_of_the_last_operator_has_the_same_hash_and_statement() {
    let now: SealedRevision = serde_json::from_value(sealed()).unwrap();
    // As written by the first version: every default left out.
    assert_eq!(
        now.document.canonical(),
        json!({
            "version": 1,
            "component": {"namespace": "shop", "name": "orders", "uid": "u"},
            "image": "registry.example/shop/orders",
            "digest": "sha256:0",
            "triggers": [{"name": "web"}],
        })
        .as_object()
        .map(|members| {
            let mut members = members.clone();
            members["triggers"] = json!([{"name": "web", "http": {}}]);
            Value::Object(members)
        })
        .unwrap()
    );
}

#[test]
fn objects_of_a_later_version_are_read_as_far_as_they_are_known() {
    let mut node = json!({
        "apiVersion": "lighterman.dev/v1alpha1", "kind": "WasmNode", "metadata": {"name": "n1"}, "spec": {},
        "status": {
            "agentVersion": "9.9.9", "features": [feature::HTTP, "messaging"],
            "podRef": {"name": "p", "uid": "u"},
            "capacity": {"memory": "64Mi", "instances": 1, "components": 1},
        },
    });
    of_tomorrow(&mut node["status"]);
    let node: WasmNode = serde_json::from_value(node).unwrap();
    assert_eq!(node.status.unwrap().features, ["http", "messaging"]);

    let mut placement = json!({
        "apiVersion": "lighterman.dev/v1alpha1", "kind": "ComponentPlacement", "metadata": {"name": "p"},
        "spec": {
            "componentRef": {"name": "orders", "uid": "u"}, "nodeName": "n1", "replicas": 1,
            "revisions": [{"name": "r", "digest": "sha256:0", "weight": 100}],
        },
        "status": {"ready": true, "revisions": [{"name": "r", "phase": "Hibernating", "reason": "OfTomorrow"}]},
    });
    of_tomorrow(&mut placement["spec"]);
    let placement: ComponentPlacement = serde_json::from_value(placement).unwrap();
    let status = &placement.status.unwrap().revisions[0];
    assert_eq!(
        (status.phase, status.reason),
        (Phase::Unknown, Some(Reason::Unknown))
    );
}

/// An agent that was never updated says less: what it leaves out has a default.
#[test]
fn objects_of_the_first_version_are_read() {
    let node: WasmNode = serde_json::from_value(json!({
        "apiVersion": "lighterman.dev/v1alpha1", "kind": "WasmNode", "metadata": {"name": "n1"}, "spec": {}, "status": {},
    }))
    .unwrap();
    assert_eq!(node.status.unwrap().capacity, None);
    let component: WasmComponent = serde_json::from_value(json!({
        "apiVersion": "lighterman.dev/v1alpha1", "kind": "WasmComponent", "metadata": {"name": "orders"},
        "spec": {"image": "registry.example/shop/orders:1"},
    }))
    .unwrap();
    assert!(component.spec.placement.spread.is_empty());
    assert_eq!(component.spec.placement.node_affinity, None);
}
