//! What the policy says for every form of `from`, and that it settles.

use serde_json::{Value, json};

use super::*;

fn key() -> Key {
    Key::new("shop", "orders")
}

fn home() -> Home {
    Home {
        namespace: "lighterman-system".to_owned(),
        owner: Some(OwnerReference {
            api_version: "v1".to_owned(),
            kind: "ServiceAccount".to_owned(),
            name: "lighterman-operator".to_owned(),
            uid: "uid-operator".to_owned(),
            controller: Some(false),
            block_owner_deletion: Some(false),
        }),
    }
}

fn triggers(triggers: Value) -> Vec<Trigger> {
    serde_json::from_value(triggers).unwrap()
}

fn ports(ports: &[(&str, u16)]) -> BTreeMap<String, u16> {
    ports
        .iter()
        .map(|(name, port)| ((*name).to_owned(), *port))
        .collect()
}

fn with(existing: Option<NetworkPolicy>) -> Standing {
    Standing {
        home: home(),
        existing: existing.map(Box::new),
    }
}

/// The ingress rules for one trigger with this `from`, on port 20017.
fn ingress(from: Value) -> Value {
    let mut trigger = json!({"name": "web", "http": {}});
    if !from.is_null() {
        trigger["from"] = from;
    }
    let triggers = triggers(json!([trigger]));
    let policy = network_policy(
        &key(),
        "uid",
        &triggers,
        &ports(&[("web", 20_017)]),
        &home(),
    );
    serde_json::to_value(policy.unwrap().spec.unwrap().ingress).unwrap()
}

fn to_port(from: Value) -> Value {
    json!([{"from": from, "ports": [{"port": 20_017, "protocol": "TCP"}]}])
}

#[test]
fn without_from_the_port_is_open_as_a_service_is() {
    let open = json!([{"ports": [{"port": 20_017, "protocol": "TCP"}]}]);
    assert_eq!(ingress(Value::Null), open);
}

#[test]
fn an_empty_from_is_nobody_and_not_kubernetes_everybody() {
    assert_eq!(ingress(json!([])), Value::Null);
}

#[test]
fn pods_alone_are_those_of_the_components_own_namespace() {
    let web = json!({"matchLabels": {"app": "web"}});
    assert_eq!(
        ingress(json!([{"podSelector": web}])),
        to_port(json!([{
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}},
            "podSelector": web,
        }]))
    );
}

#[test]
fn namespaces_and_addresses_are_taken_over_as_they_are() {
    let from = json!([
        {"namespaceSelector": {"matchLabels": {"team": "front"}}},
        {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "gateway"}}},
        {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}},
    ]);
    assert_eq!(ingress(from.clone()), to_port(from));
}

#[test]
fn each_trigger_has_a_rule_of_its_own() {
    let triggers = triggers(json!([
        {"name": "web", "http": {"port": 80}},
        {"name": "admin", "http": {"port": 81}, "from": [{"namespaceSelector": {}}]},
        {"name": "closed", "http": {"port": 82}, "from": []},
    ]));
    let ports = ports(&[("web", 20_001), ("admin", 20_002), ("closed", 20_003)]);
    let changes = changes(&key(), "uid", &triggers, &ports, &with(None));
    let policy = serde_json::to_value(&changes.create).unwrap();
    assert_eq!(
        policy,
        json!([{
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {
                "namespace": "lighterman-system",
                "name": "wc-shop.orders",
                "labels": {
                    "app.kubernetes.io/managed-by": "lighterman-operator",
                    "lighterman.dev/component": "orders",
                    "lighterman.dev/component-namespace": "shop",
                    "lighterman.dev/component-uid": "uid",
                },
                "ownerReferences": [{
                    "apiVersion": "v1",
                    "kind": "ServiceAccount",
                    "name": "lighterman-operator",
                    "uid": "uid-operator",
                    "controller": false,
                    "blockOwnerDeletion": false,
                }],
            },
            "spec": {
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "lighterman-agent"}},
                "policyTypes": ["Ingress"],
                "ingress": [
                    {"ports": [{"port": 20_001, "protocol": "TCP"}]},
                    {"from": [{"namespaceSelector": {}}], "ports": [{"port": 20_002, "protocol": "TCP"}]},
                ],
            },
        }])
    );
}

#[test]
fn a_component_without_a_port_has_no_policy() {
    let triggers = triggers(json!([{"name": "web", "http": {}}]));
    let none = changes(&key(), "uid", &triggers, &ports(&[]), &with(None));
    assert!(none.is_empty());
}

#[test]
fn what_was_written_is_not_written_again() {
    // Everything here comes back from the API server without what is empty.
    let triggers = triggers(json!([{"name": "web", "http": {}, "from": [
        {"namespaceSelector": {"matchLabels": {}, "matchExpressions": []}},
        {"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists", "values": []}]}},
        {"ipBlock": {"cidr": "192.0.2.0/24", "except": []}},
    ]}]));
    let ports = ports(&[("web", 20_017)]);
    let mut first = changes(&key(), "uid", &triggers, &ports, &with(None));
    let written = serde_json::to_string(&first.create).unwrap();
    assert!(
        !written.contains("[]") && !written.contains("\"matchLabels\":{}"),
        "{written}"
    );
    let again = changes(&key(), "uid", &triggers, &ports, &with(first.create.pop()));
    assert!(again.is_empty(), "{again:?}");
}

#[test]
fn a_change_of_callers_port_or_component_is_an_update_of_the_policy_that_is_there() {
    let before = triggers(json!([{"name": "web", "http": {}}]));
    let after = triggers(json!([{"name": "web", "http": {}, "from": []}]));
    let mut first = changes(
        &key(),
        "uid",
        &before,
        &ports(&[("web", 20_017)]),
        &with(None),
    );
    let mut existing = first.create.pop().unwrap();
    existing.metadata.resource_version = Some("7".to_owned());
    for (uid, triggers, port) in [
        ("uid", &after, 20_017),
        ("uid", &before, 20_018),
        ("another", &before, 20_017),
    ] {
        let ports = ports(&[("web", port)]);
        let changes = changes(&key(), uid, triggers, &ports, &with(Some(existing.clone())));
        assert_eq!((changes.create.len(), changes.delete.len()), (0, 0));
        let updated = &changes.update[0];
        assert_eq!(updated.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(updated.labels()["lighterman.dev/component-uid"], uid);
    }
}

#[test]
fn a_component_that_lost_its_last_port_loses_its_policy() {
    let web = triggers(json!([{"name": "web", "http": {}}]));
    let mut first = changes(&key(), "uid", &web, &ports(&[("web", 20_017)]), &with(None));
    let existing = first.create.pop();
    let changes = changes(&key(), "uid", &[], &ports(&[]), &with(existing));
    assert_eq!(changes.delete.len(), 1);
}
