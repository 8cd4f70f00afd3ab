//! What the placement planner does in single cases, each with its rule.

use super::*;
use k8s_openapi::api::core::v1::Taint;
use operator::placement::summary;

/// A node without peculiarities, of a zone.
fn in_zone(zone: &str, memory: u32) -> Node {
    Node {
        labels: BTreeMap::from([("zone".to_owned(), zone.to_owned())]),
        taints: Vec::new(),
        standing: Standing::Ready,
        features: Some(BTreeSet::new()),
        memory: Bytes::mib(memory),
        reserved: Bytes(0),
    }
}

fn zones(spread: &str) -> Nodes {
    spread
        .chars()
        .enumerate()
        .map(|(index, zone)| (format!("n{index}"), in_zone(&zone.to_string(), 1024)))
        .collect()
}

/// Replicas per zone of one component.
fn per_zone(demand: &Demand, nodes: &Nodes, present: Counts) -> (BTreeMap<String, u32>, u32) {
    let key = Key::new("shop", "orders");
    let outcome = plan(
        &BTreeMap::from([(key.clone(), demand.clone())]),
        nodes,
        &BTreeMap::from([(key.clone(), present)]),
    );
    let mut zones: BTreeMap<String, u32> = BTreeMap::new();
    for (name, count) in &outcome.assigned[&key] {
        *zones.entry(nodes[name].labels["zone"].clone()).or_default() += count;
    }
    (zones, outcome.missing[&key])
}

fn by_zone(required: bool, max_skew: u32) -> Vec<Constraint> {
    vec![Constraint {
        topology_key: "zone".to_owned(),
        max_skew,
        required,
    }]
}

#[test]
fn replicas_of_different_components_do_not_all_start_on_the_first_node() {
    let nodes = zones("pppp");
    let demands: Demands = (0..40)
        .map(|n| (Key::new("shop", format!("c{n}")), plain(1)))
        .collect();
    let outcome = plan(&demands, &nodes, &Present::new());
    for name in nodes.keys() {
        assert_eq!(
            outcome
                .assigned
                .values()
                .filter(|counts| counts.contains_key(name))
                .count(),
            10
        );
    }
}

#[test]
fn more_replicas_than_nodes_share_the_nodes_evenly() {
    let key = Key::new("shop", "orders");
    let outcome = plan(
        &BTreeMap::from([(key.clone(), plain(7))]),
        &zones("ppp"),
        &Present::new(),
    );
    let mut counts: Vec<u32> = outcome.assigned[&key].values().copied().collect();
    counts.sort_unstable();
    assert_eq!(counts, [2, 2, 3]);
}

#[test]
fn every_node_says_why_it_takes_no_more() {
    let mut nodes = zones("ppqqqq");
    for name in ["n2", "n3", "n4", "n5"] {
        nodes
            .get_mut(name)
            .unwrap()
            .labels
            .insert("disk".to_owned(), "slow".to_owned());
    }
    for name in ["n0", "n1"] {
        let node = nodes.get_mut(name).unwrap();
        node.labels.insert("disk".to_owned(), "fast".to_owned());
        node.memory = Bytes::mib(10);
    }
    let demand = Demand {
        node_selector: BTreeMap::from([("disk".to_owned(), "fast".to_owned())]),
        ..plain(3)
    };
    let key = Key::new("shop", "orders");
    let outcome = plan(
        &BTreeMap::from([(key.clone(), demand)]),
        &nodes,
        &Present::new(),
    );
    assert_eq!(outcome.missing[&key], 1);
    assert_eq!(
        outcome.refused[&key]["n0"],
        Refusal::Memory {
            wanted: Bytes::mib(8),
            free: Bytes::mib(2)
        }
    );
    assert_eq!(
        summary(&outcome.refused[&key]),
        "0/6 nodes can take one: 4 without the label disk=fast (n2, n3, n4, 1 more), \
         2 with less than 8Mi of memory left (n0 has 2Mi, n1 has 2Mi)"
    );
}

#[test]
fn a_required_spread_holds_replicas_back_and_a_wished_one_does_not() {
    let mut nodes = zones("ppq");
    nodes.get_mut("n2").unwrap().memory = Bytes::mib(8);
    let strict = Demand {
        spread: by_zone(true, 1),
        ..plain(6)
    };
    let (zones, missing) = per_zone(&strict, &nodes, Counts::new());
    assert_eq!((zones["p"], zones["q"], missing), (2, 1, 3));
    let lenient = Demand {
        spread: by_zone(false, 1),
        ..plain(6)
    };
    let (zones, missing) = per_zone(&lenient, &nodes, Counts::new());
    assert_eq!((zones["p"], zones["q"], missing), (5, 1, 0));
}

#[test]
fn zones_are_levelled_before_nodes() {
    let demand = Demand {
        spread: by_zone(false, 1),
        ..plain(4)
    };
    let (zones, _) = per_zone(&demand, &zones("pppq"), Counts::new());
    assert_eq!((zones["p"], zones["q"]), (2, 2));
}

#[test]
fn a_zone_that_is_lost_does_not_hold_up_the_others_and_gets_its_share_back() {
    let demand = Demand {
        spread: by_zone(true, 1),
        ..plain(6)
    };
    let mut nodes = zones("pqr");
    nodes.get_mut("n2").unwrap().standing = Standing::Lost;
    let present = Counts::from([
        ("n0".to_owned(), 2),
        ("n1".to_owned(), 2),
        ("n2".to_owned(), 2),
    ]);
    let (moved, missing) = per_zone(&demand, &nodes, present);
    assert_eq!((moved["p"], moved["q"], missing), (3, 3, 0));
    let present = Counts::from([("n0".to_owned(), 3), ("n1".to_owned(), 3)]);
    let (back, missing) = per_zone(&demand, &zones("pqr"), present);
    assert_eq!((back["p"], back["q"], back["r"], missing), (2, 2, 2, 0));
}

#[test]
fn a_scale_down_takes_from_the_fullest_zone() {
    let demand = Demand {
        spread: by_zone(true, 1),
        ..plain(3)
    };
    let present = Counts::from([
        ("n0".to_owned(), 1),
        ("n1".to_owned(), 1),
        ("n2".to_owned(), 1),
        ("n3".to_owned(), 2),
    ]);
    let (zones, missing) = per_zone(&demand, &zones("pppq"), present);
    assert_eq!(missing, 0);
    assert!(zones["p"].abs_diff(zones["q"]) <= 1, "{zones:?}");
}

#[test]
fn a_preference_and_a_deterrent_decide_among_equals_and_move_nothing() {
    let mut nodes = zones("ppqq");
    nodes.get_mut("n0").unwrap().taints = vec![Taint {
        key: "batch".to_owned(),
        effect: "PreferNoSchedule".to_owned(),
        ..Taint::default()
    }];
    let prefers = |zone: &str| {
        parsed(json!({"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}},
        ]}))
    };
    let one = |affinity: Affinity, present: Counts| {
        let key = Key::new("shop", "orders");
        let demand = Demand {
            affinity,
            ..plain(1)
        };
        let outcome = plan(
            &BTreeMap::from([(key.clone(), demand)]),
            &nodes,
            &BTreeMap::from([(key.clone(), present)]),
        );
        outcome.assigned[&key].keys().next().unwrap().clone()
    };
    assert_eq!(one(prefers("p"), Counts::new()), "n1", "n0 deters");
    assert!(["n2", "n3"].contains(&one(prefers("q"), Counts::new()).as_str()));
    let there = Counts::from([("n0".to_owned(), 1)]);
    assert_eq!(one(prefers("q"), there), "n0", "what is placed stays");
}

#[test]
fn node_affinity_matches_as_in_a_pod() {
    let labels = json!({"zone": "p", "cores": "8", "gpu": ""});
    let cases = [
        (
            json!({"key": "zone", "operator": "In", "values": ["p", "q"]}),
            true,
        ),
        (
            json!({"key": "zone", "operator": "NotIn", "values": ["q"]}),
            true,
        ),
        (
            json!({"key": "rack", "operator": "NotIn", "values": ["q"]}),
            true,
        ),
        (
            json!({"key": "rack", "operator": "In", "values": ["q"]}),
            false,
        ),
        (json!({"key": "gpu", "operator": "Exists"}), true),
        (json!({"key": "gpu", "operator": "DoesNotExist"}), false),
        (
            json!({"key": "cores", "operator": "Gt", "values": ["7"]}),
            true,
        ),
        (
            json!({"key": "cores", "operator": "Gt", "values": ["8"]}),
            false,
        ),
        (
            json!({"key": "cores", "operator": "Lt", "values": ["9"]}),
            true,
        ),
        (
            json!({"key": "zone", "operator": "Lt", "values": ["9"]}),
            false,
        ),
    ];
    let matches = |terms: serde_json::Value| {
        let demand = Demand {
            affinity: parsed(
                json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}),
            ),
            ..plain(1)
        };
        let node = Node {
            labels: serde_json::from_value(labels.clone()).unwrap(),
            ..in_zone("p", 64)
        };
        demand.evicts(&node).is_none()
    };
    for (expression, wanted) in &cases {
        let found = matches(json!([{"matchExpressions": [expression]}]));
        assert_eq!(found, *wanted, "{expression}");
    }
    let (yes, no) = (&cases[0].0, &cases[3].0);
    assert!(
        !matches(json!([{"matchExpressions": [yes, no]}])),
        "all of a term"
    );
    assert!(
        matches(json!([{"matchExpressions": [no]}, {"matchExpressions": [yes]}])),
        "one of the terms"
    );
    assert!(
        !matches(json!([{}])),
        "a term without requirements matches nothing"
    );
}

#[test]
fn a_component_leaves_an_agent_that_cannot_run_it_and_stays_with_one_that_says_nothing() {
    let demand = Demand {
        features: BTreeSet::from(["p3".to_owned()]),
        ..plain(1)
    };
    let node = |features: Option<&[&str]>| Node {
        features: features.map(|words| words.iter().map(|word| (*word).to_owned()).collect()),
        ..in_zone("p", 64)
    };
    assert_eq!(
        demand.evicts(&node(Some(&["http", "p3", "of-tomorrow"]))),
        None
    );
    assert_eq!(
        demand.evicts(&node(Some(&["http"]))).unwrap().to_string(),
        "with an agent that does not know p3"
    );
    assert_eq!(demand.evicts(&node(None)), None);
    let starts = Demand {
        features: BTreeSet::from(["process".to_owned()]),
        ..plain(1)
    };
    let refused = starts.evicts(&node(Some(&["http"]))).unwrap().to_string();
    assert!(refused.contains("agent.spawner of the chart"), "{refused}");
}
