//! What the agent says about its placements. [`status`] derives it from what runs; [`run`]
//! carries it out, on transitions only, so that components at rest cause no write. A report
//! that does not arrive is tried again; nothing waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::condition::{ConditionStatus, ConditionType, condition, keep_times};
use crds::placement::{Phase as StatusPhase, RevisionStatus, RunEnd, RunStatus};
use crds::{ComponentPlacementStatus, Reason};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Control;
use super::plan::{Failure, Phase, Run, RunState, RunningSlot};
use crate::desired::{DesiredPlacement, PlacementKey};
use crate::message::Refused;
use crate::source::{Sink, Source};

/// Statuses by placement: what the loop wants to be known.
pub type Statuses = BTreeMap<PlacementKey, ComponentPlacementStatus>;

/// How long a report that failed waits for its next attempt.
const RETRY: Duration = Duration::from_secs(5);
/// How long the last reports may take once the agent has drained.
pub const LAST_WORDS: Duration = Duration::from_secs(3);
/// The schema admits this many revisions in a status.
const REVISIONS: usize = 4;

/// What is said of one placement.
pub fn status(
    placement: &DesiredPlacement,
    slot: Option<&RunningSlot>,
    unopened: Option<&Failure>,
    doubts: &BTreeMap<String, Refused>,
    now: Timestamp,
) -> ComponentPlacementStatus {
    let weights = slot
        .and_then(|slot| slot.weights.clone())
        .unwrap_or_default();
    let weighed = weights
        .iter()
        .max_by_key(|(_, weight)| **weight)
        .map(|(name, _)| name.clone());
    // Of a component that listens by itself, who accepts; of any other, who has been told to serve.
    let listens = slot.is_some_and(RunningSlot::listens);
    let serving = match slot.filter(|_| listens) {
        Some(slot) => slot.accepted_by(placement.replicas).map(str::to_owned),
        None => weighed,
    };
    let closing = slot.is_some_and(|slot| slot.closing);
    let run = slot.and_then(|slot| run_status(slot, placement.replicas));
    let all_run = run.as_ref().is_none_or(|run| {
        let well = run.running.saturating_add(run.completed);
        u32::try_from(well).is_ok_and(|well| well >= placement.replicas)
    });
    let ready = serving.is_some() && !closing && (all_run || listens);
    let mut revisions: Vec<RevisionStatus> = placement
        .revisions
        .iter()
        .map(|wanted| {
            let running = slot.and_then(|slot| slot.revisions.get(&wanted.name));
            let phase = running.map_or(&Phase::Preparing, |running| &running.phase);
            revision_status(&wanted.name, phase, weights.contains_key(&wanted.name))
        })
        .collect();
    for (name, running) in slot.iter().flat_map(|slot| &slot.revisions) {
        if !placement
            .revisions
            .iter()
            .any(|wanted| wanted.name == *name)
        {
            revisions.push(revision_status(
                name,
                &running.phase,
                weights.contains_key(name),
            ));
        }
    }
    revisions.truncate(REVISIONS);

    let (reason, message) = if ready {
        let verb = if run.is_some() { "runs" } else { "serves" };
        (
            Reason::Ready,
            format!("{verb} {}", serving.as_deref().unwrap_or_default()),
        )
    } else if let Some(failure) = unopened {
        (failure.reason, failure.message.clone())
    } else if let Some(failed) = revisions.iter().find(|r| r.phase == StatusPhase::Failed) {
        (
            failed.reason.unwrap_or(Reason::Unknown),
            failed.message.clone().unwrap_or_default(),
        )
    } else if let Some((reason, message)) = run.as_ref().and_then(not_running) {
        (reason, message)
    } else if let Some(port) = slot.and_then(RunningSlot::silent) {
        let message = format!("it runs, and does not listen on port {port} yet");
        (Reason::Preparing, message)
    } else {
        (
            Reason::Preparing,
            "the revision is being prepared".to_owned(),
        )
    };
    let holds = if ready {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    };
    let generation = Some(placement.generation);
    let doubt = weights.keys().find_map(|name| doubts.get(name));
    let verified = doubt.map(|doubt| {
        let (reason, message) = (doubt.reason, doubt.message.clone());
        condition(
            ConditionType::Verified,
            ConditionStatus::False,
            reason,
            message,
            generation,
            now,
        )
    });
    let ready_condition = condition(
        ConditionType::Ready,
        holds,
        reason,
        message,
        generation,
        now,
    );
    ComponentPlacementStatus {
        observed_generation: generation,
        ready,
        serving,
        revisions,
        run,
        // `Verified` is there only when it does not hold: what serves and would be refused today.
        conditions: std::iter::once(ready_condition).chain(verified).collect(),
    }
}

/// How the replicas are of the revision that runs; `None` where nothing runs by itself.
fn run_status(slot: &RunningSlot, replicas: u32) -> Option<RunStatus> {
    let (revision, _) = slot.runs_by()?;
    let runs = &slot.runs;
    let live = runs.live.iter();
    let live = live.filter(|(replica, run)| **replica < replicas && run.revision == revision);
    let over = runs.over.get(revision).into_iter().flatten();
    let over = over.filter(|(replica, _)| **replica < replicas);
    let count = |replicas: usize| i32::try_from(replicas).unwrap_or(i32::MAX);
    let is = |wanted: fn(&Run) -> bool| {
        let found = live.clone().filter(|(_, run)| wanted(run));
        count(found.count())
    };
    let completed = over.clone().filter(|(_, end)| end.is_success()).count();
    let last = runs.last.as_ref().filter(|(of, _)| of == revision);
    // After a restart of the agent nothing else is known.
    let last = last
        .map(|(_, end)| *end)
        .or_else(|| over.clone().map(|(_, end)| *end).next_back());
    Some(RunStatus {
        revision: revision.to_owned(),
        running: is(Run::is_up),
        waiting: is(|run| matches!(run.state, RunState::Waiting { .. })),
        completed: count(completed),
        failed: count(over.count()) - count(completed),
        last_end: last.map(|end| RunEnd {
            reason: end.reason,
            exit_code: end.exit_code.map(i32::from),
            port: end.port.map(|port| slot.name_of(port)),
        }),
    })
}

/// Why not all replicas run.
fn not_running(run: &RunStatus) -> Option<(Reason, String)> {
    let how = match &run.last_end {
        Some(end) => format!("it {end}"),
        None => "the node ended it".to_owned(),
    };
    match run {
        RunStatus { failed: 1.., .. } => {
            let message = format!("{how} and is not started again");
            Some((Reason::RunFailed, message))
        }
        RunStatus { waiting: 1.., .. } => {
            Some((Reason::RunRestarting, format!("{how} and is started again")))
        }
        _ => None,
    }
}

/// The status of a placement whose agent is being stopped.
pub fn stopping(mut last: ComponentPlacementStatus, now: Timestamp) -> ComponentPlacementStatus {
    last.ready = false;
    if let Some(run) = &mut last.run {
        run.running = 0;
    }
    last.conditions = vec![condition(
        ConditionType::Ready,
        ConditionStatus::False,
        Reason::AgentStopping,
        "the agent of the node is being stopped",
        last.observed_generation,
        now,
    )];
    last
}

fn revision_status(name: &str, phase: &Phase, weighted: bool) -> RevisionStatus {
    let failure = match phase {
        Phase::Failed(failure) => Some(failure),
        Phase::Preparing | Phase::Prepared | Phase::Draining => None,
    };
    RevisionStatus {
        name: name.to_owned(),
        phase: match phase {
            Phase::Preparing => StatusPhase::Preparing,
            Phase::Prepared if weighted => StatusPhase::Serving,
            Phase::Prepared => StatusPhase::Prepared,
            Phase::Draining => StatusPhase::Draining,
            Phase::Failed(_) => StatusPhase::Failed,
        },
        reason: failure.map(|failure| failure.reason),
        message: failure.map(|failure| failure.message.clone()),
    }
}

impl<S: Source + ?Sized> Control<S> {
    /// Hands the statuses as they are now to the task that carries them out.
    pub(super) fn report(&mut self) {
        let now = Timestamp::now();
        if self.stopping() {
            self.statuses.send_modify(|statuses| {
                for status in statuses.values_mut() {
                    if status.ready {
                        *status = stopping(std::mem::take(status), now);
                    }
                }
            });
            return;
        }
        let settled = Instant::now() >= self.settling_until;
        let mut statuses = Statuses::new();
        for (key, placement) in &self.desired.placements {
            let slot = self.running.slots.get(key);
            let none = BTreeMap::new();
            let facts = self.slots.get(key);
            let doubts = facts.map_or(&none, |facts| &facts.doubts);
            let status = status(placement, slot, self.unopened.get(key), doubts, now);
            // Weights that the worker has not taken yet are not said: whoever reads that a
            // revision serves may ask it at once. And shortly after a start, what is still on
            // its way is better not said.
            let is_so = facts.is_none_or(|facts| facts.told_turn == facts.served_turn);
            let said_before = self.statuses.borrow().get(key).cloned();
            match said_before {
                _ if is_so && (settled || status.ready || has_failed(&status)) => {
                    statuses.insert(key.clone(), status);
                }
                Some(before) => {
                    statuses.insert(key.clone(), before);
                }
                None => {}
            }
        }
        self.statuses.send_if_modified(|old| {
            for (key, status) in &mut statuses {
                if let Some(before) = old.get(key) {
                    keep_times(&before.conditions, &mut status.conditions);
                }
            }
            let changed = *old != statuses;
            *old = statuses;
            changed
        });
    }
}

fn has_failed(status: &ComponentPlacementStatus) -> bool {
    status
        .revisions
        .iter()
        .any(|revision| revision.phase == StatusPhase::Failed)
}

/// Tells the sink every status that is not what it was told last, until `stop`; then once more.
pub async fn run(
    mut statuses: watch::Receiver<Statuses>,
    sink: Arc<dyn Sink>,
    stop: CancellationToken,
) {
    let mut told = Statuses::new();
    loop {
        let stopped = stop.is_cancelled();
        let wanted = statuses.borrow_and_update().clone();
        let failed = tell(&wanted, &mut told, sink.as_ref()).await;
        if stopped {
            break;
        }
        tokio::select! {
            changed = statuses.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(RETRY), if failed => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Says whether some report failed.
async fn tell(wanted: &Statuses, told: &mut Statuses, sink: &dyn Sink) -> bool {
    told.retain(|key, _| wanted.contains_key(key));
    let mut failed = false;
    for (key, status) in wanted {
        if told.get(key) == Some(status) {
            continue;
        }
        match sink.report(key, status).await {
            Ok(()) => {
                told.insert(key.clone(), status.clone());
            }
            Err(error) => {
                tracing::warn!("{error}");
                failed = true;
            }
        }
    }
    failed
}

#[cfg(test)]
mod tests;
