//! Whether a rollout goes on, stands still or goes back: one step of its state machine.
//!
//! Pure; `plan` takes the step at every look. The state is what the status remembers: the
//! revision that serves, and the failure of the one that was to follow. An operator that
//! starts again in the middle therefore decides the same, and the spec is never edited. A
//! failure is forgotten only when the image or the spec changes, or when nobody wants to go
//! back any more.

use std::time::Duration;

use crds::Reason;
use crds::component::{OnFailure, RolloutFailure};
use crds::placement::Phase;
use crds::{bound, condition};

use super::outlook::{Failure, Target};
use crate::component::Validated;
use crate::component::observe::{Observed, Placed};
use crate::placement::{Counts, Standing};

/// What a rollout does now.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Course {
    /// The target takes over in waves.
    Forward,
    /// Its waves stand still. Who has it keeps it.
    Held(Failure),
    /// What served before is put back everywhere.
    Back {
        /// What served before.
        to: Target,
        /// Why.
        failure: RolloutFailure,
    },
}

impl Course {
    /// The next step towards `target`, from `stable`, which serves until then.
    pub(super) fn next(
        observed: &Observed,
        validated: &Validated,
        target: &Target,
        stable: Option<&Target>,
        assigned: &Counts,
    ) -> Self {
        let rollout = &validated.rollout;
        let predecessor = stable
            .filter(|stable| stable.name != target.name)
            .filter(|_| rollout.on_failure == OnFailure::Rollback);
        if let (Some(to), Some(failure)) = (predecessor, remembered(observed, validated, target)) {
            let to = to.clone();
            return Self::Back { to, failure };
        }
        let told = || told(observed, target, assigned);
        let failure = told().find_map(|placed| failed(placed, target));
        let is_late = told().any(|placed| is_stuck(placed, target, observed))
            && observed.standstill >= deadline(validated);
        let failure = match failure {
            Some(failure) if failure.reason.is_refusal() || !is_late => failure,
            failure if is_late => late(validated, failure),
            _ => return Self::Forward,
        };
        let is_final = failure.reason.is_refusal();
        match predecessor {
            // Whoever has paused it decides.
            Some(to) if is_final && !rollout.paused => Self::Back {
                to: to.clone(),
                failure: RolloutFailure {
                    revision: target.name.clone(),
                    spec_hash: validated.spec_hash.clone(),
                    reason: failure.reason,
                    message: condition::bounded(failure.sentence(), bound::FINDING),
                },
            },
            _ => Self::Held(failure),
        }
    }

    /// When the passing of time alone may change it.
    pub(super) fn again(
        observed: &Observed,
        validated: &Validated,
        target: &Target,
        assigned: &Counts,
    ) -> Option<Duration> {
        told(observed, target, assigned)
            .any(|placed| is_stuck(placed, target, observed))
            .then(|| deadline(validated).checked_sub(observed.standstill))
            .flatten()
    }
}

/// The failure that the status remembers of this very revision.
fn remembered(
    observed: &Observed,
    validated: &Validated,
    target: &Target,
) -> Option<RolloutFailure> {
    let status = observed.component.status.as_ref()?;
    let failure = status.failure.as_ref()?;
    let is_this = failure.revision == target.name && failure.spec_hash == validated.spec_hash;
    is_this.then(|| failure.clone())
}

fn deadline(validated: &Validated) -> Duration {
    Duration::from_secs(u64::from(validated.rollout.progress_deadline_seconds))
}

/// Placements that have to stay and were told of the target.
fn told<'a>(
    observed: &'a Observed,
    target: &'a Target,
    assigned: &'a Counts,
) -> impl Iterator<Item = &'a Placed> {
    observed.placements.iter().filter(|placed| {
        let spec = &placed.object.spec;
        let mut revisions = spec.revisions.iter();
        assigned.contains_key(&spec.node_name)
            && revisions.any(|revision| revision.name == target.name && revision.weight > 0)
    })
}

fn failed(placed: &Placed, target: &Target) -> Option<Failure> {
    let status = placed.object.status.as_ref()?;
    let failed = status
        .revisions
        .iter()
        .find(|revision| revision.name == target.name && revision.phase == Phase::Failed)?;
    Some(Failure {
        node: Some(placed.object.spec.node_name.clone()),
        reason: failed.reason.unwrap_or(Reason::RevisionFailed),
        message: failed.message.clone().unwrap_or_default(),
    })
}

/// Whether a node that is well does not serve the target yet.
fn is_stuck(placed: &Placed, target: &Target, observed: &Observed) -> bool {
    let spec = &placed.object.spec;
    let fact = observed.nodes.get(&spec.node_name);
    let is_well = fact.is_some_and(|fact| fact.planned.standing == Standing::Ready);
    let status = placed.object.status.as_ref();
    let serves = status.is_some_and(|status| {
        status.ready && status.serving.as_deref() == Some(target.name.as_str())
    });
    is_well && !serves
}

/// That the deadline has passed, with what a node says to it.
fn late(validated: &Validated, failure: Option<Failure>) -> Failure {
    let seconds = validated.rollout.progress_deadline_seconds;
    let passed = format!("no node has made progress with it for {seconds} s");
    Failure {
        node: None,
        reason: Reason::ProgressDeadlineExceeded,
        message: match failure {
            Some(failure) => format!("{passed}, and it {}", failure.sentence()),
            None => passed,
        },
    }
}
