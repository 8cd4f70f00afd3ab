//! What nodes are to hold, and with which weights.
//!
//! Plain functions of a sight; `rollout` decides which of them count. The weights of a node
//! always sum to 100, and what serves on it is always among what it holds.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::placement::PlacedRevision;

use super::sight::Stage;
use super::{NodeSight, Rules, Sight, Version, WHOLE};

type Held = BTreeMap<String, Vec<PlacedRevision>>;

/// The next nodes that are given the wanted revision, with this `share` of their requests,
/// beside `under_way` nodes that have not got so far yet.
pub(super) fn wave(sight: &Sight, rules: &Rules, under_way: usize, share: u32) -> Held {
    let waits = |node: &NodeSight| !node.held.is_empty() && !node.holds_first(&sight.wanted);
    sight
        .nodes
        .iter()
        .filter(|(_, node)| node.is_ready && waits(node))
        .take(rules.parallel.saturating_sub(under_way))
        .map(|(name, node)| (name.clone(), split(node, &sight.wanted, share)))
        .collect()
}

/// Nodes that have the wanted revision beside another give it this `share`.
pub(super) fn shared(sight: &Sight, share: u32) -> Held {
    let other = |node: &NodeSight| {
        let first = node.held.first();
        first.is_some_and(|first| first.name == sight.wanted.name && first.weight != share)
    };
    let nodes = sight.nodes.iter();
    nodes
        .filter(|(_, node)| node.held.len() > 1 && other(node))
        .map(|(name, node)| (name.clone(), split(node, &sight.wanted, share)))
        .collect()
}

/// Nodes let the old revision go once the wanted one has served on all of them for long enough.
pub(super) fn settle(sight: &Sight, min_ready: Duration) -> Held {
    let stages = || {
        let nodes = sight.nodes.iter();
        nodes.map(|(name, node)| (name, node.stage(&sight.wanted, min_ready)))
    };
    let is_on_the_way = |stage| matches!(stage, Stage::Waiting | Stage::Switching { .. });
    if stages().any(|(_, stage)| is_on_the_way(stage)) {
        return Held::new();
    }
    stages()
        .filter(|(_, stage)| *stage == Stage::Settled)
        .map(|(name, _)| (name.clone(), vec![whole(&sight.wanted)]))
        .collect()
}

/// Every node goes back to `version`, at once: it has proven itself.
pub(super) fn back(sight: &Sight, version: &Version) -> Held {
    let held = sight.placed().filter_map(|(name, node)| {
        let serves = node.serving.as_ref() == Some(&version.name);
        let held = match serves {
            true => vec![whole(version)],
            // On its way already.
            false if node.holds_first(version) => return None,
            false => switch(node, version),
        };
        (held != node.held).then(|| (name.clone(), held))
    });
    held.collect()
}

/// Every node that holds nothing begins with `version`.
pub(super) fn fresh(sight: &Sight, version: &Version) -> Held {
    let absent = sight.nodes.iter().filter(|(_, node)| node.held.is_empty());
    absent
        .map(|(name, _)| (name.clone(), vec![whole(version)]))
        .collect()
}

fn whole(version: &Version) -> PlacedRevision {
    PlacedRevision {
        name: version.name.clone(),
        digest: version.digest.clone(),
        weight: WHOLE,
    }
}

/// `to` in front, and behind it what serves now.
fn switch(node: &NodeSight, to: &Version) -> Vec<PlacedRevision> {
    split(node, to, WHOLE)
}

/// `to` in front with this `share`, and behind it, with the rest, what serves now. All of it
/// where there is nothing else.
fn split(node: &NodeSight, to: &Version, share: u32) -> Vec<PlacedRevision> {
    let others = || node.held.iter().filter(|held| held.name != to.name);
    let behind = others()
        .find(|held| Some(&held.name) == node.serving.as_ref())
        .or_else(|| others().next_back());
    let Some(behind) = behind else {
        return vec![whole(to)];
    };
    let front = PlacedRevision {
        weight: share,
        ..whole(to)
    };
    let behind = PlacedRevision {
        weight: WHOLE.saturating_sub(share),
        ..behind.clone()
    };
    vec![front, behind]
}
