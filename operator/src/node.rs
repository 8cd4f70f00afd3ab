//! What the operator knows of the nodes: who answers, where, and with how much room.
//!
//! Endpoint addresses, zones, labels and taints come from core Pods and Nodes,
//! never from what an agent says of itself: a bad agent must not aim a tenant's
//! Service elsewhere. Silence is judged by when *we* saw the Lease change, by
//! our clock. `facts` is pure; `run` keeps it current and publishes changes.

mod losses;
mod silence;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use capability::Bytes;
use crds::{WasmNode, WasmNodeStatus};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kube::ResourceExt;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use losses::{INTERVAL as LOSS_INTERVAL, Losses};
pub use silence::{GRACE_PERIOD, Heartbeats};

use crate::caches::Caches;
use crate::guard;
use crate::placement::{self, Standing};

/// How often silence is measured.
const TICK: Duration = Duration::from_secs(1);
/// Changes that arrive together are judged together.
const SETTLE: Duration = Duration::from_millis(100);
/// Label of a node's zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// All nodes by name.
pub type Nodes = BTreeMap<String, NodeFact>;

/// What is known of one node. Holds nothing that ticks, so that an unchanged
/// node compares equal.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeFact {
    /// What placement looks at; `reserved` is zero here.
    pub planned: placement::Node,
    /// The node's zone, if it has one.
    pub zone: Option<String>,
    /// The agent that serves on it, if there is one.
    pub agent: Option<Agent>,
}

/// The agent's Pod on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Namespace of the Pod.
    pub namespace: String,
    /// Name of the Pod.
    pub name: String,
    /// UID of the Pod.
    pub uid: String,
    /// Where components answer, in the order the Pod names them.
    pub addresses: Vec<IpAddr>,
    /// Whether Pod and Node are ready.
    pub ready: bool,
    /// Whether the Pod has been told to stop.
    pub terminating: bool,
}

/// The objects that speak of nodes.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Core Nodes.
    pub nodes: Vec<Arc<Node>>,
    /// Pods of agents.
    pub agents: Vec<Arc<Pod>>,
    /// Guard Pods.
    pub guards: Vec<Arc<Pod>>,
    /// What agents say of their nodes.
    pub wasm_nodes: Vec<Arc<WasmNode>>,
}

/// The nodes that have had an agent, or have one: judged by Node and Pod
/// conditions and by `silent`, how long each node's Lease has been unchanged.
pub fn facts(seen: &Seen, silent: &BTreeMap<String, Duration>) -> Nodes {
    let mut agents: BTreeMap<&str, &Pod> = BTreeMap::new();
    for pod in &seen.agents {
        let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) else {
            continue;
        };
        let best = agents.entry(node).or_insert(pod);
        // Two agents of one node during an update: the one that stays counts.
        if agent_rank(pod) > agent_rank(best) {
            *best = pod;
        }
    }
    let evicted: BTreeSet<&str> = seen
        .guards
        .iter()
        .filter(|pod| guard::is_evicted(pod))
        .filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref())
        .collect();
    let said: BTreeMap<String, &WasmNodeStatus> = seen
        .wasm_nodes
        .iter()
        .filter_map(|node| Some((node.name_any(), node.status.as_ref()?)))
        .collect();

    let mut fading: BTreeSet<String> = BTreeSet::new();
    let mut facts: Nodes = seen
        .nodes
        .iter()
        .filter(|node| {
            let name = node.name_any();
            agents.contains_key(name.as_str()) || said.contains_key(&name)
        })
        .map(|node| {
            let name = node.name_any();
            let node_ready = condition(
                node.status
                    .as_ref()
                    .and_then(|status| status.conditions.as_ref())
                    .map(|list| {
                        list.iter()
                            .map(|condition| (condition.type_.as_str(), condition.status.as_str()))
                    }),
            );
            let agent = agents.get(name.as_str()).map(|pod| agent(pod, node_ready));
            let silence = silent.get(&name).copied().unwrap_or(Duration::ZERO);
            // Without a Pod there is no ready one: the agent was taken away.
            let not_ready = agent.as_ref().is_none_or(|agent| !agent.ready);
            if not_ready && silence >= silence::FADING {
                fading.insert(name.clone());
            }
            let standing = match &agent {
                _ if not_ready && silence >= GRACE_PERIOD => Standing::Lost,
                Some(agent) if agent.ready && !agent.terminating && silence < GRACE_PERIOD => {
                    Standing::Ready
                }
                _ => Standing::Suspended,
            };
            let said = said.get(&name);
            let planned = placement::Node {
                labels: node.labels().clone(),
                taints: taints(node, evicted.contains(name.as_str())),
                standing,
                features: said.map(|said| said.features.iter().cloned().collect()),
                memory: said
                    .and_then(|said| said.capacity.as_ref())
                    .map_or(Bytes(0), |capacity| capacity.memory),
                reserved: Bytes(0),
            };
            let zone = node.labels().get(ZONE).cloned();
            (
                name,
                NodeFact {
                    planned,
                    zone,
                    agent,
                },
            )
        })
        .collect();
    silence::forgive_mass_silence(&mut facts, &fading);
    facts
}

/// Keeps `facts` current in `publish` until `shutdown`; `changed` is poked by
/// the watches of Nodes, Pods, Leases and WasmNodes. Publishes nothing before all
/// of these were listed, and then at once: no nodes is not what is not known yet.
pub async fn run(
    caches: Caches,
    changed: Arc<Notify>,
    publish: watch::Sender<Option<Nodes>>,
    shutdown: CancellationToken,
) {
    let (mut heartbeats, mut losses) = (Heartbeats::default(), Losses::default());
    tokio::select! {
        () = caches.until_nodes_synced() => {}
        () = shutdown.cancelled() => return,
    }
    loop {
        let seen = Seen {
            nodes: caches.nodes.all(),
            agents: caches.agents.all(),
            guards: caches.guards.all(),
            wasm_nodes: caches.wasm_nodes.all(),
        };
        let names = seen.nodes.iter().map(|node| node.name_any());
        let now = Instant::now();
        let silent = heartbeats.observe(names, &caches.leases.all(), now);
        let mut facts = facts(&seen, &silent);
        losses.pace(&mut facts, &silent, now);
        publish.send_if_modified(|published| {
            let changed = published.as_ref() != Some(&facts);
            if changed {
                *published = Some(facts);
            }
            changed
        });
        // All arms may be dropped: the state is read anew each time.
        tokio::select! {
            () = changed.notified() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(TICK) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// The taints of a node, and those that its cordon and the eviction of its guard
/// amount to: the controller that taints a cordoned node may be slow or not there.
fn taints(node: &Node, guard_is_evicted: bool) -> Vec<Taint> {
    let spec = node.spec.as_ref();
    let mut taints = spec
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    let cordoned = spec.and_then(|spec| spec.unschedulable) == Some(true);
    let implied = [
        (cordoned, placement::UNSCHEDULABLE),
        (guard_is_evicted, placement::DRAINING),
    ];
    for (_, key) in implied.into_iter().filter(|(holds, _)| *holds) {
        if !taints.iter().any(|taint| taint.key == key) {
            taints.push(Taint {
                key: key.to_owned(),
                effect: "NoSchedule".to_owned(),
                ..Taint::default()
            });
        }
    }
    taints
}

/// Higher is the Pod that is to be believed; the name breaks ties.
fn agent_rank(
    pod: &Pod,
) -> (
    bool,
    bool,
    Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
    Option<&str>,
) {
    let meta = &pod.metadata;
    (
        meta.deletion_timestamp.is_none(),
        pod_ready(pod),
        meta.creation_timestamp.as_ref(),
        meta.name.as_deref(),
    )
}

fn pod_ready(pod: &Pod) -> bool {
    condition(
        pod.status
            .as_ref()
            .and_then(|status| status.conditions.as_ref())
            .map(|list| {
                list.iter()
                    .map(|condition| (condition.type_.as_str(), condition.status.as_str()))
            }),
    )
}

/// Whether the condition `Ready` is there and true.
fn condition<'a>(conditions: Option<impl Iterator<Item = (&'a str, &'a str)>>) -> bool {
    conditions
        .into_iter()
        .flatten()
        .any(|(kind, status)| kind == "Ready" && status == "True")
}

fn agent(pod: &Pod, node_ready: bool) -> Agent {
    let status = pod.status.as_ref();
    let listed = status
        .and_then(|status| status.pod_ips.as_ref())
        .into_iter()
        .flatten()
        .map(|ip| ip.ip.as_str());
    let single = status.and_then(|status| status.pod_ip.as_deref());
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in listed.chain(single).filter_map(|text| text.parse().ok()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Agent {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        addresses,
        ready: node_ready && pod_ready(pod),
        terminating: pod.metadata.deletion_timestamp.is_some(),
    }
}

#[cfg(test)]
mod tests;
