//! What the condition Progressing says of a revision that has failed: why, what became of it,
//! and what makes it worth another attempt.
//!
//! Pure; `steps` calls it.

use crds::Reason;
use crds::component::RolloutFailure;
use crds::condition::{ConditionStatus, ConditionType};

use super::Step;
use crate::component::plan::Outlook;
use crate::rollout::Cause;

/// The reasons of a rollout that does not get on by itself.
pub(super) const REASONS: [Reason; 3] = [
    Reason::RolledBack,
    Reason::RevisionFailed,
    Reason::ProgressDeadlineExceeded,
];

/// What is said of the revision that the spec asks for, if it has failed or its time is over.
pub(super) fn step(outlook: &Outlook, failure: Option<&RolloutFailure>) -> Option<Step> {
    let (asked, target) = (outlook.asked.as_ref()?, outlook.target.as_ref()?);
    let revision = &asked.name;
    if outlook.overdue {
        let cause = Cause::Deadline(outlook.failure.clone());
        let message = format!(
            "revision {revision} {cause}; nothing served before it that could be put back, change spec.image or the spec"
        );
        return Some(progressing(Reason::ProgressDeadlineExceeded, message));
    }
    let failure = failure.filter(|_| outlook.has_failed())?;
    let (reason, became) = match (asked.name != target.name, failure.reason) {
        (true, _) => (
            Reason::RolledBack,
            format!("revision {} is put back on every node", target.name),
        ),
        (false, reason) => (
            match reason {
                Reason::ProgressDeadlineExceeded => reason,
                _ => Reason::RevisionFailed,
            },
            "no further node is given it and each keeps what it has".to_owned(),
        ),
    };
    let message = format!(
        "revision {revision} {}; {became}, until spec.image or the spec is another",
        failure.message
    );
    Some(progressing(reason, message))
}

fn progressing(reason: Reason, message: String) -> Step {
    Step {
        kind: ConditionType::Progressing,
        status: ConditionStatus::False,
        reason,
        message,
    }
}
