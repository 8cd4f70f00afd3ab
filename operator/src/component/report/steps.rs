//! The steps of a component's way as conditions, and what they come to.
//!
//! Pure; `report` calls it. The first step that does not hold explains `Ready`;
//! `Stalled` and `Reconciling` are what kstatus (Flux, Helm 4 `--wait`) reads.

mod failed;
mod run;

use crds::Reason;
use crds::component::{Problem, RolloutFailure, WasmComponentStatus};
use crds::condition::{self, ConditionStatus, ConditionType};
use kube::ResourceExt;

use crate::component::admit::Decision;
use crate::component::apply::Applied;
use crate::component::observe::Observed;
use crate::component::plan::Outlook;
use crate::placement;
use crate::resolver::Resolution;
use crate::rollout::{Share, Until};
use crate::service::Standing;

/// One step of the way, as a condition.
pub(super) struct Step {
    pub(super) kind: ConditionType,
    pub(super) status: ConditionStatus,
    pub(super) reason: Reason,
    pub(super) message: String,
}

/// The steps in their order; the first that does not hold explains `Ready`.
pub(super) fn steps(
    observed: &Observed,
    problems: &[Problem],
    applied: &Applied,
    before: &WasmComponentStatus,
    failure: Option<&RolloutFailure>,
) -> Vec<Step> {
    let outlook = &applied.plan().outlook;
    let mut steps = resolution_steps(observed, problems, outlook, before);
    steps.extend(admitted_step(observed, problems, outlook, before));
    steps.push(placed_step(observed, outlook));
    steps.push(available_step(observed, applied));
    steps.push(progress_step(observed, outlook, failure));
    steps
}

fn step(
    kind: ConditionType,
    status: ConditionStatus,
    reason: Reason,
    message: impl Into<String>,
) -> Step {
    Step {
        kind,
        status,
        reason,
        message: message.into(),
    }
}

fn resolution_steps(
    observed: &Observed,
    problems: &[Problem],
    outlook: &Outlook,
    before: &WasmComponentStatus,
) -> Vec<Step> {
    use ConditionStatus::{False, True, Unknown};
    use ConditionType::{Resolved, Verified};
    if !problems.is_empty() {
        let listed: Vec<String> = problems
            .iter()
            .map(|problem| format!("{}: {}; {}", problem.field, problem.message, problem.mend))
            .collect();
        let reason = if problems.iter().all(|problem| problem.field == "spec.image") {
            Reason::InvalidImageReference
        } else {
            Reason::InvalidSpec
        };
        let message = listed.join(". ");
        return vec![
            step(Resolved, False, reason, &*message),
            step(Verified, Unknown, reason, "the spec cannot be used"),
        ];
    }
    let image = &observed.component.spec.image;
    if let Some(pinned) = &outlook.pinned
        && observed.revisions.iter().any(|known| known.name == *pinned)
    {
        let message = format!("spec.rollout.pin holds revision {pinned}, whatever {image} is");
        return vec![
            step(Resolved, True, Reason::Resolved, message),
            step(
                Verified,
                True,
                Reason::Verified,
                "verified when the revision was sealed",
            ),
        ];
    }
    match &observed.resolution {
        Resolution::Done(admitted) => {
            let by = admitted.vouchers();
            vec![
                step(
                    Resolved,
                    True,
                    Reason::Resolved,
                    format!("{image} is {}", admitted.digest),
                ),
                step(Verified, True, Reason::Verified, format!("signed by {by}")),
            ]
        }
        // A new leader has not looked yet: what was said before still stands.
        Resolution::Pending
            if before.observed_generation == observed.component.metadata.generation =>
        {
            [Resolved, Verified]
                .into_iter()
                .filter_map(|kind| remembered(kind, before))
                .collect()
        }
        Resolution::Pending => vec![
            step(
                Resolved,
                Unknown,
                Reason::Resolving,
                format!("asking the registry what {image} is"),
            ),
            step(
                Verified,
                Unknown,
                Reason::Verifying,
                "waiting for the image",
            ),
        ],
        Resolution::Failed(failure) if failure.verdict => {
            let resolved = match &failure.digest {
                Some(digest) => step(
                    Resolved,
                    True,
                    Reason::Resolved,
                    format!("{image} is {digest}"),
                ),
                None => step(
                    Resolved,
                    Unknown,
                    failure.reason,
                    "the registry was not asked",
                ),
            };
            let mut message = failure.message.clone();
            if failure.stops {
                message.push_str(
                    "; it is stopped in waves, because the policy says whenRunning: Stop",
                );
            }
            vec![resolved, step(Verified, False, failure.reason, message)]
        }
        // The registry is away, but what the tag stood for is known and sealed.
        Resolution::Failed(_) if is_remembered(image, outlook, before) => {
            let digest = before
                .resolved
                .as_ref()
                .map(|resolved| resolved.digest.clone())
                .unwrap_or_default();
            let resolved = step(
                Resolved,
                True,
                Reason::Resolved,
                format!("{image} is {digest}"),
            );
            let verified = remembered(Verified, before).unwrap_or_else(|| {
                step(
                    Verified,
                    True,
                    Reason::Verified,
                    "verified when the revision was sealed",
                )
            });
            vec![resolved, verified]
        }
        Resolution::Failed(failure) => {
            vec![
                step(Resolved, False, failure.reason, &*failure.message),
                step(
                    Verified,
                    Unknown,
                    failure.reason,
                    "could not be checked: the image is not here",
                ),
            ]
        }
    }
}

/// Whether what the image asks for and is granted was admitted.
fn admitted_step(
    observed: &Observed,
    problems: &[Problem],
    outlook: &Outlook,
    before: &WasmComponentStatus,
) -> Option<Step> {
    use ConditionStatus::{False, True, Unknown};
    let kind = ConditionType::Admitted;
    Some(match (&outlook.admission.decision, &observed.resolution) {
        _ if !problems.is_empty() => step(
            kind,
            Unknown,
            Reason::InvalidSpec,
            "the spec cannot be used",
        ),
        (Decision::Admitted { has_manifest: true }, _) => step(
            kind,
            True,
            Reason::Admitted,
            "all that its manifest needs is granted, and every capability policy admits it",
        ),
        (
            Decision::Admitted {
                has_manifest: false,
            },
            _,
        ) => step(
            kind,
            True,
            Reason::Admitted,
            "it has no manifest of what it needs; grant and capability policies alone bound it",
        ),
        (Decision::Refused(blocked), _) => step(kind, False, blocked.reason, &*blocked.message),
        // A new leader has not looked yet: what was said before still stands.
        (Decision::Waiting, Resolution::Pending)
            if before.observed_generation == observed.component.metadata.generation =>
        {
            return remembered(kind, before);
        }
        (Decision::Waiting, Resolution::Failed(failure)) => step(
            kind,
            Unknown,
            failure.reason,
            "could not be judged: the image is not here, or may not run",
        ),
        (Decision::Waiting, Resolution::Pending | Resolution::Done(_)) => {
            step(kind, Unknown, Reason::Verifying, "waiting for the image")
        }
    })
}

/// Whether the revision that runs is that of the image as it was last resolved.
fn is_remembered(image: &str, outlook: &Outlook, before: &WasmComponentStatus) -> bool {
    let (Some(resolved), Some(asked)) = (&before.resolved, &outlook.asked) else {
        return false;
    };
    resolved.image == image && resolved.digest == asked.digest
}

fn remembered(kind: ConditionType, before: &WasmComponentStatus) -> Option<Step> {
    let known = condition::find(&before.conditions, kind)?;
    Some(Step {
        kind,
        status: known.status.parse().unwrap_or(ConditionStatus::Unknown),
        reason: known.reason.parse().unwrap_or(Reason::Unknown),
        message: known.message.clone(),
    })
}

fn placed_step(observed: &Observed, outlook: &Outlook) -> Step {
    use ConditionStatus::{False, True, Unknown};
    let kind = ConditionType::Placed;
    if let Err(blocked) = &observed.values {
        return step(kind, False, blocked.reason, &*blocked.message);
    }
    if let Err(error) = &observed.ports {
        return step(kind, False, Reason::NoPortFree, error.to_string());
    }
    if outlook.target.is_none() {
        return step(
            kind,
            Unknown,
            Reason::Placing,
            "waiting for a revision that may run",
        );
    }
    if outlook.blind {
        return step(
            kind,
            Unknown,
            Reason::AgentMissing,
            "no node runs an agent; check the DaemonSet lighterman-agent",
        );
    }
    if outlook.missing > 0 {
        let message = format!(
            "{} of {} replicas have no node: {}; add nodes, lower resources.requests.memory, or change placement",
            outlook.missing,
            outlook.wanted,
            placement::summary(&outlook.refused)
        );
        return step(kind, False, Reason::NoNodeAvailable, message);
    }
    match outlook.wanted {
        0 => step(
            kind,
            True,
            Reason::ScaledToZero,
            "no replica is asked for, or no node matches",
        ),
        wanted => step(
            kind,
            True,
            Reason::Placed,
            format!("every replica of {wanted} has a node"),
        ),
    }
}

fn available_step(observed: &Observed, applied: &Applied) -> Step {
    use ConditionStatus::{False, True};
    let (kind, outlook) = (ConditionType::Available, &applied.plan().outlook);
    if let Some(blocked) = applied.blocked() {
        return step(kind, False, blocked.reason, &*blocked.message);
    }
    if outlook.has_service && observed.service == Standing::Foreign {
        let name = observed.component.name_any();
        let message = format!(
            "Service {name} exists and is not this component's; delete it, or give the component another metadata.name"
        );
        return step(kind, False, Reason::ServiceConflict, message);
    }
    let (ready, wanted) = (outlook.ready, outlook.wanted);
    if let Some(runs) = &outlook.runs {
        return run::available(runs, outlook);
    }
    if ready >= wanted {
        let reason = if wanted == 0 {
            Reason::ScaledToZero
        } else {
            Reason::Available
        };
        return step(
            kind,
            True,
            reason,
            format!("{ready} of {wanted} replicas serve"),
        );
    }
    let reason = outlook
        .failure
        .as_ref()
        .map_or(Reason::Preparing, |failure| failure.reason);
    step(
        kind,
        False,
        reason,
        format!("{ready} of {wanted} replicas serve"),
    )
}

fn progress_step(observed: &Observed, outlook: &Outlook, failure: Option<&RolloutFailure>) -> Step {
    use ConditionStatus::{False, True, Unknown};
    let kind = ConditionType::Progressing;
    let Some(target) = &outlook.target else {
        return step(
            kind,
            Unknown,
            Reason::Placing,
            "waiting for a revision that may run",
        );
    };
    if let Some(undone) = failed::step(outlook, failure) {
        return undone;
    }
    if let Some(failure) = &outlook.failure {
        let message = format!(
            "revision {} failed on node {} with {}: {}; what served before goes on, change spec.image or the spec",
            target.name, failure.node, failure.reason, failure.message
        );
        return step(kind, False, Reason::RevisionFailed, message);
    }
    if outlook.paused {
        let message = super::paused(&target.name);
        return step(kind, False, Reason::RolloutPaused, message);
    }
    if let Some(share) = outlook.share {
        let (reason, message) = shared(share, &target.name);
        let status = match share.until {
            Until::Somebody => False,
            Until::Time | Until::Requests(_) => True,
        };
        return step(kind, status, reason, message);
    }
    let progress = outlook.progress;
    if outlook.is_complete() {
        return step(
            kind,
            False,
            Reason::Complete,
            format!(
                "revision {} serves on {} nodes",
                target.name, progress.nodes
            ),
        );
    }
    let updating = observed
        .placements
        .iter()
        .any(|placed| placed.object.spec.revisions.len() > 1)
        || outlook
            .serving
            .as_ref()
            .is_some_and(|(name, _)| *name != target.name);
    let reason = match (
        updating,
        progress.serving > 0 && progress.serving == progress.nodes,
    ) {
        (true, true) => Reason::MinReadyPending,
        (true, false) => Reason::RollingOut,
        (false, _) => Reason::Preparing,
    };
    // No counts here: each of them would be a write per node.
    let message = match reason {
        Reason::Preparing => format!("replicas of revision {} are being started", target.name),
        _ => format!("revision {} is taking over", target.name),
    };
    step(kind, True, reason, message)
}

/// What is said of a canary.
fn shared(share: Share, revision: &str) -> (Reason, String) {
    let Share {
        step,
        steps,
        weight,
        until,
    } = share;
    let told = format!(
        "revision {revision} is given {weight} % of the requests, step {step} of {steps} of its canary"
    );
    match until {
        Until::Somebody => (
            Reason::CanaryPaused,
            format!(
                "{told}; go on with `kubectl lm rollout resume`, or end it with `promote` or `undo`"
            ),
        ),
        Until::Requests(needed) => (
            Reason::RollingOut,
            format!("{told}, until it has been asked {needed} times in it"),
        ),
        Until::Time => (Reason::RollingOut, told),
    }
}

/// `Ready`, and `Stalled` or `Reconciling` while they hold (kstatus).
pub(super) fn summary(steps: &[Step], outlook: &Outlook) -> Vec<Step> {
    use ConditionStatus::{False, True, Unknown};
    let holds = |step: &&Step| match step.kind {
        ConditionType::Progressing => step.reason == Reason::Complete,
        _ => step.status == True,
    };
    let Some(first) = steps.iter().find(|step| !holds(step)) else {
        return vec![Step {
            kind: ConditionType::Ready,
            status: True,
            reason: Reason::Ready,
            message: match &outlook.runs {
                Some(runs) => run::told(runs, outlook.wanted),
                None => format!("{} of {} replicas serve", outlook.ready, outlook.wanted),
            },
        }];
    };
    // A refusal later in the way is the cause of an earlier "not yet".
    let cause = steps
        .iter()
        .find(|step| step.status == False && !holds(step))
        .unwrap_or(first);
    let cause = if cause.reason == Reason::Preparing {
        first
    } else {
        cause
    };
    let failed = steps
        .iter()
        .find(|step| failed::REASONS.contains(&step.reason))
        // A pause explains why there is nothing yet, and no refusal.
        .or_else(|| {
            let mut paused = steps.iter();
            paused.find(|step| {
                matches!(step.reason, Reason::RolloutPaused | Reason::CanaryPaused)
                    && (!cause.reason.is_refusal() || cause.reason == step.reason)
            })
        });
    let ready = if cause.status == Unknown {
        Unknown
    } else {
        False
    };
    let stalled = cause.reason.is_refusal() || failed.is_some();
    let kind = if stalled {
        ConditionType::Stalled
    } else {
        ConditionType::Reconciling
    };
    let told = failed.filter(|_| stalled).unwrap_or(cause);
    vec![
        Step {
            kind: ConditionType::Ready,
            status: ready,
            reason: told.reason,
            message: told.message.clone(),
        },
        Step {
            kind,
            status: True,
            reason: told.reason,
            message: told.message.clone(),
        },
    ]
}
