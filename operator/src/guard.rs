//! The guard Pods: one on each used node, so that what knows only Pods sees the
//! components there.
//!
//! A guard requests what the components of its node reserve, which the scheduler
//! then leaves free. Its eviction, by `kubectl drain` or an autoscaler, is the
//! signal to move them, and it does not end before they have moved: its process
//! ignores SIGTERM, and the operator ends it. There is no PodDisruptionBudget:
//! that would forbid the eviction instead of making it wait.
//!
//! `plan` is pure; `drive` carries it out; `process` is what runs in the Pod.

mod drive;
mod pod;
pub mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use capability::Bytes;
use crds::{ComponentPlacement, WasmComponent, names};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

pub use drive::run;
pub use pod::{Image, is_evicted};

use crate::component::{Key, validate};
use crate::node::{NodeFact, Nodes};
use crate::placement::{self, Standing};

/// Reservations are rounded up to this, so that few changes are writes.
const STEP: Bytes = Bytes::mib(16);
/// How long a guard that the kubelet refused or lost stays, before another takes
/// its place: a node without room must not become a loop of Pods.
pub const REPLACEMENT_PAUSE: Duration = Duration::from_secs(60);

/// What the components of a node come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holding {
    /// The sum of what they reserve.
    pub reserved: Bytes,
    /// How many are to leave the node and are still there.
    pub leaving: usize,
}

/// What is seen of nodes and guards.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The nodes.
    pub nodes: Nodes,
    /// UIDs of the WasmNodes by name, which own the guards.
    pub owners: BTreeMap<String, String>,
    /// What each node holds; a node without components is not there.
    pub holdings: BTreeMap<String, Holding>,
    /// The guards there are.
    pub guards: Vec<Arc<Pod>>,
    /// For guards that have ended by themselves, by UID, how long that is known.
    pub ended: BTreeMap<String, Duration>,
}

/// What is to be written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Guards that are missing.
    pub create: Vec<Pod>,
    /// Guards whose reservation changes, as they are to be.
    pub resize: Vec<Pod>,
    /// Guards that may end.
    pub end: Vec<Pod>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.create.is_empty() && self.resize.is_empty() && self.end.is_empty()
    }
}

/// What every node holds, from its placements and what their components say.
pub fn holdings(
    nodes: &Nodes,
    placements: &[Arc<ComponentPlacement>],
    component: impl Fn(&Key) -> Option<Arc<WasmComponent>>,
) -> BTreeMap<String, Holding> {
    let mut holdings: BTreeMap<String, Holding> = BTreeMap::new();
    // A job that has completed holds nothing, and no drain waits for it.
    let placements = placements.iter().filter(|of| !of.has_completed());
    for placement in placements {
        let key = Key::new(
            placement.namespace().unwrap_or_default(),
            &placement.spec.component_ref.name,
        );
        let holding = holdings
            .entry(placement.spec.node_name.clone())
            .or_default();
        let Some(component) = component(&key) else {
            continue;
        };
        let replicas = u64::try_from(placement.spec.replicas).unwrap_or_default();
        let memory = component.spec.resources.requests.memory.0;
        holding.reserved = Bytes(
            holding
                .reserved
                .0
                .saturating_add(memory.saturating_mul(replicas)),
        );
        let Some(fact) = nodes.get(&placement.spec.node_name) else {
            continue;
        };
        // What cannot be planned cannot move: a drain must not wait for it.
        let leaves = is_leaving(fact)
            && validate(&component).is_ok_and(|of| of.demand.evicts(&fact.planned).is_some());
        holding.leaving = holding.leaving.saturating_add(usize::from(leaves));
    }
    holdings
}

/// Plans the guards of all nodes. Without an `image` there are to be none.
pub fn plan(image: Option<&Image>, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    let mut guarded: BTreeSet<&str> = BTreeSet::new();
    for guard in &observed.guards {
        let node = pod::node(guard);
        guarded.insert(node);
        match verdict(image, observed, guard, node) {
            Verdict::Stays => {}
            Verdict::Ends => plan.end.push((**guard).clone()),
            Verdict::Resized(reserved) => plan.resize.push(pod::resized(guard, reserved)),
        }
    }
    let Some(image) = image else {
        return plan;
    };
    for (node, holding) in &observed.holdings {
        let (Some(fact), Some(owner)) = (observed.nodes.get(node), observed.owners.get(node))
        else {
            continue;
        };
        let usable = fact.planned.standing == Standing::Ready && !is_leaving(fact);
        if usable && !guarded.contains(node.as_str()) {
            let reserved = rounded(holding.reserved);
            plan.create.push(pod::pod(image, node, owner, reserved));
        }
    }
    plan
}

/// What becomes of a guard.
enum Verdict {
    Stays,
    Ends,
    Resized(Bytes),
}

fn verdict(image: Option<&Image>, observed: &Observed, guard: &Pod, node: &str) -> Verdict {
    let holding = observed.holdings.get(node);
    let fact = observed.nodes.get(node);
    let leaving = holding.is_some_and(|holding| holding.leaving > 0);
    if pod::is_ending(guard) {
        return Verdict::Stays;
    }
    if pod::has_ended(guard) {
        let known = guard.uid().and_then(|uid| observed.ended.get(&uid));
        return match known {
            Some(since) if *since >= REPLACEMENT_PAUSE => Verdict::Ends,
            _ => Verdict::Stays,
        };
    }
    // Whoever evicts the guard or cordoned the node waits for the components.
    if leaving {
        return Verdict::Stays;
    }
    // `kubectl drain` cordons and evicts within a moment, and the facts of the node may be
    // older than the guard: until they know of the eviction, nobody can say what has to leave.
    if is_evicted(guard) && fact.is_some_and(|fact| !is_leaving(fact)) {
        return Verdict::Stays;
    }
    let going = fact.is_none_or(is_leaving);
    match holding {
        Some(holding) if image.is_some() && !going => {
            let reserved = rounded(holding.reserved);
            if pod::reserved(guard) == Some(reserved) {
                Verdict::Stays
            } else {
                Verdict::Resized(reserved)
            }
        }
        _ => Verdict::Ends,
    }
}

fn is_leaving(fact: &NodeFact) -> bool {
    fact.planned.taints.iter().any(placement::announces_end)
}

/// At least one step: a Pod without requests is the first that a node in need of
/// memory kills, and one with none cannot be given any later.
fn rounded(bytes: Bytes) -> Bytes {
    Bytes(
        bytes
            .0
            .max(1)
            .checked_next_multiple_of(STEP.0)
            .unwrap_or(bytes.0),
    )
}

/// Name of the guard of a node.
pub fn name(node: &str) -> String {
    format!("{}-{}", names::GUARD_NAME, names::node_hash(node))
}
