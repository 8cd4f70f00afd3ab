//! What a plan means for the status: numbers and names, no text.
//!
//! Made by `plan` together with the changes, read by `report`. Holds what was
//! decided, so that the status cannot say something else than was planned.

use std::collections::BTreeMap;

use crds::Reason;
use crds::component::{PinnedRevision, RolloutFailure};
use crds::placement::Phase;

use super::course::Course;
use super::{Planned, Validated};
use crate::component::admit::Admission;
use crate::component::observe::{Observed, Placed};
use crate::placement::{Mode, Refusal};

/// What a plan means.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outlook {
    /// The revision that is to run everywhere.
    pub target: Option<Target>,
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
    /// How far the target is.
    pub progress: Progress,
    /// The revision that serves on most nodes, with its digest.
    pub serving: Option<(String, String)>,
    /// Why the waves of the target stand still.
    pub failure: Option<Failure>,
    /// What is put back in place of the target, and why.
    pub rollback: Option<Rollback>,
    /// Whether nothing can be started now, so that nothing is judged either.
    pub is_held: bool,
    /// What `rollout.pin` comes to.
    pub pin: Pinned,
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

/// What becomes of `rollout.pin`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pinned {
    /// There is none, or it is void because the rest of the spec has changed.
    #[default]
    No,
    /// It holds: the target is its revision.
    Holds(PinnedRevision),
    /// It holds, and its revision is not kept.
    Unknown(PinnedRevision),
}

/// That the target failed and gives way to what served before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// Name of the revision that served before.
    pub to: String,
    /// Digest of the target's image.
    pub digest: String,
    /// What failed.
    pub failure: RolloutFailure,
}

/// That the target failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The node, if it was one of them.
    pub node: Option<String>,
    /// Why, in the agent's words.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
}

impl Failure {
    /// What comes behind "the revision".
    pub fn sentence(&self) -> String {
        match &self.node {
            Some(node) => format!(
                "failed on node {node} with {}: {}",
                self.reason, self.message
            ),
            None => format!("failed: {}", self.message),
        }
    }
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
            missing: planned.missing,
            refused: planned.refused.clone(),
            ready: ready(observed.placements.iter(), observed),
            progress,
            serving: serving(observed),
            failure: None,
            rollback: None,
            is_held: false,
            pin: Pinned::No,
            paused: false,
            ports,
            has_service,
            blind: observed.nodes.is_empty(),
            admission: Admission::default(),
        }
    }

    pub(super) fn unusable(observed: &Observed, ports: BTreeMap<String, u16>) -> Self {
        let placed = held(observed);
        let status = observed.component.status.as_ref();
        Self {
            wanted: placed,
            placed,
            ready: ready(observed.placements.iter(), observed),
            serving: serving(observed),
            has_service: status.is_some_and(|status| status.url.is_some()),
            ports,
            ..Self::default()
        }
    }

    /// Takes in what the rollout does.
    pub(super) fn turn(&mut self, course: Option<Course>) {
        self.is_held = course.is_none();
        match course {
            Some(Course::Held(failure)) => self.failure = Some(failure),
            Some(Course::Back { to, failure }) => {
                self.rollback = self.target.as_ref().map(|target| Rollback {
                    to: to.name,
                    digest: target.digest.clone(),
                    failure,
                });
            }
            Some(Course::Forward) | None => {}
        }
    }

    /// Nothing more is started: what is there is all that is placed.
    pub(super) fn hold(&mut self, observed: &Observed) {
        self.placed = held(observed);
    }

    /// Whether the target has taken over everywhere and enough replicas serve. A
    /// replica that moves while the others carry the load does not count against it.
    pub fn is_complete(&self) -> bool {
        self.target.is_some()
            && self.rollback.is_none()
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

/// Replicas behind endpoints that are ready.
fn ready<'a>(placements: impl Iterator<Item = &'a Placed>, observed: &Observed) -> u32 {
    placements
        .filter(|placed| is_ready(placed, observed))
        .fold(0, |sum: u32, placed| sum.saturating_add(replicas(placed)))
}

/// Whether a placement is behind an endpoint that is ready: the agent says so, and
/// the agent's Pod and node are not known to be otherwise.
pub(super) fn is_ready(placed: &Placed, observed: &Observed) -> bool {
    let status = placed.object.status.as_ref();
    let fact = observed.nodes.get(&placed.object.spec.node_name);
    status.is_some_and(|status| status.ready)
        && fact
            .and_then(|fact| fact.agent.as_ref())
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
fn serving(observed: &Observed) -> Option<(String, String)> {
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
