//! Which node takes the new revision now: waves of `maxParallel` nodes.
//!
//! Pure; `plan` calls it. A node in a wave holds both revisions, the new one
//! with all the weight and the old one with none: the agent prepares the new
//! one beside the old, switches when it is ready, and goes back on its own if
//! it fails. When the node has served the new one for `minReadySeconds`, the
//! old one is dropped and the next node follows. `paused` stops the waves, and so
//! does a `Course` that is held: nodes that have begun finish. On the way back all
//! nodes are one wave, for what is taken away has failed.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::placement::PlacedRevision;

use super::course::Course;
use super::outlook::Target;
use crate::component::Validated;
use crate::component::observe::{Observed, Placed};
use crate::placement::{Counts, Standing};

/// The revisions that each assigned node is to hold.
#[derive(Debug, Default)]
pub(super) struct Waves {
    revisions: BTreeMap<String, Vec<PlacedRevision>>,
    /// When a wave may go on by the mere passing of time.
    pub(super) again: Option<Duration>,
    /// Whether a node has another revision than the target, or none, because of `paused`.
    pub(super) paused: bool,
}

/// How far a placement is with the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has not been told of it.
    Waiting,
    /// It has been told and does not serve it for long enough yet.
    Switching,
    /// It serves it and has done so for long enough.
    Settled,
}

impl Waves {
    pub(super) fn plan(
        observed: &Observed,
        validated: &Validated,
        target: &Target,
        course: &Course,
        assigned: &Counts,
    ) -> Self {
        if let Course::Back { to, .. } = course {
            return Self::back(observed, to, assigned);
        }
        let min_ready = Duration::from_secs(u64::from(validated.rollout.min_ready_seconds));
        let is_paused = validated.rollout.paused;
        let mut waves = Self::default();
        let mut waiting = Vec::new();
        let mut switching: usize = 0;

        for placed in observed
            .placements
            .iter()
            .filter(|placed| assigned.contains_key(&placed.object.spec.node_name))
        {
            let node = &placed.object.spec.node_name;
            match stage(placed, target, min_ready) {
                Stage::Settled => {
                    waves.revisions.insert(node.clone(), vec![whole(target)]);
                }
                Stage::Switching => {
                    switching = switching.saturating_add(1);
                    waves.note_pause(placed, min_ready);
                }
                Stage::Waiting => waiting.push(placed),
            }
        }
        // A revision whose values are missing cannot start anywhere.
        let may_start = observed.values.is_ok() && *course == Course::Forward && !is_paused;
        let room = validated
            .rollout
            .parallel(assigned.len())
            .saturating_sub(switching);
        if may_start {
            let ready = |placed: &&&Placed| {
                let fact = observed.nodes.get(&placed.object.spec.node_name);
                fact.is_some_and(|fact| fact.planned.standing == Standing::Ready)
            };
            for placed in waiting.iter().filter(ready).take(room) {
                waves
                    .revisions
                    .insert(placed.object.spec.node_name.clone(), switch(placed, target));
            }
        }
        waves.paused = is_paused && !waiting.is_empty();
        let fresh = fresh(observed, target, is_paused);
        for node in assigned.keys() {
            if observed
                .placements
                .iter()
                .any(|placed| placed.object.spec.node_name == *node)
            {
                continue;
            }
            let is_target = fresh
                .as_ref()
                .is_some_and(|fresh| fresh.name == target.name);
            waves.paused |= is_paused && !is_target;
            if let Some(fresh) = &fresh {
                waves.revisions.insert(node.clone(), vec![fresh.clone()]);
            }
        }
        waves
    }

    /// Every node has what served before in front again, and drops the other as soon as it
    /// serves it.
    fn back(observed: &Observed, to: &Target, assigned: &Counts) -> Self {
        let mut revisions: BTreeMap<String, Vec<PlacedRevision>> = assigned
            .keys()
            .map(|node| (node.clone(), vec![whole(to)]))
            .collect();
        for placed in &observed.placements {
            let node = &placed.object.spec.node_name;
            let settled = stage(placed, to, Duration::ZERO) == Stage::Settled;
            if let (Some(held), false) = (revisions.get_mut(node), settled) {
                *held = switch(placed, to);
            }
        }
        Self {
            revisions,
            ..Self::default()
        }
    }

    /// What `node` is to hold; `None` leaves it as it is.
    pub(super) fn revisions(&self, node: &str) -> Option<Vec<PlacedRevision>> {
        self.revisions.get(node).cloned()
    }

    fn note_pause(&mut self, placed: &Placed, min_ready: Duration) {
        if let Some(steady) = placed.steady {
            let left = min_ready.saturating_sub(steady);
            self.again = Some(self.again.map_or(left, |again| again.min(left)));
        }
    }
}

fn stage(placed: &Placed, target: &Target, min_ready: Duration) -> Stage {
    let told = placed
        .object
        .spec
        .revisions
        .first()
        .is_some_and(|revision| revision.name == target.name);
    let alone = placed.object.spec.revisions.len() == 1;
    match placed.steady {
        _ if !told => Stage::Waiting,
        // Fresh, or settled before: nothing is being replaced.
        _ if alone => Stage::Settled,
        Some(steady) if steady >= min_ready => Stage::Settled,
        _ => Stage::Switching,
    }
}

fn whole(target: &Target) -> PlacedRevision {
    PlacedRevision {
        name: target.name.clone(),
        digest: target.digest.clone(),
        weight: 100,
    }
}

/// The new revision in front, and behind it the one that serves now.
fn switch(placed: &Placed, target: &Target) -> Vec<PlacedRevision> {
    let serving = placed
        .object
        .status
        .as_ref()
        .and_then(|status| status.serving.as_ref());
    let held = &placed.object.spec.revisions;
    let old = held
        .iter()
        .find(|revision| Some(&revision.name) == serving)
        .or_else(|| held.last());
    let behind = old
        .filter(|old| old.name != target.name)
        .map(|old| PlacedRevision {
            weight: 0,
            ..old.clone()
        });
    std::iter::once(whole(target)).chain(behind).collect()
}

/// What a node without a placement starts with: the new revision once it has
/// served somewhere, or if nothing else serves; otherwise the proven one. While the
/// rollout is paused, what is not proven starts nowhere.
fn fresh(observed: &Observed, target: &Target, is_paused: bool) -> Option<PlacedRevision> {
    let serving: Vec<&PlacedRevision> = observed
        .placements
        .iter()
        .filter_map(|placed| {
            let status = placed
                .object
                .status
                .as_ref()
                .filter(|status| status.ready)?;
            let serving = status.serving.as_ref()?;
            placed
                .object
                .spec
                .revisions
                .iter()
                .find(|revision| revision.name == *serving)
        })
        .collect();
    if serving.iter().any(|revision| revision.name == target.name) {
        return Some(whole(target));
    }
    let proven = serving.first().map(|proven| PlacedRevision {
        weight: 100,
        ..(*proven).clone()
    });
    match proven {
        Some(proven) => Some(proven),
        None if is_paused => last_proven(observed),
        None => Some(whole(target)),
    }
}

/// The revision that the status calls current, as long as it is kept.
fn last_proven(observed: &Observed) -> Option<PlacedRevision> {
    let status = observed.component.status.as_ref()?;
    let current = &status.current.as_ref()?.revision;
    let mut kept = observed.revisions.iter();
    let known = kept.find(|known| known.name == *current)?;
    Some(PlacedRevision {
        name: known.name.clone(),
        digest: known.document.digest.clone(),
        weight: 100,
    })
}
