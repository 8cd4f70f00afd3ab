//! Laws of the guards, and how one looks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use capability::Bytes;
use crds::{ComponentPlacement, WasmComponent};
use k8s_openapi::api::core::v1::{Pod, Taint};
use kube::ResourceExt;
use operator::guard::{
    Holding, Image, Observed, Plan, REPLACEMENT_PAUSE, holdings, is_evicted, name, plan,
};
use operator::node::{NodeFact, Nodes};
use operator::placement::{self, Standing};
use proptest::prelude::*;
use serde_json::json;

fn image() -> Image {
    Image {
        name: "registry.example/lighterman-operator:1".to_owned(),
        namespace: "lighterman-system".to_owned(),
        owner: None,
        operator: Some("lighterman-operator.lighterman-system.svc".to_owned()),
    }
}

fn node(taints: &[&str], standing: Standing) -> NodeFact {
    NodeFact {
        planned: placement::Node {
            labels: BTreeMap::new(),
            taints: taints
                .iter()
                .map(|key| Taint {
                    key: (*key).to_owned(),
                    effect: "NoSchedule".to_owned(),
                    ..Taint::default()
                })
                .collect(),
            standing,
            features: Some(BTreeSet::from(["http".to_owned()])),
            memory: Bytes::gib(1),
            reserved: Bytes(0),
        },
        zone: None,
        agent: None,
    }
}

/// One node with what it holds, and its guard if there is one.
fn observed(fact: NodeFact, holding: Option<(u64, usize)>, guard: Option<Pod>) -> Observed {
    let named = |value| BTreeMap::from([("n1".to_owned(), value)]);
    let holding = holding.map(|(mib, leaving)| Holding {
        reserved: Bytes(mib << 20),
        leaving,
    });
    Observed {
        nodes: BTreeMap::from([("n1".to_owned(), fact)]),
        owners: named("uid-n1".to_owned()),
        holdings: holding
            .map(|holding| ("n1".to_owned(), holding))
            .into_iter()
            .collect(),
        guards: guard.map(Arc::new).into_iter().collect(),
        ended: BTreeMap::new(),
    }
}

/// The guard that a node with so much reserved gets.
fn guard(mib: u64) -> Pod {
    let before = observed(node(&[], Standing::Ready), Some((mib, 0)), None);
    let mut guard = plan(Some(&image()), &before).create.remove(0);
    guard.metadata.uid = Some("uid-guard".to_owned());
    guard
}

fn deleted(mut guard: Pod, seconds: i64) -> Pod {
    guard.metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    guard.metadata.deletion_grace_period_seconds = Some(seconds);
    guard
}

fn failed(mut guard: Pod) -> Pod {
    guard.status =
        serde_json::from_value(json!({"phase": "Failed", "reason": "OutOfmemory"})).unwrap();
    guard
}

fn decided(plan: &Plan) -> (usize, usize, usize) {
    (plan.create.len(), plan.resize.len(), plan.end.len())
}

#[test]
fn a_guard_has_a_reservation_and_no_rights() {
    let text = serde_saphyr::to_string(&guard(40)).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guard.yaml");
    if std::env::var_os("GOLDEN").is_some_and(|wish| wish == "write") {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == kept,
        "{} differs; it would now be:\n{text}",
        path.display()
    );
}

#[test]
fn a_used_node_gets_one_guard_and_an_unused_one_loses_it() {
    let ready = || node(&[], Standing::Ready);
    let image = image();
    let plan = |observed: &Observed| decided(&plan(Some(&image), observed));
    assert_eq!(plan(&observed(ready(), None, None)), (0, 0, 0));
    assert_eq!(plan(&observed(ready(), Some((8, 0)), None)), (1, 0, 0));
    assert_eq!(
        plan(&observed(ready(), Some((8, 0)), Some(guard(8)))),
        (0, 0, 0)
    );
    assert_eq!(plan(&observed(ready(), None, Some(guard(8)))), (0, 0, 1));
}

#[test]
fn a_reservation_changes_in_steps() {
    let ready = || node(&[], Standing::Ready);
    let image = image();
    let resized = |mib| {
        plan(
            Some(&image),
            &observed(ready(), Some((mib, 0)), Some(guard(8))),
        )
        .resize
    };
    assert!(resized(16).is_empty());
    let [grown] = resized(17).try_into().unwrap();
    let requests = grown.spec.unwrap().containers[0]
        .resources
        .clone()
        .unwrap()
        .requests
        .unwrap();
    assert_eq!(requests["memory"].0, "32Mi");
}

#[test]
fn an_eviction_waits_until_the_components_have_moved() {
    let draining = || node(&[placement::DRAINING], Standing::Ready);
    let evicted = || Some(deleted(guard(8), 600));
    assert!(is_evicted(&deleted(guard(8), 600)));
    let image = image();
    let plan = |observed: &Observed| decided(&plan(Some(&image), observed));
    assert_eq!(
        plan(&observed(draining(), Some((16, 2)), evicted())),
        (0, 0, 0),
        "two are still there"
    );
    assert_eq!(plan(&observed(draining(), None, evicted())), (0, 0, 1));
    assert_eq!(
        plan(&observed(draining(), Some((8, 0)), evicted())),
        (0, 0, 1),
        "what stays on every node is waited for by nobody, as a DaemonSet's Pod"
    );
    assert_eq!(
        plan(&observed(
            draining(),
            Some((8, 0)),
            Some(deleted(guard(8), 1))
        )),
        (0, 0, 0),
        "it is ending already"
    );
}

/// `kubectl drain` cordons and evicts within a moment: the guard may be seen first.
#[test]
fn an_eviction_of_which_the_nodes_facts_do_not_know_yet_is_waited_for() {
    let image = image();
    let before = observed(
        node(&[], Standing::Ready),
        Some((8, 0)),
        Some(deleted(guard(8), 600)),
    );
    assert_eq!(decided(&plan(Some(&image), &before)), (0, 0, 0));
}

#[test]
fn a_cordoned_node_keeps_its_guard_until_it_is_empty_and_gets_no_other() {
    let cordoned = || node(&[placement::UNSCHEDULABLE], Standing::Ready);
    let image = image();
    let plan = |observed: &Observed| decided(&plan(Some(&image), observed));
    assert_eq!(
        plan(&observed(cordoned(), Some((8, 1)), Some(guard(8)))),
        (0, 0, 0)
    );
    assert_eq!(
        plan(&observed(cordoned(), Some((8, 0)), Some(guard(8)))),
        (0, 0, 1)
    );
    assert_eq!(plan(&observed(cordoned(), Some((8, 0)), None)), (0, 0, 0));
}

#[test]
fn a_guard_that_the_node_has_no_room_for_is_not_replaced_in_a_loop() {
    let mut observed = observed(
        node(&[], Standing::Ready),
        Some((8, 0)),
        Some(failed(guard(8))),
    );
    let image = image();
    assert!(plan(Some(&image), &observed).is_empty());
    observed
        .ended
        .insert("uid-guard".to_owned(), REPLACEMENT_PAUSE);
    assert_eq!(decided(&plan(Some(&image), &observed)), (0, 0, 1));
    assert!(!is_evicted(&deleted(failed(guard(8)), 600)));
}

#[test]
fn without_an_image_guards_are_taken_away() {
    let observed = observed(node(&[], Standing::Ready), Some((8, 0)), Some(guard(8)));
    assert_eq!(decided(&plan(None, &observed)), (0, 0, 1));
}

#[test]
fn a_component_that_runs_on_every_node_reserves_and_does_not_leave() {
    let component = |name: &str, mode: &str| -> Arc<WasmComponent> {
        Arc::new(
            serde_json::from_value(json!({
                "apiVersion": crds::API_VERSION, "kind": "WasmComponent",
                "metadata": {"namespace": "shop", "name": name, "uid": name},
                "spec": {
                    "image": "registry.example/shop/orders:1",
                    "triggers": [{"name": "web", "http": {}}],
                    "placement": {"mode": mode},
                    "resources": {"requests": {"memory": "24Mi"}},
                },
            }))
            .unwrap(),
        )
    };
    let placed = |name: &str, replicas: i32| -> Arc<ComponentPlacement> {
        Arc::new(
            serde_json::from_value(json!({
                "apiVersion": crds::API_VERSION, "kind": "ComponentPlacement",
                "metadata": {"namespace": "shop", "name": name},
                "spec": {
                    "componentRef": {"name": name, "uid": name}, "nodeName": "n1",
                    "replicas": replicas, "revisions": [],
                },
            }))
            .unwrap(),
        )
    };
    let nodes: Nodes = BTreeMap::from([(
        "n1".to_owned(),
        node(&[placement::UNSCHEDULABLE], Standing::Ready),
    )]);
    let placements = [placed("web", 3), placed("log", 1), placed("gone", 1)];
    let found = holdings(&nodes, &placements, |key| match key.name.as_str() {
        "web" => Some(component("web", "Spread")),
        "log" => Some(component("log", "EveryNode")),
        _ => None,
    });
    assert_eq!(
        found["n1"],
        Holding {
            reserved: Bytes::mib(96),
            leaving: 1
        }
    );
}

fn any_guard() -> impl Strategy<Value = Option<Pod>> {
    let state = prop::sample::select(vec![None, Some(1), Some(600)]);
    prop::option::of(
        (1_u64..64, state, prop::bool::ANY).prop_map(|(mib, state, failed)| {
            let guard = guard(mib);
            let guard = if failed { self::failed(guard) } else { guard };
            match state {
                Some(seconds) => deleted(guard, seconds),
                None => guard,
            }
        }),
    )
}

proptest! {
    #[test]
    fn a_node_comes_to_rest_with_at_most_one_guard_that_covers_what_is_reserved(
        taint in prop::option::of(prop::sample::select(vec![placement::UNSCHEDULABLE, placement::DRAINING, "gpu"])),
        standing in prop::sample::select(vec![Standing::Ready, Standing::Suspended, Standing::Lost]),
        holding in prop::option::of((1_u64..200, 0_usize..3)),
        guard in any_guard(),
    ) {
        let taints: Vec<&str> = taint.into_iter().collect();
        let mut now = observed(node(&taints, standing), holding, guard);
        // Each round carries the plan out as the API server and a kubelet would. What is known
        // of the node follows its guard by a round.
        for _ in 0..5 {
            let plan = plan(Some(&image()), &now);
            let ended = plan.end.iter().chain(now.guards.iter().map(Arc::as_ref).filter(|guard| guard.metadata.deletion_grace_period_seconds == Some(1)));
            let ended: Vec<String> = ended.map(ResourceExt::name_any).collect();
            for guard in &plan.end {
                let leaving = now.holdings.get("n1").is_some_and(|holding| holding.leaving > 0);
                let over = guard.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Failed");
                prop_assert!(!leaving || over, "a guard ended before the components had left");
            }
            now.guards.retain(|guard| !ended.contains(&guard.name_any()));
            for guard in plan.resize {
                now.guards.retain(|old| old.name_any() != guard.name_any());
                now.guards.push(Arc::new(guard));
            }
            now.guards.extend(plan.create.into_iter().map(|mut guard| {
                guard.metadata.uid = Some("uid-new".to_owned());
                Arc::new(guard)
            }));
            let evicted = now.guards.iter().any(|guard| is_evicted(guard));
            let draining = evicted.then_some(placement::DRAINING);
            let taints: Vec<&str> = taints.iter().copied().chain(draining).collect();
            now.nodes = BTreeMap::from([("n1".to_owned(), node(&taints, standing))]);
            for guard in &now.guards {
                now.ended.insert(guard.uid().unwrap(), Duration::from_secs(3600));
            }
        }
        prop_assert!(plan(Some(&image()), &now).is_empty(), "it never rests");
        prop_assert!(now.guards.len() <= 1);
        let usable = standing == Standing::Ready && !taints.iter().any(|key| *key != "gpu");
        if let (Some((mib, 0)), true) = (holding, usable) {
            prop_assert_eq!(now.guards.len(), 1);
            let guard = &now.guards[0];
            let requests = guard.spec.as_ref().unwrap().containers[0].resources.as_ref().unwrap().requests.as_ref().unwrap();
            let reserved: Bytes = requests["memory"].0.parse().unwrap();
            prop_assert!(reserved.0 >= mib << 20 && reserved.0 - (mib << 20) < 16 << 20);
            prop_assert_eq!(guard.name_any(), name("n1"));
        }
    }
}
