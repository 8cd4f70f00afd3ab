//! Whether a component that runs by itself does so, in words.
//!
//! Pure; `steps` calls it. Nothing here counts what goes on and on: a replica that ends and is
//! started again is told by how it ended, not by how often.

use crds::Reason;
use crds::condition::{ConditionStatus, ConditionType};

use super::{Step, step};
use crate::component::plan::{Outlook, Runs};

/// Whether enough replicas run, or have done what they were to do.
pub(super) fn available(runs: &Runs, outlook: &Outlook) -> Step {
    use ConditionStatus::{False, True};
    let kind = ConditionType::Available;
    let (ready, wanted) = (outlook.ready, outlook.wanted);
    if ready >= wanted {
        let reason = match wanted {
            0 => Reason::ScaledToZero,
            wanted if runs.completed >= wanted => Reason::RunCompleted,
            _ => Reason::Running,
        };
        return step(kind, True, reason, told(runs, wanted));
    }
    let last = runs.last.as_ref();
    let last = last.map(|(node, end)| format!("on node {node} it {end}"));
    let last = last.unwrap_or_else(|| "it was ended by the node".to_owned());
    if runs.failed > 0 {
        let message = format!(
            "{}; {} failed and restartPolicy does not start it again: {last}; change spec.image or the spec",
            told(runs, wanted),
            replicas(runs.failed)
        );
        return step(kind, False, Reason::RunFailed, message);
    }
    if runs.waiting > 0 {
        let message = format!(
            "{}; {} to be started again: {last}",
            told(runs, wanted),
            match runs.waiting {
                1 => "1 replica waits".to_owned(),
                more => format!("{more} replicas wait"),
            }
        );
        return step(kind, False, Reason::RunRestarting, message);
    }
    let failure = outlook.failure.as_ref();
    let reason = failure.map_or(Reason::Preparing, |failure| failure.reason);
    step(kind, False, reason, told(runs, wanted))
}

/// How many replicas run, and how many have completed.
pub(super) fn told(runs: &Runs, wanted: u32) -> String {
    let Runs {
        running, completed, ..
    } = runs;
    match (running, completed) {
        (0, 1..) => format!("{completed} of {wanted} replicas have completed"),
        (running, 0) => format!("{running} of {wanted} replicas run"),
        (running, completed) => {
            format!("{running} of {wanted} replicas run, {completed} have completed")
        }
    }
}

fn replicas(count: u32) -> String {
    match count {
        1 => "1 replica".to_owned(),
        more => format!("{more} replicas"),
    }
}
