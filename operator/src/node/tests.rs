//! What Nodes, Pods and silence come to, and when it is first told.

use k8s_openapi::api::coordination::v1::Lease;
use kube::Resource;
use kube::runtime::watcher::Event;
use serde_json::json;

use super::*;
use crate::mirror::Mirror;

fn node(name: &str, ready: bool) -> Arc<Node> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {ZONE: "a"}},
            "status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        }))
        .unwrap(),
    )
}

fn pod(name: &str, node: &str, ready: bool) -> Arc<Pod> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"namespace": "lighterman-system", "name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": node, "containers": []},
            "status": {
                "podIP": "192.0.2.1", "podIPs": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}],
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            },
        }))
        .unwrap(),
    )
}

fn wasm_node(name: &str) -> Arc<WasmNode> {
    Arc::new(
        serde_json::from_value(json!({
            "apiVersion": crds::API_VERSION, "kind": "WasmNode", "metadata": {"name": name}, "spec": {},
            // An agent of a later version: words and fields that this one does not know.
            "status": {
                "features": ["http", "of-tomorrow"], "ofTomorrow": {"a": 1},
                "capacity": {"memory": "64Mi", "instances": 1, "components": 1, "threads": 4},
            },
        }))
        .unwrap(),
    )
}

fn seen(nodes: Vec<Arc<Node>>, agents: Vec<Arc<Pod>>, wasm_nodes: Vec<Arc<WasmNode>>) -> Seen {
    Seen {
        nodes,
        agents,
        guards: Vec::new(),
        wasm_nodes,
    }
}

/// The standing of a node with an agent, for how long its Lease was silent.
fn standing(pod_ready: bool, node_ready: bool, silent: Duration) -> Standing {
    let seen = seen(
        vec![node("n1", node_ready)],
        vec![pod("a1", "n1", pod_ready)],
        vec![wasm_node("n1")],
    );
    let facts = facts(&seen, &BTreeMap::from([("n1".to_owned(), silent)]));
    facts["n1"].planned.standing
}

#[test]
fn a_node_is_lost_only_when_it_is_silent_and_its_pod_or_node_is_not_ready() {
    let (now, long) = (Duration::ZERO, GRACE_PERIOD);
    assert_eq!(standing(true, true, now), Standing::Ready);
    assert_eq!(
        standing(false, true, now),
        Standing::Suspended,
        "not ready takes nothing new and keeps what it has"
    );
    assert_eq!(standing(true, false, now), Standing::Suspended);
    assert_eq!(
        standing(true, true, long),
        Standing::Suspended,
        "a silent agent in a ready Pod may only be slow"
    );
    assert_eq!(standing(false, true, long), Standing::Lost);
    assert_eq!(standing(true, false, long), Standing::Lost);
}

#[test]
fn addresses_come_from_the_pod_each_once() {
    let seen = seen(vec![node("n1", true)], vec![pod("a1", "n1", true)], vec![]);
    let facts = facts(&seen, &BTreeMap::new());
    let addresses: Vec<String> = facts["n1"]
        .agent
        .as_ref()
        .unwrap()
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(addresses, ["192.0.2.1", "2001:db8::1"]);
}

#[test]
fn of_two_agents_the_one_that_stays_counts() {
    let mut going = (*pod("z-old", "n1", true)).clone();
    going.metadata.deletion_timestamp = going.metadata.creation_timestamp.clone();
    let seen = seen(
        vec![node("n1", true)],
        vec![Arc::new(going), pod("a-new", "n1", true)],
        vec![wasm_node("n1")],
    );
    let facts = facts(&seen, &BTreeMap::new());
    assert_eq!(facts["n1"].agent.as_ref().unwrap().name, "a-new");
}

#[test]
fn a_node_that_never_had_an_agent_is_not_ours() {
    let seen = seen(vec![node("n1", true)], vec![], vec![]);
    assert!(facts(&seen, &BTreeMap::new()).is_empty());
}

/// How many of `dead` silent nodes are lost, where `zones` says how many nodes each
/// zone has; the dead are spread over the zones in turn.
fn lost(zones: &[usize], dead: usize) -> usize {
    let mut names: Vec<(usize, String)> = zones
        .iter()
        .enumerate()
        .flat_map(|(zone, count)| (0..*count).map(move |n| (n, format!("z{zone}-n{n}"))))
        .collect();
    names.sort();
    let names: Vec<String> = names.into_iter().map(|(_, name)| name).collect();
    let nodes = names.iter().map(|name| {
        let mut node = (*node(name, true)).clone();
        let zone = name.split('-').next().unwrap().to_owned();
        node.labels_mut().insert(ZONE.to_owned(), zone);
        Arc::new(node)
    });
    let pods = names
        .iter()
        .enumerate()
        .map(|(index, name)| pod(&format!("a-{name}"), name, index >= dead));
    let seen = seen(nodes.collect(), pods.collect(), vec![]);
    let silent: BTreeMap<String, Duration> = names
        .iter()
        .map(|name| (name.clone(), GRACE_PERIOD))
        .collect();
    let facts = facts(&seen, &silent);
    facts
        .values()
        .filter(|fact| fact.planned.standing == Standing::Lost)
        .count()
}

#[test]
fn when_most_of_a_zone_falls_silent_at_once_nothing_is_lost() {
    assert_eq!(lost(&[4], 2), 2, "half of a zone is believed");
    assert_eq!(lost(&[4], 3), 0, "three quarters are not");
    assert_eq!(lost(&[9], 4), 4);
    assert_eq!(lost(&[9], 5), 0, "55 % is the bound");
    assert_eq!(lost(&[2], 1), 1, "two nodes are no mass");
}

#[test]
fn nodes_that_stopped_together_count_together_though_their_heartbeats_were_apart() {
    let names = ["n1", "n2", "n3"];
    let seen = seen(
        names.iter().map(|name| node(name, true)).collect(),
        names
            .iter()
            .map(|name| pod(&format!("a-{name}"), name, *name == "n3"))
            .collect(),
        vec![],
    );
    let first_lost = |second: u64| {
        let silent = BTreeMap::from([
            ("n1".to_owned(), GRACE_PERIOD),
            ("n2".to_owned(), Duration::from_secs(second)),
            ("n3".to_owned(), Duration::from_secs(3)),
        ]);
        facts(&seen, &silent)["n1"].planned.standing == Standing::Lost
    };
    assert!(!first_lost(30), "n2 had sent ten seconds later");
    assert!(first_lost(10), "n2 may only be restarting");
}

#[test]
fn when_most_of_the_cluster_falls_silent_no_zone_is_too_small_to_count() {
    assert_eq!(lost(&[2, 2, 2], 3), 3);
    assert_eq!(lost(&[2, 2, 2], 4), 0);
    assert_eq!(lost(&[1, 1, 1], 3), 0);
}

#[test]
fn a_cordon_and_an_evicted_guard_count_as_taints() {
    let guard = |grace: i64| -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {
                    "name": "g", "uid": "g",
                    "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace,
                },
                "spec": {"nodeName": "n1", "containers": []},
            }))
            .unwrap(),
        )
    };
    let keys = |cordoned: bool, guards: Vec<Arc<Pod>>| -> Vec<String> {
        let mut node = (*node("n1", true)).clone();
        node.spec.get_or_insert_default().unschedulable = Some(cordoned);
        let mut seen = seen(vec![Arc::new(node)], vec![], vec![wasm_node("n1")]);
        seen.guards = guards;
        let facts = facts(&seen, &BTreeMap::new());
        let taints = &facts["n1"].planned.taints;
        taints.iter().map(|taint| taint.key.clone()).collect()
    };
    assert!(keys(false, vec![]).is_empty());
    assert_eq!(keys(true, vec![]), [placement::UNSCHEDULABLE]);
    assert_eq!(keys(false, vec![guard(600)]), [placement::DRAINING]);
    assert!(
        keys(false, vec![guard(1)]).is_empty(),
        "that one the operator ended itself"
    );
}

#[test]
fn a_node_whose_agent_has_said_nothing_has_no_features_rather_than_none() {
    let silent = seen(vec![node("n1", true)], vec![pod("a1", "n1", true)], vec![]);
    assert_eq!(
        facts(&silent, &BTreeMap::new())["n1"].planned.features,
        None
    );
    let said = seen(vec![node("n1", true)], vec![], vec![wasm_node("n1")]);
    let features = facts(&said, &BTreeMap::new())["n1"]
        .planned
        .features
        .clone();
    assert_eq!(
        features,
        Some(BTreeSet::from([
            "http".to_owned(),
            "of-tomorrow".to_owned()
        ]))
    );
}

#[test]
fn silence_is_counted_from_when_we_saw_the_lease_change() {
    let lease = |version: &str| -> Vec<Arc<Lease>> {
        vec![Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": "n1", "resourceVersion": version}, "spec": {"renewTime": "2000-01-01T00:00:00.000000Z"},
            }))
            .unwrap(),
        )]
    };
    let (mut heartbeats, start) = (Heartbeats::default(), Instant::now());
    let second = Duration::from_secs(1);
    let mut silent = |leases: Vec<Arc<Lease>>, after: u32| {
        heartbeats.observe(["n1".to_owned()], &leases, start + second * after)["n1"]
    };
    assert_eq!(
        silent(lease("1"), 0),
        Duration::ZERO,
        "an old renewTime proves nothing"
    );
    assert_eq!(silent(lease("1"), 30), second * 30);
    assert_eq!(silent(lease("2"), 31), Duration::ZERO);
    assert_eq!(
        silent(vec![], 40),
        Duration::ZERO,
        "its deletion is a change"
    );
    assert_eq!(
        silent(vec![], 80),
        second * 40,
        "and after it nothing changes any more"
    );
}

fn listed<K: Resource<DynamicType = ()> + Clone>(mirror: &Mirror<K>) {
    mirror.take(Event::Init);
    mirror.take(Event::InitDone);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_before_everything_about_nodes_was_listed_and_then_at_once() {
    let (caches, shutdown) = (Caches::default(), CancellationToken::new());
    let (publish, mut published) = watch::channel(None);
    let task = tokio::spawn(run(
        caches.clone(),
        Arc::new(Notify::new()),
        publish,
        shutdown.clone(),
    ));
    listed(&caches.nodes);
    listed(&caches.agents);
    listed(&caches.leases);
    listed(&caches.guards);
    tokio::time::sleep(10 * TICK).await;
    assert_eq!(*published.borrow(), None, "WasmNodes are not listed yet");

    let (before, some) = (Instant::now(), Nodes::new());
    listed(&caches.wasm_nodes);
    published.changed().await.unwrap();
    assert_eq!(
        *published.borrow(),
        Some(some),
        "that there are none is told"
    );
    assert_eq!(before.elapsed(), Duration::ZERO, "no tick is waited for");
    shutdown.cancel();
    task.await.unwrap();
}
