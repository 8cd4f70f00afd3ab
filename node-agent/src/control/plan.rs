//! What to do, from what shall be and what is. A plain function: no client, no clock, no
//! randomness. The reconcile loop calls it after every change and carries the plan out.

mod runs;

use std::collections::{BTreeMap, BTreeSet};

use artifact::Digest;
use crds::Reason;
use crds::component::RestartPolicy;
use serde::Serialize;

pub use runs::{Run, RunOrders, RunState, Runs};

use crate::desired::{Desired, DesiredPlacement, PlacementKey};

/// What this node runs, as control knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Running {
    /// The slots, by placement.
    pub slots: BTreeMap<PlacementKey, RunningSlot>,
}

/// One slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunningSlot {
    /// The uid of the placement it was opened for.
    pub uid: String,
    /// The ports it listens on, by trigger.
    pub ports: BTreeMap<String, u16>,
    /// The weights the worker was told; `None` before the first time.
    pub weights: Option<BTreeMap<String, u32>>,
    /// The replicas the worker was told.
    pub replicas: u32,
    /// Its revisions.
    pub revisions: BTreeMap<String, RunningRevision>,
    /// Its replicas, where they run by themselves.
    #[serde(skip_serializing_if = "Runs::is_empty")]
    pub runs: Runs,
    /// Whether it is on its way out.
    pub closing: bool,
}

/// One revision in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunningRevision {
    /// The digest it was asked for with.
    pub digest: Digest,
    /// How far it is.
    pub phase: Phase,
    /// When its replicas are started again, if it runs by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RestartPolicy>,
    /// The ports that it then listens on, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub listens: BTreeMap<String, u16>,
}

/// How far a revision is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Phase {
    /// Being fetched, verified, compiled or probed.
    Preparing,
    /// Loaded and probed. It serves when it has a weight.
    Prepared,
    /// Gets nothing new; its last requests run.
    Draining,
    /// It could not be prepared.
    Failed(Failure),
}

/// Why a revision could not be prepared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The reason a status shows.
    pub reason: Reason,
    /// A sentence for people.
    pub message: String,
    /// Whether the time for another attempt has come. The loop sets it; a plan has no clock.
    pub due: bool,
}

/// What to do, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Slots to open, or to give other ports.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub to_open: BTreeMap<PlacementKey, Open>,
    /// Revisions to prepare beside what serves.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub to_prepare: BTreeMap<PlacementKey, BTreeMap<String, Digest>>,
    /// Weights to set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub to_weigh: BTreeMap<PlacementKey, Weigh>,
    /// Replicas to start and to end.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub to_run: BTreeMap<PlacementKey, RunOrders>,
    /// Revisions to let go.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub to_drain: BTreeMap<PlacementKey, BTreeSet<String>>,
    /// Slots to close.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub to_close: BTreeSet<PlacementKey>,
}

/// A slot to open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Open {
    /// The uid of the placement.
    pub uid: String,
    /// The port of each trigger.
    pub ports: BTreeMap<String, u16>,
}

/// Weights to set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Weigh {
    /// Weight by revision; only prepared ones. Empty: answer 503, for nothing can serve.
    pub weights: BTreeMap<String, u32>,
    /// How many times the per-replica budget applies.
    pub replicas: u32,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The difference between what shall be and what is.
pub fn plan(desired: &Desired, running: &Running) -> Plan {
    let mut plan = Plan::default();
    for (key, slot) in &running.slots {
        let wanted = desired
            .placements
            .get(key)
            .is_some_and(|placement| placement.uid == slot.uid);
        if !wanted && !slot.closing {
            plan.to_close.insert(key.clone());
        }
    }
    for (key, placement) in &desired.placements {
        match running.slots.get(key) {
            None => {
                plan.to_open.insert(key.clone(), open(placement));
                let revisions = &placement.revisions;
                plan.to_prepare.insert(
                    key.clone(),
                    revisions
                        .iter()
                        .map(|r| (r.name.clone(), r.digest))
                        .collect(),
                );
            }
            // An earlier placement of this name is on its way out and holds the ports.
            Some(slot) if slot.closing || slot.uid != placement.uid => {}
            Some(slot) => plan_slot(&mut plan, key, placement, slot),
        }
    }
    plan
}

fn plan_slot(
    plan: &mut Plan,
    key: &PlacementKey,
    placement: &DesiredPlacement,
    slot: &RunningSlot,
) {
    if slot.ports != placement.ports {
        plan.to_open.insert(key.clone(), open(placement));
    }

    let prepare: BTreeMap<_, _> = placement
        .revisions
        .iter()
        .filter(|wanted| match slot.revisions.get(&wanted.name) {
            None => true,
            Some(revision) => match &revision.phase {
                // Wanted again while it drains: load it anew, the old one may take minutes.
                Phase::Draining => true,
                Phase::Failed(failure) => failure.due || revision.digest != wanted.digest,
                Phase::Preparing | Phase::Prepared => false,
            },
        })
        .map(|wanted| (wanted.name.clone(), wanted.digest))
        .collect();
    if !prepare.is_empty() {
        plan.to_prepare.insert(key.clone(), prepare);
    }

    let weights = weights(placement, slot);
    if let Some(weights) = &weights
        && (slot.weights.as_ref() != Some(weights) || slot.replicas != placement.replicas)
    {
        let weigh = Weigh {
            weights: weights.clone(),
            replicas: placement.replicas,
        };
        plan.to_weigh.insert(key.clone(), weigh);
    }

    let orders = runs::plan(slot, placement.replicas);
    if orders != RunOrders::default() {
        plan.to_run.insert(key.clone(), orders);
    }

    let serving = weights.or_else(|| slot.weights.clone()).unwrap_or_default();
    let drain: BTreeSet<_> = slot
        .revisions
        .iter()
        .filter(|(name, revision)| {
            matches!(revision.phase, Phase::Prepared | Phase::Failed(_))
                && !serving.contains_key(*name)
                && !slot.runs.holds(name)
                && !placement
                    .revisions
                    .iter()
                    .any(|wanted| wanted.name == **name)
        })
        .map(|(name, _)| name.clone())
        .collect();
    if !drain.is_empty() {
        plan.to_drain.insert(key.clone(), drain);
    }
}

/// The weights to serve by now; `None` leaves them as they are.
///
/// Traffic moves only when every revision that shall have some is prepared. Until then what
/// serves goes on; and if nothing does, the part that is prepared is better than nothing. So is
/// a revision that is only kept ready for an undo, once all others have failed: this is how a
/// node that starts again in the middle of a bad rollout finds its way back.
fn weights(placement: &DesiredPlacement, slot: &RunningSlot) -> Option<BTreeMap<String, u32>> {
    let phase = |name: &str| slot.revisions.get(name).map(|revision| &revision.phase);
    let is_prepared = |name: &str| matches!(phase(name), Some(Phase::Prepared));
    let wanted = placement
        .revisions
        .iter()
        .filter(|revision| revision.weight > 0);
    let prepared: BTreeMap<String, u32> = wanted
        .clone()
        .filter(|revision| is_prepared(&revision.name))
        .map(|revision| (revision.name.clone(), revision.weight))
        .collect();
    if prepared.len() == wanted.clone().count() && !prepared.is_empty() {
        return Some(prepared);
    }
    let serving: BTreeMap<String, u32> = slot
        .weights
        .iter()
        .flatten()
        .filter(|(name, _)| is_prepared(name))
        .map(|(name, weight)| (name.clone(), *weight))
        .collect();
    if !serving.is_empty() {
        return Some(serving);
    }
    if !prepared.is_empty() {
        return Some(prepared);
    }
    let all_failed = wanted.clone().all(
        |revision| matches!(phase(&revision.name), Some(Phase::Failed(failure)) if !failure.due),
    );
    // A placement that gives nobody a weight wants nobody to serve.
    let gives_weight = wanted.count() > 0;
    let kept_ready = placement
        .revisions
        .iter()
        .filter(|revision| gives_weight && is_prepared(&revision.name))
        .map(|revision| (revision.name.clone(), 1));
    // If this is nobody, callers get an answer instead of waiting in the backlog of the socket.
    all_failed.then(|| kept_ready.collect())
}

fn open(placement: &DesiredPlacement) -> Open {
    Open {
        uid: placement.uid.clone(),
        ports: placement.ports.clone(),
    }
}
