//! Laws of the placement planner, over any demands and nodes. `rules` has the examples.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

mod losses;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use capability::Bytes;
use k8s_openapi::api::core::v1::{Taint, Toleration};
use operator::component::Key;
use operator::placement::{
    Affinity, Constraint, Counts, Demand, Mode, Node, Refusal, Standing, plan,
};
use proptest::prelude::*;
use serde_json::json;

type Demands = BTreeMap<Key, Demand>;
type Nodes = BTreeMap<String, Node>;
type Present = BTreeMap<Key, Counts>;

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[ab]", "[xy]", 0..2)
}

/// Labels of a node: some have a zone.
fn node_labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    (labels(), prop::option::weighted(0.8, "[pqr]")).prop_map(|(mut labels, zone)| {
        labels.extend(zone.map(|zone| ("zone".to_owned(), zone)));
        labels
    })
}

fn affinity() -> impl Strategy<Value = Affinity> {
    let requires = |expression: serde_json::Value| json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}});
    let prefers = |zone: &str| {
        json!({"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 10, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}},
        ]})
    };
    prop::sample::select(vec![
        json!({}),
        json!({}),
        requires(json!({"key": "zone", "operator": "In", "values": ["p", "q"]})),
        requires(json!({"key": "a", "operator": "DoesNotExist"})),
        prefers("p"),
        prefers("r"),
    ])
    .prop_map(parsed)
}

fn parsed(affinity: serde_json::Value) -> Affinity {
    Affinity::parse(&serde_json::from_value(affinity).unwrap()).unwrap()
}

fn spread() -> impl Strategy<Value = Vec<Constraint>> {
    let constraint = (prop::bool::ANY, 1_u32..3).prop_map(|(required, max_skew)| Constraint {
        topology_key: "zone".to_owned(),
        max_skew,
        required,
    });
    prop_oneof![
        3 => Just(Vec::new()),
        2 => prop::collection::vec(constraint, 1..3),
    ]
}

fn features() -> impl Strategy<Value = BTreeSet<String>> {
    prop::sample::select(vec!["http", "http", "p3"])
        .prop_map(|feature| BTreeSet::from(["http".to_owned(), feature.to_owned()]))
}

fn taint() -> impl Strategy<Value = Taint> {
    let keys = prop::sample::select(vec!["gpu", "batch", "node.kubernetes.io/unschedulable"]);
    let effects = prop::sample::select(vec!["NoSchedule", "NoExecute", "PreferNoSchedule"]);
    (keys, effects).prop_map(|(key, effect)| Taint {
        key: key.to_owned(),
        effect: effect.to_owned(),
        ..Taint::default()
    })
}

fn demand() -> impl Strategy<Value = Demand> {
    let mode = prop_oneof![
        (0_u32..6).prop_map(|replicas| Mode::Spread { replicas }),
        Just(Mode::EveryNode)
    ];
    let toleration = prop::sample::select(vec!["gpu", "batch"]).prop_map(|key| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        ..Toleration::default()
    });
    (
        mode,
        1_u32..24,
        labels(),
        affinity(),
        prop::collection::vec(toleration, 0..2),
        spread(),
        features(),
    )
        .prop_map(
            |(mode, memory, node_selector, affinity, tolerations, spread, features)| Demand {
                mode,
                memory: Bytes::mib(memory),
                node_selector,
                affinity,
                tolerations,
                // As `validate` has it.
                spread: if mode == Mode::EveryNode {
                    Vec::new()
                } else {
                    spread
                },
                features,
            },
        )
}

fn node() -> impl Strategy<Value = Node> {
    let standing = prop::sample::select(vec![
        Standing::Ready,
        Standing::Ready,
        Standing::Ready,
        Standing::Suspended,
        Standing::Lost,
    ]);
    (
        node_labels(),
        prop::collection::vec(taint(), 0..2),
        standing,
        prop::option::weighted(0.9, features()),
        0_u32..64,
        0_u32..16,
    )
        .prop_map(
            |(labels, taints, standing, features, memory, reserved)| Node {
                labels,
                taints,
                standing,
                features,
                memory: Bytes::mib(memory),
                reserved: Bytes::mib(reserved),
            },
        )
}

fn cluster() -> impl Strategy<Value = (Demands, Nodes, Present)> {
    let key = "[a-e]".prop_map(|name| Key::new("shop", name));
    let node_name = "n[1-6]";
    let present = prop::collection::btree_map(
        key.clone(),
        prop::collection::btree_map(node_name, 1_u32..4, 0..4),
        0..5,
    );
    (
        prop::collection::btree_map(key, demand(), 0..5),
        prop::collection::btree_map(node_name, node(), 0..6),
        present,
    )
}

fn sum(counts: &Counts) -> u32 {
    counts.values().sum()
}

/// The rules of matching written once more, in the plainest way, except affinity,
/// which has tests of its own.
fn takes(demand: &Demand, node: &Node) -> bool {
    let alone = Demand {
        mode: Mode::EveryNode,
        spread: Vec::new(),
        memory: Bytes(0),
        ..plain(1)
    };
    let admitted = |affinity: &Affinity| {
        let demand = Demand {
            affinity: affinity.clone(),
            ..alone.clone()
        };
        let node = Node {
            taints: Vec::new(),
            standing: Standing::Ready,
            features: Some(BTreeSet::new()),
            ..node.clone()
        };
        let key = Key::new("shop", "alone");
        let outcome = plan(
            &BTreeMap::from([(key.clone(), demand)]),
            &BTreeMap::from([("n".to_owned(), node)]),
            &Present::new(),
        );
        !outcome.assigned[&key].is_empty()
    };
    let able = node
        .features
        .as_ref()
        .is_some_and(|known| demand.features.is_subset(known));
    let selected = demand
        .node_selector
        .iter()
        .all(|(key, value)| node.labels.get(key) == Some(value));
    let tolerated = node.taints.iter().all(|taint| {
        taint.effect == "PreferNoSchedule"
            || demand
                .tolerations
                .iter()
                .any(|toleration| toleration.key.as_ref() == Some(&taint.key))
            || (demand.mode == Mode::EveryNode && taint.key == "node.kubernetes.io/unschedulable")
    });
    node.standing == Standing::Ready && selected && tolerated && able && admitted(&demand.affinity)
}

/// A demand without wishes.
fn plain(replicas: u32) -> Demand {
    Demand {
        mode: Mode::Spread { replicas },
        memory: Bytes::mib(8),
        node_selector: BTreeMap::new(),
        affinity: Affinity::default(),
        tolerations: Vec::new(),
        spread: Vec::new(),
        features: BTreeSet::new(),
    }
}

proptest! {
    #[test]
    fn planning_is_deterministic_and_planning_again_changes_nothing((demands, nodes, present) in cluster()) {
        let first = plan(&demands, &nodes, &present);
        prop_assert_eq!(&plan(&demands, &nodes, &present), &first);
        let again = plan(&demands, &nodes, &first.assigned);
        prop_assert_eq!(&again.assigned, &first.assigned);
        prop_assert_eq!(&again.missing, &first.missing);
    }

    #[test]
    fn what_is_new_goes_only_to_nodes_that_match_and_have_room((demands, nodes, present) in cluster()) {
        let outcome = plan(&demands, &nodes, &present);
        for (key, counts) in &outcome.assigned {
            for (name, count) in counts {
                let before = present.get(key).and_then(|held| held.get(name)).copied().unwrap_or_default();
                if *count > before {
                    prop_assert!(takes(&demands[key], &nodes[name]), "{} on {}", key, name);
                }
                prop_assert!(*count > 0);
                prop_assert!(nodes[name].standing != Standing::Lost);
                let able = nodes[name].features.as_ref().is_none_or(|known| demands[key].features.is_subset(known));
                prop_assert!(able, "{} stays on {} whose agent cannot run it", key, name);
                let selected = demands[key].node_selector.iter().all(|(label, value)| nodes[name].labels.get(label) == Some(value));
                prop_assert!(selected, "{} stays on {} without its label", key, name);
            }
        }
        for (name, node) in &nodes {
            let used = |counts: &Present| -> u64 {
                demands.iter().map(|(key, demand)| {
                    u64::from(counts.get(key).and_then(|held| held.get(name)).copied().unwrap_or_default()) * demand.memory.0
                }).sum()
            };
            let room = node.memory.0.saturating_sub(node.reserved.0);
            prop_assert!(used(&outcome.assigned) <= room.max(used(&present)), "{} is over-committed by the plan", name);
        }
    }

    #[test]
    fn replicas_are_placed_or_missing_and_never_too_many((demands, nodes, present) in cluster()) {
        let outcome = plan(&demands, &nodes, &present);
        for (key, demand) in &demands {
            let placed = sum(&outcome.assigned[key]);
            match demand.mode {
                Mode::Spread { replicas } => prop_assert_eq!(placed + outcome.missing[key], replicas),
                Mode::EveryNode => prop_assert!(outcome.assigned[key].values().all(|count| *count == 1)),
            }
            if matches!(demand.mode, Mode::Spread { .. }) && outcome.missing[key] > 0 {
                let silent: Vec<&String> = nodes.keys().filter(|name| !outcome.refused[key].contains_key(*name)).collect();
                prop_assert!(silent.is_empty(), "{:?} do not say why they take none of {}", silent, key);
            }
        }
    }

    #[test]
    fn nothing_moves_that_need_not((demands, nodes, _) in cluster(), extra in node()) {
        let settled = plan(&demands, &nodes, &Present::new()).assigned;
        let mut more = nodes.clone();
        more.insert("n9".to_owned(), extra);
        let after = plan(&demands, &more, &settled).assigned;
        for (key, counts) in &settled {
            for (name, count) in counts {
                // A new node takes replicas over only to level counts that were two apart.
                let now = after[key].get(name).copied().unwrap_or_default();
                let highest = counts.values().copied().max().unwrap_or_default();
                // Or to mend a required spread that the new node's zone has broken.
                let broken = demands[key].spread.iter().any(|constraint| constraint.required);
                prop_assert!(now >= *count || highest >= 2 || broken, "{} left {} for no reason", key, name);
            }
        }
    }

    #[test]
    fn counts_on_nodes_that_can_take_more_are_within_one((demands, nodes, present) in cluster()) {
        let outcome = plan(&demands, &nodes, &present);
        let free = |name: &String| {
            let used: u64 = demands.iter().map(|(key, demand)| u64::from(outcome.assigned[key].get(name).copied().unwrap_or_default()) * demand.memory.0).sum();
            nodes[name].memory.0.saturating_sub(nodes[name].reserved.0).saturating_sub(used)
        };
        for (key, demand) in demands.iter().filter(|(_, demand)| demand.mode != Mode::EveryNode && demand.spread.is_empty()) {
            let counts = &outcome.assigned[key];
            let least = nodes.iter().filter(|(name, node)| takes(demand, node) && free(name) >= demand.memory.0)
                .map(|(name, _)| counts.get(name).copied().unwrap_or_default()).min();
            let most = counts.iter().filter(|(name, _)| nodes[*name].standing == Standing::Ready).map(|(_, count)| *count).max();
            if let (Some(least), Some(most)) = (least, most) {
                prop_assert!(most <= least + 1, "{}: {} and {}", key, least, most);
            }
        }
    }

    #[test]
    fn a_required_spread_is_kept_by_everything_new((demands, nodes, _) in cluster()) {
        let outcome = plan(&demands, &nodes, &Present::new());
        for (key, demand) in &demands {
            for constraint in demand.spread.iter().filter(|constraint| constraint.required) {
                let mut counts: BTreeMap<&String, u32> = nodes.values()
                    .filter(|node| takes(demand, node))
                    .filter_map(|node| node.labels.get(&constraint.topology_key))
                    .map(|domain| (domain, 0)).collect();
                for (name, count) in &outcome.assigned[key] {
                    let domain = nodes[name].labels.get(&constraint.topology_key);
                    prop_assert!(domain.is_some(), "{} is on {} outside of every domain", key, name);
                    *counts.entry(domain.unwrap()).or_default() += count;
                }
                let (least, most) = (counts.values().min(), counts.values().max());
                if let (Some(least), Some(most)) = (least, most) {
                    prop_assert!(*most <= least + constraint.max_skew, "{}: {:?}", key, counts);
                }
            }
        }
    }

    #[test]
    fn names_of_components_and_nodes_decide_nothing_but_ties(
        demand in demand(), nodes in prop::collection::btree_map("n[1-6]", node(), 1..6), present in prop::collection::btree_map("n[1-6]", 1_u32..4, 0..4),
    ) {
        // The same nodes under names in the opposite order: as many replicas find a place.
        let renamed = |name: &str| format!("m{}", 9 - name[1..].parse::<u32>().unwrap());
        let key = Key::new("shop", "orders");
        let run = |nodes: &Nodes, present: Counts| {
            plan(&BTreeMap::from([(key.clone(), demand.clone())]), nodes, &BTreeMap::from([(key.clone(), present)]))
        };
        let one = run(&nodes, present.clone());
        let other = run(
            &nodes.iter().map(|(name, node)| (renamed(name), node.clone())).collect(),
            present.iter().map(|(name, count)| (renamed(name), *count)).collect(),
        );
        if demand.spread.is_empty() {
            prop_assert_eq!(sum(&one.assigned[&key]), sum(&other.assigned[&key]));
            prop_assert_eq!(one.missing[&key], other.missing[&key]);
        }
        let reasons = |outcome: &operator::placement::Outcome| {
            let mut reasons: Vec<String> = outcome.refused[&key].values().filter(|refusal| !matches!(refusal, Refusal::Memory { .. } | Refusal::Spread { .. })).map(ToString::to_string).collect();
            reasons.sort();
            reasons
        };
        if demand.mode != Mode::EveryNode {
            prop_assert_eq!(reasons(&one), reasons(&other));
        }
    }
}
