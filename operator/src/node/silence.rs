//! How long nodes have been silent, and when that is believed.
//!
//! Pure: time comes in. Silence is measured by when *we* saw a Lease change,
//! never by the time written in it: clocks differ. `crate::node` calls it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use tokio::time::Instant;

use super::Nodes;
use crate::placement::Standing;

/// A node whose agent has been silent for so long has lost its components:
/// four heartbeats, and longer than an agent's restart.
pub const GRACE_PERIOD: Duration = Duration::from_secs(40);
/// A node that is not ready and has been silent for so long counts as fallen silent
/// with those that are lost: what stops at once is seen up to one heartbeat (10 s)
/// apart, and the first must not be moved before the others have shown.
pub(super) const FADING: Duration = Duration::from_secs(25);
/// If so many percent of a zone fall silent at once, the fault is more likely
/// ours than theirs, and nothing moves (node-lifecycle-controller's rule).
const MASS_SILENCE_PERCENT: usize = 55;
/// Fewer nodes than this are never judged as a mass.
const MASS_SILENCE_NODES: usize = 3;

/// When each node's Lease was last seen to change.
#[derive(Debug, Default)]
pub struct Heartbeats {
    seen: BTreeMap<String, (Option<String>, Instant)>,
}

impl Heartbeats {
    /// Takes `nodes` and their Leases as they are at `now`; returns how long each
    /// node's has been unchanged. A Lease that is not there does not change either:
    /// deleting it must not make a dead node look alive.
    pub fn observe(
        &mut self,
        nodes: impl IntoIterator<Item = String>,
        leases: &[Arc<Lease>],
        now: Instant,
    ) -> BTreeMap<String, Duration> {
        let mut versions: BTreeMap<String, Option<String>> =
            nodes.into_iter().map(|node| (node, None)).collect();
        for lease in leases {
            if let Some(version) = versions.get_mut(&lease.name_any()) {
                *version = lease.resource_version();
            }
        }
        let mut silent = BTreeMap::new();
        for (node, version) in versions {
            let since = match self.seen.get(&node) {
                Some((seen, since)) if *seen == version => *since,
                _ => now,
            };
            silent.insert(node.clone(), now.saturating_duration_since(since));
            self.seen.insert(node, (version, since));
        }
        self.seen.retain(|node, _| silent.contains_key(node));
        silent
    }
}

/// Takes back the loss of nodes where too many are lost at once: in a zone, or in
/// the whole cluster, whose zones may each be too small to be judged. `fading` are
/// the nodes that are lost or about to be.
pub(super) fn forgive_mass_silence(facts: &mut Nodes, fading: &BTreeSet<String>) {
    let mut zones: BTreeMap<Option<String>, (usize, usize)> = BTreeMap::new();
    let (mut all_lost, mut all): (usize, usize) = (0, 0);
    for (name, fact) in &*facts {
        let (lost, total) = zones.entry(fact.zone.clone()).or_default();
        let is_lost = usize::from(fading.contains(name));
        *total = total.saturating_add(1);
        *lost = lost.saturating_add(is_lost);
        all = all.saturating_add(1);
        all_lost = all_lost.saturating_add(is_lost);
    }
    let everywhere = is_mass(all_lost, all);
    let silent: BTreeSet<&Option<String>> = zones
        .iter()
        .filter(|(_, (lost, total))| is_mass(*lost, *total))
        .map(|(zone, _)| zone)
        .collect();
    for fact in facts.values_mut() {
        if fact.planned.standing == Standing::Lost && (everywhere || silent.contains(&fact.zone)) {
            fact.planned.standing = Standing::Suspended;
        }
    }
}

fn is_mass(lost: usize, total: usize) -> bool {
    total >= MASS_SILENCE_NODES
        && lost.saturating_mul(100) >= total.saturating_mul(MASS_SILENCE_PERCENT)
}
