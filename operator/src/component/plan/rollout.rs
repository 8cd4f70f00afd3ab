//! Where a rollout stands: what `crate::rollout` is shown, and what comes of it.
//!
//! Pure; `plan` calls it. The state is read from the component's status, where `report` keeps
//! it; which revision there is to go back to is decided here, because one that a policy stops
//! is none.

use std::time::Duration;

use crds::component::{CanaryStep, WasmComponentStatus};
use crds::placement::Phase;

use super::stop::Stops;
use super::target;
use super::{Target, runs};
use crate::component::Validated;
use crate::component::observe::{Observed, Placed};
use crate::placement::{Counts, Standing};
use crate::rollout::{
    Analysis, NodeSight, Pause, Progress, Rules, Sight, State, Step, Turn, Version, turn,
};

/// Where the rollout stands.
#[derive(Debug, Default)]
pub(super) struct Rollout {
    /// What to do now; `None` while there is no revision that may run.
    pub(super) turn: Option<Turn>,
    /// The revision that is to run everywhere: what the spec asks for, or what it is gone back to.
    pub(super) target: Option<Target>,
    /// How far the revision is that the spec asks for.
    pub(super) state: Option<State>,
}

impl Rollout {
    /// `may_run`: whether no refusal keeps `asked` from being started.
    pub(super) fn plan(
        observed: &Observed,
        validated: &Validated,
        stops: &Stops,
        asked: Option<&Target>,
        may_run: bool,
        assigned: &Counts,
    ) -> Self {
        let Some(asked) = asked else {
            return Self::default();
        };
        let state = state(observed, validated, asked);
        // What a policy merely no longer admits goes on where it is: nodes hold it still.
        let proven = target::proven(observed, asked).filter(|of| !stops.names(&of.digest));
        // What failed is not started; what it goes back to may be, whatever keeps it.
        if !may_run && state != State::Failed {
            return Self {
                turn: None,
                target: Some(asked.clone()),
                state: Some(state.held()),
            };
        }
        let sight = Sight {
            wanted: version(asked),
            proven: proven.as_ref().map(version),
            may_start: may_run && observed.values.is_ok(),
            calls: observed.calls.clone(),
            nodes: assigned
                .keys()
                .map(|node| {
                    let mut sight = sight(observed, node);
                    // A replica that ends otherwise than well is a reason to go back, while
                    // there is something to go back to; after that it is started again.
                    if proven.is_some() {
                        let said = said_by_runs(observed, node, &asked.name);
                        sight.failures.extend(said);
                    }
                    (node.clone(), sight)
                })
                .collect(),
        };
        let rules = rules(validated, asked, assigned.len());
        let turn = turn(
            state,
            &sight,
            &rules,
            observed.since_progress.unwrap_or_default(),
        );
        let target = match proven {
            Some(proven) if proven.name == turn.serve.name => proven,
            _ => asked.clone(),
        };
        Self {
            state: Some(turn.state),
            turn: Some(turn),
            target: Some(target),
        }
    }
}

/// How far `asked` is, as the status has it. What a status of another spec says does not count.
fn state(observed: &Observed, validated: &Validated, asked: &Target) -> State {
    let none = WasmComponentStatus::default();
    let status = observed.component.status.as_ref().unwrap_or(&none);
    let current = status.current.as_ref();
    if current.is_some_and(|current| current.revision == asked.name) {
        return State::Rest;
    }
    let has_failed = status.failure.as_ref().is_some_and(|failure| {
        failure.revision == asked.name && failure.spec_hash == validated.spec_hash
    });
    if has_failed {
        return State::Failed;
    }
    let updating = status.updating.as_ref();
    match updating.filter(|updating| updating.revision == asked.name) {
        Some(updating) => {
            let progress = Progress {
                // What began before there was a canary goes on without.
                step: updating.step.map_or(usize::MAX, index),
                reached: u32::try_from(updating.reached_nodes).unwrap_or_default(),
            };
            match updating.since {
                Some(_) => State::Advancing(progress),
                None => State::Waiting(progress),
            }
        }
        None => State::Waiting(Progress::default()),
    }
}

fn index(step: i32) -> usize {
    usize::try_from(step).unwrap_or_default()
}

fn rules(validated: &Validated, asked: &Target, nodes: usize) -> Rules {
    let rollout = &validated.rollout;
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    let steps = rollout.canary.iter().flat_map(|canary| &canary.steps);
    let promoted = rollout.promote.as_ref();
    let promoted = promoted.filter(|promoted| promoted.revision == asked.name);
    Rules {
        parallel: rollout.parallel(nodes),
        min_ready: seconds(rollout.min_ready_seconds),
        deadline: seconds(rollout.progress_deadline_seconds),
        on_failure: rollout.on_failure,
        is_paused: rollout.paused,
        steps: steps.map(step).collect(),
        promoted: promoted.map_or(0, |of| of.step.map_or(usize::MAX, index)),
        analysis: (rollout.canary.as_ref())
            .and_then(|canary| canary.analysis.as_ref())
            .map(analysis),
    }
}

fn analysis(analysis: &crds::component::Analysis) -> Analysis {
    Analysis {
        min_requests: u64::from(analysis.min_requests),
        max_error_rate: analysis.max_error_rate,
        max_p99: analysis.max_latency_p99.map(|span| span.0),
        max_regression: analysis.max_regression,
    }
}

fn step(step: &CanaryStep) -> Step {
    let pause = step.pause.as_ref();
    Step {
        weight: step.weight,
        pause: match pause.map(|pause| pause.duration) {
            None => Pause::For(Duration::ZERO),
            Some(Some(duration)) => Pause::For(duration.0),
            Some(None) => Pause::Endless,
        },
    }
}

fn version(target: &Target) -> Version {
    Version {
        name: target.name.clone(),
        digest: target.digest.clone(),
    }
}

fn on_node<'a>(observed: &'a Observed, node: &str) -> Option<&'a Placed> {
    let mut placements = observed.placements.iter();
    placements.find(|placed| placed.object.spec.node_name == node)
}

/// What replicas of `revision` say against it, of a component that runs by itself.
fn said_by_runs(
    observed: &Observed,
    node: &str,
    revision: &str,
) -> Option<(String, (crds::Reason, String))> {
    let status = on_node(observed, node)?.object.status.as_ref()?;
    let said = runs::failure(status.run.as_ref()?, revision)?;
    Some((revision.to_owned(), said))
}

fn sight(observed: &Observed, node: &str) -> NodeSight {
    let fact = observed.nodes.get(node);
    let is_ready = fact.is_some_and(|fact| fact.planned.standing == Standing::Ready);
    let placed = on_node(observed, node);
    placed.map_or_else(NodeSight::default, |placed| of_placed(placed, is_ready))
}

fn of_placed(placed: &Placed, is_ready: bool) -> NodeSight {
    let status = placed.object.status.as_ref();
    let failed = status
        .iter()
        .flat_map(|status| &status.revisions)
        .filter(|revision| revision.phase == Phase::Failed)
        .map(|failed| {
            let reason = failed.reason.unwrap_or(crds::Reason::RevisionFailed);
            let message = failed.message.clone().unwrap_or_default();
            (failed.name.clone(), (reason, message))
        });
    // What it says of other weights than those it was told last does not count.
    let of_now =
        status.filter(|status| status.observed_generation == placed.object.metadata.generation);
    let prepared = of_now
        .iter()
        .flat_map(|status| &status.revisions)
        .filter(|revision| matches!(revision.phase, Phase::Prepared | Phase::Serving))
        .map(|revision| revision.name.clone())
        .collect();
    NodeSight {
        held: placed.object.spec.revisions.clone(),
        serving: status
            .filter(|status| status.ready)
            .and_then(|status| status.serving.clone()),
        steady: placed.steady,
        prepared,
        is_ready,
        failures: failed.collect(),
    }
}
