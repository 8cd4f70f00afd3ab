//! What nodes say of the replicas of a component that runs by itself.
//!
//! Pure; `outlook` adds it up for the status, `rollout` judges a new revision by it.

use crds::Reason;
use crds::placement::{RunEnd, RunStatus};

use super::outlook;
use crate::component::observe::{Observed, Placed};

/// Replicas of all nodes, by how they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runs {
    /// Those that run.
    pub running: u32,
    /// Those that wait to be started again.
    pub waiting: u32,
    /// Those that ended well and are not started again.
    pub completed: u32,
    /// Those that failed and are not started again.
    pub failed: u32,
    /// How one of those that wait or failed ended last: on the first node that says so.
    pub last: Option<(String, RunEnd)>,
}

impl Runs {
    /// Those of a component that runs by itself; `None` of any other.
    pub(super) fn of(observed: &Observed) -> Option<Self> {
        if !observed.component.spec.is_run() {
            return None;
        }
        let mut runs = Self::default();
        for placed in &observed.placements {
            let status = placed.object.status.as_ref();
            let Some(run) = status.and_then(|status| status.run.as_ref()) else {
                continue;
            };
            // A replica that has completed needs no node any more.
            let completed = count(run.completed);
            runs.completed = runs.completed.saturating_add(completed);
            if !outlook::is_served(placed, observed) {
                continue;
            }
            runs.running = runs.running.saturating_add(count(run.running));
            runs.waiting = runs.waiting.saturating_add(count(run.waiting));
            runs.failed = runs.failed.saturating_add(count(run.failed));
            if run.waiting > 0 || run.failed > 0 {
                let node = placed.object.spec.node_name.clone();
                let last = run.last_end.clone().map(|end| (node, end));
                runs.last = runs.last.or(last);
            }
        }
        Some(runs)
    }
}

/// Replicas of a placement that do what they are to do, as far as its node says so at all.
pub(super) fn ready(placed: &Placed, is_served: bool) -> Option<u32> {
    let run = placed.object.status.as_ref()?.run.as_ref()?;
    let running = if is_served { count(run.running) } else { 0 };
    let ready = running.saturating_add(count(run.completed));
    Some(ready.min(count(placed.object.spec.replicas)))
}

/// What a replica of this revision says against it by how it ended, in words.
pub(super) fn failure(run: &RunStatus, revision: &str) -> Option<(Reason, String)> {
    let end = run.last_end.as_ref().filter(|_| run.revision == revision)?;
    (end.reason != Reason::RunCompleted).then(|| (end.reason, format!("a replica {end}")))
}

fn count(replicas: i32) -> u32 {
    u32::try_from(replicas).unwrap_or_default()
}
