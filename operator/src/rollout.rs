//! How a revision takes over from the one that serves, and how it is undone: a state machine
//! of (state, sight, elapsed time) to (state, what each node holds).
//!
//! Pure: no client, no clock, no randomness; it knows neither components nor statuses. The
//! state is kept in the component's status, so that any operator goes on where another was
//! stopped. `component::plan` calls it.
//!
//! A node that is given a new revision holds both: the new one with all the weight and the old
//! one with none. The agent prepares the new one beside the old, switches when it is ready, and
//! goes back on its own while it is not. The old one stays until the new one has served
//! everywhere for `minReadySeconds`: so going back needs nobody but the node, not even the
//! old values in the spec, and no node is ever left without what serves.

mod analysis;
mod canary;
mod cause;
mod sight;
mod weights;

use std::collections::BTreeMap;
use std::time::Duration;

use crds::component::OnFailure;
use crds::handover::TALLIES_EVERY_SECONDS;
use crds::placement::PlacedRevision;

use analysis::Verdict;
pub use analysis::{Analysis, Calls, Finding, Part};
pub use canary::{Pause, Share, Step, Until};
pub use cause::Cause;
use sight::Stage;
pub use sight::{Failure, NodeSight, Sight, Version};

/// All requests of a node, in percent.
const WHOLE: u32 = 100;

/// How far the wanted revision is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is the proven one: nothing is taking over.
    Rest,
    /// It is taking over, and its time is running.
    Advancing(Progress),
    /// It is to take over, and something else has to change first: its time stands still.
    Waiting(Progress),
    /// It has failed, and is not tried again.
    Failed,
}

/// How far a revision is that takes over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Steps of its canary that it has passed.
    pub step: usize,
    /// The most nodes that it has reached in this one so far.
    pub reached: u32,
}

/// How a revision takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Nodes that are prepared and switched at once.
    pub parallel: usize,
    /// How long a node must have served it before others follow.
    pub min_ready: Duration,
    /// How long it may take to reach one more node, `min_ready` aside.
    pub deadline: Duration,
    /// What happens when it fails.
    pub on_failure: OnFailure,
    /// Whether no further node is given another revision.
    pub is_paused: bool,
    /// Shares of the requests that it is given on every node before it is given all.
    pub steps: Vec<Step>,
    /// How many of them are not waited in, because somebody said so.
    pub promoted: usize,
    /// What its requests must come to, while there is another revision to go back to.
    pub analysis: Option<Analysis>,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// How far it is from now on.
    pub state: State,
    /// The revision that is to serve everywhere.
    pub serve: Version,
    /// What nodes are to hold; a node that is not named keeps what it has.
    pub held: BTreeMap<String, Vec<PlacedRevision>>,
    /// When to look again though nothing changes.
    pub again: Option<Duration>,
    /// Why the wanted revision fell, in the turn in which it did.
    pub cause: Option<Cause>,
    /// What a node says against the revision that is to serve.
    pub failure: Option<Failure>,
    /// The share of the requests that it is given, while it is not given all.
    pub share: Option<Share>,
    /// Whether its time is over, with nothing to go back to.
    pub is_overdue: bool,
    /// Whether a node is not given the wanted revision only because of a pause.
    pub is_paused: bool,
}

/// The next state, and what each node is to hold. `elapsed` is the time since the state became
/// what it is; it counts while the revision is advancing.
pub fn turn(state: State, sight: &Sight, rules: &Rules, elapsed: Duration) -> Turn {
    match state {
        State::Rest => rest(sight, rules),
        State::Failed => fallen(sight, rules),
        State::Advancing(progress) => advance(progress, Some(elapsed), sight, rules),
        State::Waiting(progress) => advance(progress, None, sight, rules),
    }
}

/// The proven revision is wanted: whatever began meanwhile ends, and there is nothing to wait for.
fn rest(sight: &Sight, rules: &Rules) -> Turn {
    let wanted = &sight.wanted;
    let strays = || {
        let mut nodes = sight.placed();
        nodes.any(|(_, node)| !node.holds_first(wanted))
    };
    let may_start = sight.may_start && !rules.is_paused;
    let mut held = match may_start {
        true => weights::back(sight, wanted),
        false => BTreeMap::new(),
    };
    held.extend(weights::fresh(sight, wanted));
    Turn {
        is_paused: rules.is_paused && strays(),
        held,
        ..Turn::of(State::Rest, sight, wanted)
    }
}

/// The wanted revision fails now. Nothing is done by that before the state is kept: what nodes
/// said against it is gone once they have let it go, and it would be tried again.
fn falls(sight: &Sight, rules: &Rules, cause: Cause) -> Turn {
    Turn {
        cause: Some(cause),
        held: BTreeMap::new(),
        again: Some(Duration::ZERO),
        ..fallen(sight, rules)
    }
}

/// The wanted revision has failed: it gains weight nowhere, and loses it everywhere unless
/// each node is to keep what it has. Not even a pause stops that.
fn fallen(sight: &Sight, rules: &Rules) -> Turn {
    let (serve, mut held) = match &sight.proven {
        Some(proven) if rules.on_failure == OnFailure::Rollback => {
            (proven, weights::back(sight, proven))
        }
        _ => (&sight.wanted, BTreeMap::new()),
    };
    // Whoever comes new gets what is proven, or what there is.
    let newcomers = sight.proven.clone().or_else(|| sight.serving_other());
    held.extend(weights::fresh(
        sight,
        newcomers.as_ref().unwrap_or(&sight.wanted),
    ));
    Turn {
        held,
        ..Turn::of(State::Failed, sight, serve)
    }
}

/// The wanted revision takes over: in the shares of a canary while there is something to share
/// with, then whole, wave by wave. `elapsed` is `None` while its time stands.
fn advance(before: Progress, elapsed: Option<Duration>, sight: &Sight, rules: &Rules) -> Turn {
    if let (Some(failure), Some(_)) = (sight.condemned(), &sight.proven) {
        return falls(sight, rules, Cause::Node(failure));
    }
    if let (Verdict::Bad(finding), Some(_)) = (rules.judge(sight), &sight.proven) {
        return falls(sight, rules, Cause::Requests(finding));
    }
    match (rules.steps.get(before.step), &sight.proven) {
        (Some(step), Some(_)) => canary::advance(before, *step, elapsed, sight, rules),
        _ => take_over(before, elapsed, sight, rules),
    }
}

/// The wanted revision takes over whole.
fn take_over(before: Progress, elapsed: Option<Duration>, sight: &Sight, rules: &Rules) -> Turn {
    let wanted = &sight.wanted;
    let reached = before.reached.max(sight.reached(rules.min_ready));
    let progress = Progress { reached, ..before };
    let can_move = sight.can_move(rules.min_ready);
    let clock = Clock::read(before, progress, elapsed, can_move, sight, rules);
    let failure = sight.failure_of(wanted);
    if clock.is_over && sight.proven.is_some() {
        return falls(sight, rules, Cause::Deadline(failure));
    }

    let mut held = weights::settle(sight, rules.min_ready);
    held.extend(weights::shared(sight, WHOLE));
    // What one node has trouble with is not given to another.
    if sight.may_start && !rules.is_paused && failure.is_none() {
        let switching = sight.switching(rules.min_ready);
        held.extend(weights::wave(sight, rules, switching, WHOLE));
    }
    let newcomer = newcomer(sight, rules.is_paused);
    let is_other = newcomer.as_ref() != Some(wanted);
    held.extend(
        newcomer
            .iter()
            .flat_map(|version| weights::fresh(sight, version)),
    );
    let held_back = |(_, node): (&String, &NodeSight)| match node.stage(wanted, rules.min_ready) {
        Stage::Waiting => true,
        Stage::Absent => is_other,
        Stage::Switching { .. } | Stage::Settled | Stage::Alone { .. } => false,
    };
    Turn {
        again: clock
            .left
            .into_iter()
            .chain(sight.steady_in(rules.min_ready))
            .chain(rules.looks_again(sight))
            .min(),
        is_overdue: clock.is_over,
        is_paused: rules.is_paused && sight.nodes.iter().any(held_back),
        held,
        ..Turn::of(clock.state(progress), sight, wanted)
    }
}

/// The time that a revision has to reach one more node.
struct Clock {
    is_running: bool,
    is_over: bool,
    /// When it is over, while it runs and is not.
    left: Option<Duration>,
}

impl Clock {
    fn read(
        before: Progress,
        now: Progress,
        elapsed: Option<Duration>,
        can_move: bool,
        sight: &Sight,
        rules: &Rules,
    ) -> Self {
        let is_running = can_move && sight.may_start && !rules.is_paused;
        let limit = rules.deadline.saturating_add(rules.min_ready);
        let left = match elapsed {
            Some(elapsed) if now == before => limit.saturating_sub(elapsed),
            _ => limit,
        };
        let is_over = is_running && left.is_zero();
        Self {
            is_running,
            is_over,
            left: (is_running && !is_over).then_some(left),
        }
    }

    fn state(&self, progress: Progress) -> State {
        match self.is_running {
            true => State::Advancing(progress),
            false => State::Waiting(progress),
        }
    }
}

/// What a node that holds nothing starts with: the wanted revision once it has served
/// somewhere, or if nothing else serves; otherwise what serves. While the rollout is paused,
/// what is not proven starts nowhere.
fn newcomer(sight: &Sight, is_paused: bool) -> Option<Version> {
    if sight.serves(&sight.wanted) {
        return Some(sight.wanted.clone());
    }
    match sight.serving_other() {
        Some(other) => Some(other),
        None if is_paused => sight.proven.clone(),
        None => Some(sight.wanted.clone()),
    }
}

impl Rules {
    fn judge(&self, sight: &Sight) -> Verdict {
        let analysis = self.analysis.as_ref();
        analysis.map_or(Verdict::Good, |analysis| analysis.judge(&sight.calls))
    }

    /// When there may be more requests to judge.
    fn looks_again(&self, sight: &Sight) -> Option<Duration> {
        let is_judged = self.analysis.is_some() && sight.proven.is_some();
        is_judged.then_some(Duration::from_secs(TALLIES_EVERY_SECONDS))
    }
}

impl State {
    /// How far the revision is while it takes over.
    pub fn progress(self) -> Option<Progress> {
        match self {
            Self::Advancing(progress) | Self::Waiting(progress) => Some(progress),
            Self::Rest | Self::Failed => None,
        }
    }

    /// The state while nothing may be started or moved.
    pub fn held(self) -> Self {
        match self {
            Self::Advancing(progress) | Self::Waiting(progress) => Self::Waiting(progress),
            state @ (Self::Rest | Self::Failed) => state,
        }
    }
}

impl Turn {
    /// Nothing to do but to serve `serve`.
    fn of(state: State, sight: &Sight, serve: &Version) -> Self {
        Self {
            state,
            serve: serve.clone(),
            held: BTreeMap::new(),
            again: None,
            cause: None,
            failure: sight.failure_of(serve),
            share: None,
            is_overdue: false,
            is_paused: false,
        }
    }
}
