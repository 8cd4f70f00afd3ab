//! Services and slices as they should be, from placements and nodes.

use capability::Bytes;
use crds::ComponentPlacement;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::json;

use super::*;
use crate::component::Changes;
use crate::node::{Agent, NodeFact, Nodes};
use crate::placement;

fn key() -> Key {
    Key::new("shop", "orders")
}

fn ports() -> BTreeMap<String, u16> {
    BTreeMap::from([("web".to_owned(), 20_017)])
}

fn owned_service() -> Service {
    let trigger = serde_json::from_value(json!({"name": "web", "http": {}})).unwrap();
    let mut service = service(
        &key(),
        "uid-orders",
        &ServiceSpec::default(),
        &[trigger],
        &ports(),
        &Standing::Absent,
    )
    .unwrap();
    service.metadata.uid = Some("uid-service".to_owned());
    service
}

fn node(address: &str) -> NodeFact {
    NodeFact {
        planned: placement::Node {
            labels: BTreeMap::new(),
            taints: Vec::new(),
            standing: placement::Standing::Ready,
            features: Some(std::collections::BTreeSet::from(["http".to_owned()])),
            memory: Bytes::mib(64),
            reserved: Bytes(0),
        },
        zone: Some("a".to_owned()),
        agent: Some(Agent {
            namespace: "lighterman-system".to_owned(),
            name: format!("agent-{address}"),
            uid: address.to_owned(),
            addresses: vec![address.parse().unwrap()],
            ready: true,
            terminating: false,
        }),
    }
}

fn placed(node: &str, ready: bool) -> ComponentPlacement {
    serde_json::from_value(json!({
        "apiVersion": crds::API_VERSION, "kind": "ComponentPlacement",
        "metadata": {"namespace": "shop", "name": names::placement_name("orders", node)},
        "spec": {"componentRef": {"name": "orders", "uid": "u"}, "nodeName": node, "replicas": 1, "revisions": []},
        "status": {"ready": ready},
    }))
    .unwrap()
}

/// `count` nodes with a ready placement each.
fn fleet(count: u8) -> (Nodes, Vec<ComponentPlacement>) {
    let nodes = (1..=count)
        .map(|n| (format!("n{n}"), node(&format!("192.0.2.{n}"))))
        .collect();
    (
        nodes,
        (1..=count)
            .map(|n| placed(&format!("n{n}"), true))
            .collect(),
    )
}

fn packed(
    nodes: &Nodes,
    placements: &[ComponentPlacement],
    existing: &[EndpointSlice],
) -> Changes<EndpointSlice> {
    let placements: Vec<&ComponentPlacement> = placements.iter().collect();
    slices(
        &key(),
        &owned_service(),
        &ports(),
        &placements,
        nodes,
        existing,
    )
}

#[test]
fn a_slice_holds_at_most_a_hundred_endpoints() {
    let (nodes, placements) = fleet(250);
    let changes = packed(&nodes, &placements, &[]);
    let sizes: Vec<usize> = changes
        .create
        .iter()
        .map(|slice| slice.endpoints.len())
        .collect();
    assert_eq!(sizes, [100, 100, 50]);
    let names: Vec<String> = changes.create.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["orders-ipv4-0", "orders-ipv4-1", "orders-ipv4-2"]);
}

#[test]
fn one_node_that_changes_is_one_slice_that_changes() {
    let (mut nodes, placements) = fleet(250);
    let existing = packed(&nodes, &placements, &[]).create;
    assert!(
        packed(&nodes, &placements, &existing).is_empty(),
        "nothing changed"
    );
    nodes.get_mut("n1").unwrap().agent.as_mut().unwrap().ready = false;
    let changes = packed(&nodes, &placements, &existing);
    assert_eq!(
        (
            changes.create.len(),
            changes.update.len(),
            changes.delete.len()
        ),
        (0, 1, 0)
    );
}

#[test]
fn an_endpoint_that_goes_leaves_room_for_the_next() {
    let (nodes, placements) = fleet(101);
    let existing = packed(&nodes, &placements, &[]).create;
    // The one in the second slice stays there; the freed seat in the first is not worth a move.
    let changes = packed(&nodes, &placements[1..], &existing);
    assert_eq!(
        (
            changes.create.len(),
            changes.update.len(),
            changes.delete.len()
        ),
        (0, 1, 0)
    );
    assert_eq!(changes.update[0].endpoints.len(), 99);
}

#[test]
fn empty_slices_go_and_one_stays() {
    let (nodes, placements) = fleet(150);
    let existing = packed(&nodes, &placements, &[]).create;
    let changes = packed(&nodes, &[], &existing);
    assert_eq!((changes.update.len(), changes.delete.len()), (1, 1));
    assert!(changes.update[0].endpoints.is_empty());
}

#[test]
fn families_do_not_share_a_slice() {
    let mut both = node("192.0.2.1");
    both.agent
        .as_mut()
        .unwrap()
        .addresses
        .push("2001:db8::1".parse().unwrap());
    let changes = packed(
        &BTreeMap::from([("n1".to_owned(), both)]),
        &[placed("n1", true)],
        &[],
    );
    let types: Vec<&str> = changes
        .create
        .iter()
        .map(|slice| slice.address_type.as_str())
        .collect();
    assert_eq!(types, ["IPv4", "IPv6"]);
}

#[test]
fn an_endpoint_says_all_three_conditions_and_where_it_is() {
    let (nodes, _) = fleet(1);
    let changes = packed(&nodes, &[placed("n1", false)], &[]);
    let endpoint = &changes.create[0].endpoints[0];
    let conditions = endpoint.conditions.as_ref().unwrap();
    assert_eq!(
        (conditions.ready, conditions.serving, conditions.terminating),
        (Some(false), Some(false), Some(false))
    );
    assert_eq!(
        (endpoint.node_name.as_deref(), endpoint.zone.as_deref()),
        (Some("n1"), Some("a"))
    );
    let target = endpoint.target_ref.as_ref().unwrap();
    assert_eq!(
        (target.kind.as_deref(), target.namespace.as_deref()),
        (Some("Pod"), Some("lighterman-system"))
    );
}

#[test]
fn what_others_add_to_the_service_is_not_ours_to_mend() {
    let wanted = owned_service();
    let mut existing = wanted.clone();
    existing
        .labels_mut()
        .insert("team".to_owned(), "x".to_owned());
    existing.spec.as_mut().unwrap().cluster_ip = Some("10.0.0.7".to_owned());
    assert!(service_is_current(&existing, &wanted));
    existing.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].port = 81;
    assert!(!service_is_current(&existing, &wanted));
}
