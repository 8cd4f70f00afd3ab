//! Which node is to run how many replicas, and which placements go for it.
//!
//! Pure; `plan` calls it. The choice is `crate::placement`'s; here it is put beside
//! what there is: nothing leaves before others carry its load.

use std::collections::BTreeMap;

use artifact::component::World;
use capability::Effective;
use crds::ComponentPlacement;
use crds::wasm_node::feature;

use super::{Target, outlook};
use crate::component::Validated;
use crate::component::observe::{Observed, Placed};
use crate::placement::{self, Counts, Mode, Refusal, Standing};
use crate::resolver::Resolution;

/// Replicas per node, and what came in their way.
pub(super) struct Planned {
    pub(super) assigned: Counts,
    pub(super) refused: BTreeMap<String, Refusal>,
    pub(super) missing: u32,
}

impl Planned {
    /// `target`: the revision that is to run, if it is known.
    pub(super) fn new(observed: &Observed, validated: &Validated, target: Option<&Target>) -> Self {
        let key = &validated.key;
        let present: Counts = observed
            .placements
            .iter()
            .map(|placed| {
                (
                    placed.object.spec.node_name.clone(),
                    u32::try_from(placed.object.spec.replicas).unwrap_or_default(),
                )
            })
            .collect();
        // Whoever sees no node at all sees nothing: that is no reason to move anything. And a job
        // that is done needs no node any more: elsewhere it would be done a second time.
        if observed.nodes.is_empty() || is_done(observed, validated, target) {
            return Self {
                missing: missing(validated, &present),
                assigned: present,
                refused: BTreeMap::new(),
            };
        }
        let nodes: BTreeMap<String, placement::Node> = observed
            .nodes
            .iter()
            .map(|(name, fact)| (name.clone(), fact.planned.clone()))
            .collect();
        let mut demand = validated.demand.clone();
        demand.features.extend(needed(observed, validated));
        let mut outcome = placement::plan(
            &BTreeMap::from([(key.clone(), demand)]),
            &nodes,
            &BTreeMap::from([(key.clone(), present)]),
        );
        Self {
            assigned: outcome.assigned.remove(key).unwrap_or_default(),
            refused: outcome.refused.remove(key).unwrap_or_default(),
            missing: outcome.missing.remove(key).unwrap_or_default(),
        }
    }

    /// Placements that go now. One that has to leave a node that still serves stays
    /// until those that are to stay carry all replicas: surge first. One on a silent
    /// node goes once another node has taken over; if none can, the node may come
    /// back and find its own.
    pub(super) fn departures(
        &self,
        observed: &Observed,
        validated: &Validated,
    ) -> Vec<ComponentPlacement> {
        let serves = |placed: &Placed| {
            let status = placed.object.status.as_ref();
            status.is_some_and(|status| status.ready)
        };
        // Behind an endpoint that is withdrawn nobody carries anything.
        let carried = observed
            .placements
            .iter()
            .filter(|placed| outlook::is_ready(placed, observed))
            .filter_map(|placed| self.assigned.get(&placed.object.spec.node_name))
            .fold(0, |sum: u32, count| sum.saturating_add(*count));
        let (enough, taken_over) = match validated.demand.mode {
            Mode::Spread { replicas } => (carried >= replicas, self.missing == 0),
            // The node itself no longer matches; no other takes its place.
            Mode::EveryNode => (true, false),
        };
        let goes = |placed: &Placed| {
            let fact = observed.nodes.get(&placed.object.spec.node_name);
            match fact.map(|fact| fact.planned.standing) {
                None => true,
                Some(Standing::Lost) => taken_over,
                Some(Standing::Ready | Standing::Suspended) => enough || !serves(placed),
            }
        };
        observed
            .placements
            .iter()
            .filter(|placed| !self.assigned.contains_key(&placed.object.spec.node_name))
            .filter(|placed| placed.object.metadata.deletion_timestamp.is_none())
            .filter(|placed| goes(placed))
            .map(|placed| placed.object.clone())
            .collect()
    }
}

/// Whether all that is asked for has been run to its end.
fn is_done(observed: &Observed, validated: &Validated, target: Option<&Target>) -> bool {
    let Mode::Spread { replicas } = validated.demand.mode else {
        return false;
    };
    let has_completed = |placed: &Placed| {
        let first = placed.object.spec.revisions.first();
        placed.object.has_completed()
            && first.is_some_and(|first| target.is_some_and(|of| of.name == first.name))
    };
    let done = observed
        .placements
        .iter()
        .filter(|placed| has_completed(placed));
    let done = done.map(|placed| u32::try_from(placed.object.spec.replicas).unwrap_or_default());
    replicas > 0
        && observed.placements.iter().all(has_completed)
        && done.fold(0, u32::saturating_add) == replicas
}

fn missing(validated: &Validated, counts: &Counts) -> u32 {
    match validated.demand.mode {
        Mode::EveryNode => 0,
        Mode::Spread { replicas } => replicas.saturating_sub(placement::total(counts)),
    }
}

/// What the image needs of an agent; known once it was looked into.
fn needed(observed: &Observed, validated: &Validated) -> Vec<String> {
    let Resolution::Done(admitted) = &observed.resolution else {
        return Vec::new();
    };
    let effective = Effective {
        requests: admitted.requests.clone(),
        grant: validated.capabilities.grant(&validated.volumes),
        ceilings: observed.policies.ceilings(),
    };
    // Also what `grant: Requested` lets it start, which the spec does not show.
    let starts = !effective.executables().is_empty();
    let p3 = admitted.facts.world == World::HttpP3;
    let needed = [(p3, feature::P3), (starts, feature::PROCESS)];
    let needed = needed.into_iter().filter(|(needed, _)| *needed);
    needed.map(|(_, name)| name.to_owned()).collect()
}
