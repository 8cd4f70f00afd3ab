//! What a plan means for the status: numbers and names, no text.
//!
//! Made by `plan` together with the changes, read by `report`. Holds what was
//! decided, so that the status cannot say something else than was planned.

use std::collections::BTreeMap;

use crds::placement::Phase;

use super::{Planned, Runs, Validated, runs};
use crate::component::admit::Admission;
use crate::component::observe::{Observed, Placed};
use crate::component::pinned;
use crate::placement::{Mode, Refusal};
use crate::rollout::{Cause, Failure, Share, State, Turn};

/// What a plan means.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outlook {
    /// The revision that is to run everywhere.
    pub target: Option<Target>,
    /// The one that the spec asks for: another one, once that has failed.
    pub asked: Option<Target>,
    /// How far that one is.
    pub state: Option<State>,
    /// Why it has failed, when it did so just now.
    pub cause: Option<Cause>,
    /// The share of the requests that it is given, while it is not given all.
    pub share: Option<Share>,
    /// Whether a refusal keeps it where it is.
    pub held: bool,
    /// Whether its time is over, with nothing to go back to.
    pub overdue: bool,
    /// The revision that is pinned, kept or not.
    pub pinned: Option<String>,
    /// Hash of the spec, without what makes no failed revision worth another attempt.
    pub spec_hash: Option<String>,
    /// Replicas that are asked for.
    pub wanted: u32,
    /// Replicas that have a node.
    pub placed: u32,
    /// Replicas that found none.
    pub missing: u32,
    /// Why each of the other nodes takes none.
    pub refused: BTreeMap<String, Refusal>,
    /// Replicas whose node serves.
    pub ready: u32,
    /// How the replicas are, of a component that runs by itself.
    pub runs: Option<Runs>,
    /// How far the target is.
    pub progress: Progress,
    /// The revision that serves on most nodes, with its digest.
    pub serving: Option<(String, String)>,
    /// What a node says against the target.
    pub failure: Option<Failure>,
    /// Whether the target waits because the rollout is paused.
    pub paused: bool,
    /// The port of each trigger.
    pub ports: BTreeMap<String, u16>,
    /// Whether it is reached through a Service.
    pub has_service: bool,
    /// Whether no node is known at all.
    pub blind: bool,
    /// What came of its admission.
    pub admission: Admission,
}

/// A revision that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name of its ControllerRevision.
    pub name: String,
    /// Digest of the image.
    pub digest: String,
    /// Version that the component or its tag names.
    pub version: Option<String>,
    /// Who vouched for it.
    pub signer: Option<String>,
}

/// How far the nodes are with the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Nodes that are to serve it.
    pub nodes: u32,
    /// Nodes that have prepared it, those that serve it among them.
    pub prepared: u32,
    /// Nodes that serve it.
    pub serving: u32,
    /// Nodes that are to hold it alone: nothing is being replaced there.
    pub settled: u32,
}

impl Outlook {
    pub(super) fn new(
        observed: &Observed,
        validated: &Validated,
        target: Option<Target>,
        planned: &Planned,
        ports: BTreeMap<String, u16>,
        has_service: bool,
    ) -> Self {
        let placed = planned
            .assigned
            .values()
            .fold(0, |sum: u32, count| sum.saturating_add(*count));
        let wanted = match validated.demand.mode {
            Mode::Spread { replicas } => replicas,
            Mode::EveryNode => placed.saturating_add(planned.missing),
        };
        let nodes = u32::try_from(planned.assigned.len()).unwrap_or(u32::MAX);
        let staying = || {
            observed
                .placements
                .iter()
                .filter(|of| planned.assigned.contains_key(&of.object.spec.node_name))
        };
        let progress = target
            .as_ref()
            .map(|target| progress(nodes, staying(), target))
            .unwrap_or_default();
        // What has no revision to run yet is not placed, though it has a node.
        let placed = if target.is_some() {
            placed
        } else {
            held(observed)
        };
        Self {
            wanted,
            placed,
            target,
            pinned: pinned(observed, validated).name().map(str::to_owned),
            spec_hash: Some(validated.spec_hash.clone()),
            missing: planned.missing,
            refused: planned.refused.clone(),
            ready: ready(observed.placements.iter(), observed),
            runs: Runs::of(observed),
            progress,
            serving: serving(observed),
            ports,
            has_service,
            blind: observed.nodes.is_empty(),
            ..Self::default()
        }
    }

    pub(super) fn unusable(observed: &Observed, ports: BTreeMap<String, u16>) -> Self {
        let placed = held(observed);
        let status = observed.component.status.as_ref();
        Self {
            wanted: placed,
            placed,
            ready: ready(observed.placements.iter(), observed),
            runs: Runs::of(observed),
            serving: serving(observed),
            has_service: status.is_some_and(|status| status.url.is_some()),
            ports,
            ..Self::default()
        }
    }

    /// Nothing more is started: what is there is all that is placed.
    pub(super) fn hold(&mut self, observed: &Observed) {
        self.placed = held(observed);
    }

    /// Takes in what came of the rollout of `asked`.
    pub(super) fn take(&mut self, asked: Option<Target>, state: Option<State>, turn: Option<Turn>) {
        (self.asked, self.state) = (asked, state);
        self.held = turn.is_none();
        if let Some(turn) = turn {
            self.cause = turn.cause;
            self.share = turn.share;
            self.overdue = turn.is_overdue;
            self.failure = turn.failure;
            self.paused = turn.is_paused;
        }
    }

    /// Whether the revision that the spec asks for has failed.
    pub fn has_failed(&self) -> bool {
        self.state == Some(State::Failed)
    }

    /// Whether the target serves alone on every node there is for it, be they enough or not.
    pub fn has_taken_over(&self) -> bool {
        let Progress {
            nodes,
            serving,
            settled,
            ..
        } = self.progress;
        nodes > 0 && serving == nodes && settled == nodes
    }

    /// Whether the target has taken over everywhere and enough replicas serve. A
    /// replica that moves while the others carry the load does not count against it.
    pub fn is_complete(&self) -> bool {
        self.target.is_some()
            && self.progress.settled == self.progress.nodes
            && self.ready >= self.wanted
    }
}

/// Replicas of all placements that are there.
fn held(observed: &Observed) -> u32 {
    let present = observed.placements.iter().map(replicas);
    present.fold(0, |sum: u32, count| sum.saturating_add(count))
}

fn replicas(placed: &Placed) -> u32 {
    u32::try_from(placed.object.spec.replicas).unwrap_or_default()
}

/// Replicas behind endpoints that are ready, and those that run or have done so.
fn ready<'a>(placements: impl Iterator<Item = &'a Placed>, observed: &Observed) -> u32 {
    let ready = |placed: &Placed| {
        let whole = || match is_ready(placed, observed) {
            true => replicas(placed),
            false => 0,
        };
        runs::ready(placed, is_served(placed, observed)).unwrap_or_else(whole)
    };
    placements.fold(0, |sum: u32, placed| sum.saturating_add(ready(placed)))
}

/// Whether a placement is behind an endpoint that is ready: the agent says so, and
/// the agent's Pod and node are not known to be otherwise.
pub(super) fn is_ready(placed: &Placed, observed: &Observed) -> bool {
    let status = placed.object.status.as_ref();
    status.is_some_and(|status| status.ready) && is_served(placed, observed)
}

/// Whether the agent's Pod and node are not known to be otherwise than ready.
pub(super) fn is_served(placed: &Placed, observed: &Observed) -> bool {
    let fact = observed.nodes.get(&placed.object.spec.node_name);
    fact.and_then(|fact| fact.agent.as_ref())
        .is_some_and(|agent| agent.ready && !agent.terminating)
}

fn progress<'a>(
    nodes: u32,
    placements: impl Iterator<Item = &'a Placed>,
    target: &Target,
) -> Progress {
    // Where nothing is yet, nothing is being replaced.
    let mut progress = Progress {
        nodes,
        settled: nodes,
        ..Progress::default()
    };
    for placed in placements {
        let told = &placed.object.spec.revisions;
        let alone = told.len() == 1
            && told
                .first()
                .is_some_and(|revision| revision.name == target.name);
        progress.settled = progress.settled.saturating_sub(u32::from(!alone));
        let Some(status) = &placed.object.status else {
            continue;
        };
        let phase = status
            .revisions
            .iter()
            .find(|revision| revision.name == target.name)
            .map(|revision| revision.phase);
        let serves = status.ready && status.serving.as_deref() == Some(target.name.as_str());
        progress.prepared +=
            u32::from(serves || matches!(phase, Some(Phase::Prepared | Phase::Serving)));
        progress.serving += u32::from(serves);
    }
    progress
}

/// The revision that serves on most nodes; among equals the first by name.
pub(super) fn serving(observed: &Observed) -> Option<(String, String)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for placed in &observed.placements {
        let status = placed.object.status.as_ref().filter(|status| status.ready);
        if let Some(name) = status.and_then(|status| status.serving.as_deref()) {
            let count = counts.entry(name).or_default();
            *count = count.saturating_add(1);
        }
    }
    let (name, _) = counts.into_iter().rev().max_by_key(|(_, count)| *count)?;
    let known = observed
        .revisions
        .iter()
        .find(|revision| revision.name == name)?;
    Some((known.name.clone(), known.document.digest.clone()))
}
