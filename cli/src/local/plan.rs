//! What the one node of this machine shall run. A plain function of what was admitted.
//!
//! Placement has nothing to choose here: the machine counts as a node with every label
//! that is asked for. The agent keeps what serves until its successor is prepared.

use std::collections::BTreeMap;

use artifact::Digest;
use crds::names;
use crds::revision::ComponentIdentity;
use node_agent::{Desired, DesiredPlacement, DesiredRevision, PlacementKey};

/// The name of the one node.
pub(super) const NODE: &str = "local";

/// A component that was admitted, as far as the plan needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    /// UID of its placement.
    pub(super) placement_uid: String,
    /// Whose.
    pub(super) component: ComponentIdentity,
    /// The name of its revision.
    pub(super) revision: String,
    /// What that runs.
    pub(super) digest: Digest,
    /// How many times the budget of one replica is given.
    pub(super) replicas: u32,
    /// The port of each trigger.
    pub(super) ports: BTreeMap<String, u16>,
}

/// The placements of the node.
pub(super) fn desired<'a>(admitted: impl Iterator<Item = &'a Admitted>) -> Desired {
    Desired {
        placements: admitted
            .filter(|component| component.replicas > 0)
            .map(|component| (key(&component.component), placement(component)))
            .collect(),
    }
}

/// The placement of a component.
pub(super) fn key(component: &ComponentIdentity) -> PlacementKey {
    PlacementKey {
        namespace: component.namespace.clone(),
        name: names::placement_name(&component.name, NODE),
    }
}

fn placement(admitted: &Admitted) -> DesiredPlacement {
    DesiredPlacement {
        uid: admitted.placement_uid.clone(),
        generation: 1,
        component: admitted.component.clone(),
        replicas: admitted.replicas,
        ports: admitted.ports.clone(),
        revisions: vec![DesiredRevision {
            name: admitted.revision.clone(),
            digest: admitted.digest,
            weight: 100,
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(replicas: u32) -> Admitted {
        Admitted {
            placement_uid: "2".into(),
            component: ComponentIdentity {
                namespace: "shop".into(),
                name: "orders".into(),
                uid: "1".into(),
            },
            revision: "wc-orders-0123456789".into(),
            digest: Digest::of(b"orders"),
            replicas,
            ports: BTreeMap::from([("web".into(), 8080)]),
        }
    }

    #[test]
    fn a_component_gets_one_placement_with_all_its_traffic_on_one_revision() {
        let desired = desired([admitted(3)].iter());
        let placement = &desired.placements[&key(&admitted(3).component)];
        assert_eq!(placement.replicas, 3);
        assert_eq!(placement.ports["web"], 8080);
        let [revision] = placement.revisions.as_slice() else {
            panic!("one revision")
        };
        assert_eq!(
            (revision.name.as_str(), revision.weight),
            ("wc-orders-0123456789", 100)
        );
    }

    #[test]
    fn no_replicas_is_no_placement() {
        assert!(desired([admitted(0)].iter()).placements.is_empty());
    }
}
