//! Which replicas of a component that runs by itself are started and ended.
//!
//! Plain; `plan` calls it. Each replica has one run at a time, of whatever revision: the new one
//! starts when the old one has ended. One replica changes after the other, and the next one only
//! while all that have changed run, for a while and none has failed: a bad revision takes down one.

use std::collections::{BTreeMap, BTreeSet};

use crds::component::RestartPolicy;
use serde::Serialize;

use super::RunningSlot;
use crate::message::RunEnd;

/// The runs of a placement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Runs {
    /// The replicas that run, or will.
    pub live: BTreeMap<u32, Run>,
    /// How replicas ended that are not started again, by revision.
    pub over: BTreeMap<String, BTreeMap<u32, RunEnd>>,
    /// How a replica ended last that no node ended, and of which revision it was.
    pub last: Option<(String, RunEnd)>,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The revision it is of.
    pub revision: String,
    /// How far it is.
    pub state: RunState,
    /// The ports that it does not listen on yet.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub silent: BTreeSet<u16>,
    /// The revision that accepted before it, whose place it takes: while it is on its way,
    /// connections wait for it, and nobody is to go elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
}

/// How far a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum RunState {
    /// The worker was told to start it.
    Starting,
    /// It runs.
    Running {
        /// Whether it has done so for long enough to follow it. The loop sets it.
        steady: bool,
    },
    /// The worker was told to end it.
    Ending,
    /// It has ended, and is started again.
    Waiting {
        /// Whether the time for it has come. The loop sets it; a plan has no clock.
        due: bool,
    },
}

/// What to do with the replicas of a placement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunOrders {
    /// Replicas to start, by revision.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub start: BTreeMap<u32, String>,
    /// Replicas to end.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub end: BTreeSet<u32>,
}

impl Runs {
    /// Whether there is nothing to say of any.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an instance of this revision is there, or about to be.
    pub(super) fn holds(&self, revision: &str) -> bool {
        let mut live = self.live.values();
        live.any(|run| run.revision == revision && !matches!(run.state, RunState::Waiting { .. }))
    }

    fn is_over(&self, revision: &str, replica: u32) -> bool {
        let over = self.over.get(revision);
        over.is_some_and(|over| over.contains_key(&replica))
    }
}

impl Run {
    /// Whether it runs, and does all that it is to do.
    pub fn is_up(&self) -> bool {
        matches!(self.state, RunState::Running { .. }) && self.silent.is_empty()
    }

    /// The revision that accepts connections in its place, or did until just now.
    pub fn accepts(&self) -> Option<&str> {
        match self.state {
            RunState::Waiting { .. } => None,
            RunState::Running { .. } | RunState::Ending if self.silent.is_empty() => {
                Some(&self.revision)
            }
            RunState::Running { .. } | RunState::Ending | RunState::Starting => {
                self.follows.as_deref()
            }
        }
    }
}

impl RunningSlot {
    /// The revision that accepts connections on the ports of a component that listens by itself:
    /// the one that shall, once each replica is its own. `None` when nobody does.
    pub fn accepted_by(&self, replicas: u32) -> Option<&str> {
        let (wanted, _) = self.runs_by()?;
        let live = self.runs.live.range(..replicas);
        let accepting: BTreeSet<&str> = live.filter_map(|(_, run)| run.accepts()).collect();
        let earlier = accepting.iter().find(|revision| **revision != wanted);
        earlier.or(accepting.first()).copied()
    }

    /// Whether what it runs listens on ports by itself.
    pub fn listens(&self) -> bool {
        self.listened().next().is_some()
    }

    /// A port that one of its replicas does not listen on, by name.
    pub fn silent(&self) -> Option<String> {
        let runs = self.runs.live.values();
        let mut running = runs.filter(|run| matches!(run.state, RunState::Running { .. }));
        running.find_map(|run| Some(self.name_of(*run.silent.first()?)))
    }

    /// The name of a port that it listens on.
    pub fn name_of(&self, port: u16) -> String {
        let name = self.listened().find(|(_, of)| **of == port);
        name.map_or_else(|| port.to_string(), |(name, _)| name.clone())
    }

    fn listened(&self) -> impl Iterator<Item = (&String, &u16)> {
        let revision = self
            .runs_by()
            .and_then(|(name, _)| self.revisions.get(name));
        revision.into_iter().flat_map(|revision| &revision.listens)
    }

    /// The revision that has the most weight, and how it runs; `None` when it is asked instead.
    pub fn runs_by(&self) -> Option<(&str, RestartPolicy)> {
        let weights = self.weights.as_ref()?;
        let (name, _) = weights.iter().max_by_key(|(_, weight)| **weight)?;
        let revision = self.revisions.get(name)?;
        Some((name.as_str(), revision.run?))
    }
}

/// What to do so that `replicas` replicas run as the weights say.
pub(super) fn plan(slot: &RunningSlot, replicas: u32) -> RunOrders {
    let runs = &slot.runs;
    let mut orders = RunOrders::default();
    let Some((revision, _)) = slot.runs_by() else {
        // Nothing serves at all: what runs goes on. Something else serves: it has no replicas.
        if slot.weights.as_ref().is_some_and(|all| !all.is_empty()) {
            orders.end = endable(runs).map(|(replica, _)| *replica).collect();
        }
        return orders;
    };
    for replica in 0..replicas {
        let starts = match runs.live.get(&replica) {
            None => true,
            Some(run) => match run.state {
                RunState::Waiting { due } => due || run.revision != revision,
                RunState::Starting | RunState::Running { .. } | RunState::Ending => false,
            },
        };
        if starts && !runs.is_over(revision, replica) {
            orders.start.insert(replica, revision.to_owned());
        }
    }
    let surplus = endable(runs).filter(|(replica, _)| **replica >= replicas);
    orders.end.extend(surplus.map(|(replica, _)| *replica));
    let old = endable(runs)
        .filter(|(replica, run)| **replica < replicas && run.revision != revision)
        .map(|(replica, _)| *replica);
    let is_settled = |(replica, run): (&u32, &Run)| {
        *replica >= replicas
            || match run.state {
                RunState::Running { steady } => {
                    (steady && run.silent.is_empty()) || run.revision != revision
                }
                RunState::Starting | RunState::Ending | RunState::Waiting { .. } => false,
            }
    };
    let has_failed = runs.last.as_ref();
    let has_failed = has_failed.is_some_and(|(of, end)| of == revision && !end.is_success());
    if orders.start.is_empty() && !has_failed && runs.live.iter().all(is_settled) {
        orders.end.extend(old.take(1));
    }
    // One whose revision has been run to its end before waits for nothing.
    let done = runs.live.iter().filter(|(replica, run)| {
        matches!(run.state, RunState::Waiting { .. }) && runs.is_over(revision, **replica)
    });
    orders.end.extend(done.map(|(replica, _)| *replica));
    orders
}

/// Replicas that can be told to end.
fn endable(runs: &Runs) -> impl Iterator<Item = (&u32, &Run)> {
    let live = runs.live.iter();
    live.filter(|(_, run)| run.state != RunState::Ending)
}
