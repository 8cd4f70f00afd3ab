//! A cluster as a rollout sees it: nodes whose agents prepare, serve and fail as it is their
//! fate, and an operator that keeps nothing but the state.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crds::Reason;
use crds::Tally;
use crds::component::OnFailure;
use crds::placement::PlacedRevision;
use operator::rollout::{
    Calls, NodeSight, Progress, Rules, Sight, State, Step, Turn, Version, turn,
};

pub(crate) const OLD: &str = "old";
pub(crate) const NEW: &str = "new";
pub(crate) const NEWER: &str = "newer";

/// What becomes of a revision on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Good,
    /// It cannot run.
    Bad,
    /// It is never ready, for want of something on the node.
    Stuck,
}

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Agents do what they were told.
    Agents,
    /// A node is not heard of.
    Lose(usize),
    Return(usize),
    /// A node has to prepare all it holds again.
    RestartAgent(usize),
    /// The memory of how long nodes have served is lost.
    RestartOperator,
    Pause(bool),
    /// Seconds pass.
    Pass(u64),
    /// A node joins that is to serve, too.
    Join(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) state: State,
    pub(crate) rules: Rules,
    pub(crate) fates: BTreeMap<&'static str, Vec<Fate>>,
    wanted: &'static str,
    proven: &'static str,
    nodes: BTreeMap<String, Node>,
    now: Duration,
    since: Duration,
    calls: Calls,
}

#[derive(Clone, Debug, Default)]
struct Node {
    held: Vec<PlacedRevision>,
    prepared: BTreeSet<String>,
    failed: BTreeMap<String, Reason>,
    serving: Option<String>,
    /// Since when the first of its revisions serves, as the operator remembers.
    since: Option<Duration>,
    is_lost: bool,
    /// Whether it has not heard yet of what it was told last.
    is_behind: bool,
}

fn version(name: &str) -> Version {
    Version {
        name: name.to_owned(),
        digest: format!("sha256:{name}"),
    }
}

fn name(index: usize) -> String {
    format!("n{index}")
}

fn placed(name: &str, weight: u32) -> PlacedRevision {
    let Version { name, digest } = version(name);
    PlacedRevision {
        name,
        digest,
        weight,
    }
}

impl Cluster {
    pub(crate) fn serving(
        revision: &'static str,
        nodes: usize,
        parallel: usize,
        min_ready: u64,
        on_failure: OnFailure,
        steps: Vec<Step>,
        fates: BTreeMap<&'static str, Vec<Fate>>,
    ) -> Self {
        let node = Node {
            held: vec![placed(revision, 100)],
            prepared: BTreeSet::from([revision.to_owned()]),
            serving: Some(revision.to_owned()),
            since: Some(Duration::ZERO),
            ..Node::default()
        };
        Self {
            state: State::Rest,
            rules: Rules {
                parallel,
                min_ready: Duration::from_secs(min_ready),
                deadline: Duration::from_secs(600),
                on_failure,
                is_paused: false,
                steps,
                promoted: 0,
                analysis: None,
            },
            fates,
            wanted: revision,
            proven: revision,
            nodes: (0..nodes)
                .map(|index| (name(index), node.clone()))
                .collect(),
            now: Duration::from_secs(1_000),
            since: Duration::ZERO,
            calls: Calls::default(),
        }
    }

    /// The spec asks for `revision`.
    pub(crate) fn want(&mut self, revision: &'static str) {
        self.wanted = revision;
        self.state = match revision == self.proven {
            true => State::Rest,
            false => State::Waiting(Progress::default()),
        };
    }

    pub(crate) fn act(&mut self, act: &Act) {
        let now = self.now;
        match act {
            Act::Agents => {
                let fates = self.fates.clone();
                for (index, node) in self.nodes.values_mut().enumerate() {
                    if !node.is_lost {
                        let fate =
                            |revision: &str| fates.get(revision).map_or(Fate::Good, |of| of[index]);
                        node.work(fate, now);
                    }
                }
            }
            Act::Lose(index) => self.of(*index, |node| node.is_lost = true),
            Act::Return(index) => self.of(*index, |node| node.is_lost = false),
            Act::RestartAgent(index) => self.of(*index, |node| {
                node.prepared.clear();
                node.failed.clear();
                (node.serving, node.since) = (None, None);
            }),
            Act::RestartOperator => {
                for node in self.nodes.values_mut() {
                    node.since = node.since.map(|_| now);
                }
            }
            Act::Pause(paused) => self.rules.is_paused = *paused,
            Act::Pass(seconds) => self.now += Duration::from_secs(*seconds),
            Act::Join(index) => {
                self.nodes.entry(name(*index)).or_default();
            }
        }
    }

    fn of(&mut self, index: usize, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(&name(index)) {
            change(node);
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.since
    }

    pub(crate) fn sight(&self) -> Sight {
        let nodes = self.nodes.iter().map(|(name, node)| {
            let failures = node.failed.iter();
            let sight = NodeSight {
                held: node.held.clone(),
                serving: node.serving.clone(),
                steady: node.since.map(|since| self.now - since),
                prepared: match node.is_behind {
                    true => BTreeSet::new(),
                    false => node.prepared.clone(),
                },
                is_ready: !node.is_lost,
                failures: failures
                    .map(|(revision, reason)| (revision.clone(), (*reason, "no".to_owned())))
                    .collect(),
            };
            (name.clone(), sight)
        });
        Sight {
            wanted: version(self.wanted),
            proven: (self.proven != self.wanted).then(|| version(self.proven)),
            may_start: true,
            calls: self.calls.clone(),
            nodes: nodes.collect(),
        }
    }

    /// One turn, carried out, and its state kept as the status keeps it.
    pub(crate) fn turn(&mut self) -> Turn {
        let turn = turn(self.state, &self.sight(), &self.rules, self.elapsed());
        for (name, held) in &turn.held {
            let node = self.nodes.get_mut(name).unwrap();
            if node.held.first() != held.first() {
                node.since = None;
            }
            node.is_behind = true;
            node.held.clone_from(held);
        }
        if turn.state != self.state {
            self.since = self.now;
        }
        let step = |state: State| state.progress().map(|progress| progress.step);
        if step(turn.state) != step(self.state) {
            self.calls = Calls::default();
        }
        self.state = turn.state;
        if turn.state != State::Failed && self.serves_alone(self.wanted) {
            (self.proven, self.state) = (self.wanted, State::Rest);
        }
        turn
    }

    /// Callers ask wherever a revision has a weight, and every answer of the wanted one fails.
    pub(crate) fn ask_in_vain(&mut self) {
        let answered = |revision: &str, trapped| {
            let serves = |node: &&Node| node.prepared.contains(revision);
            let nodes = self.nodes.values().filter(serves).count() as u64;
            let has_weight = self.weights_of(revision).values().any(|weight| *weight > 0);
            let requests = if has_weight { nodes * 10 } else { 0 };
            Tally {
                failures: BTreeMap::from([(Reason::Trapped, requests * trapped)]),
                errors: 0,
                latency: [(1_000, requests)].into_iter().collect(),
            }
        };
        let (wanted, proven) = (answered(self.wanted, 1), answered(self.proven, 0));
        self.calls = Calls {
            wanted: self.calls.wanted.plus(&wanted),
            proven: self.calls.proven.plus(&proven),
        };
    }

    pub(crate) fn weights_of(&self, revision: &str) -> BTreeMap<String, u32> {
        let weight = |node: &Node| {
            let mut held = node.held.iter();
            held.find(|held| held.name == revision)
                .map(|held| held.weight)
        };
        let nodes = self.nodes.iter();
        nodes
            .filter_map(|(name, node)| Some((name.clone(), weight(node)?)))
            .collect()
    }

    /// Whether it can run on every node there is.
    pub(crate) fn is_good(&self, revision: &str) -> bool {
        let fates = &self.fates[revision];
        fates
            .iter()
            .take(self.nodes.len())
            .all(|fate| *fate == Fate::Good)
    }

    /// Whether there was a reason to give it up: it is not good, or it had no time.
    pub(crate) fn has_failed_fairly(&self, revision: &str) -> bool {
        !self.is_good(revision) || self.now > self.rules.deadline
    }

    /// What each node holds and serves.
    pub(crate) fn places(&self) -> BTreeMap<String, (Vec<PlacedRevision>, Option<String>)> {
        let nodes = self.nodes.iter();
        nodes
            .map(|(name, node)| (name.clone(), (node.held.clone(), node.serving.clone())))
            .collect()
    }

    pub(crate) fn serves_alone(&self, revision: &str) -> bool {
        self.nodes.values().all(|node| {
            node.serving.as_deref() == Some(revision)
                && matches!(node.held.as_slice(), [only] if only.name == revision)
        })
    }
}

impl Node {
    /// What an agent does with what it is told.
    fn work(&mut self, fate: impl Fn(&str) -> Fate, now: Duration) {
        let held: BTreeSet<&str> = self.held.iter().map(|held| held.name.as_str()).collect();
        self.failed.retain(|name, _| held.contains(name.as_str()));
        for revision in &held {
            match fate(revision) {
                Fate::Good => drop(self.prepared.insert((*revision).to_owned())),
                Fate::Bad => drop(
                    self.failed
                        .insert((*revision).to_owned(), Reason::StartFailed),
                ),
                Fate::Stuck => drop(self.failed.insert((*revision).to_owned(), Reason::NoSpace)),
            }
        }
        self.is_behind = false;
        let mut weighted = self.held.iter().filter(|held| held.weight > 0);
        let is_prepared = |held: &&PlacedRevision| self.prepared.contains(&held.name);
        let kept = || self.held.iter().find(is_prepared);
        let serving = self.serving.clone();
        if weighted.clone().all(|held| is_prepared(&held)) {
            let heaviest = weighted.by_ref().max_by_key(|held| held.weight);
            self.serving = heaviest.map(|held| held.name.clone());
        } else if serving.is_none_or(|serving| !held.contains(serving.as_str())) {
            self.serving = kept().map(|kept| kept.name.clone()).or(self.serving.take());
        }
        let kept: BTreeSet<String> = held.iter().map(|name| (*name).to_owned()).collect();
        let serving = self.serving.clone();
        self.prepared
            .retain(|name| kept.contains(name) || Some(name) == serving.as_ref());
        let first = self.held.first().map(|held| &held.name);
        match first.is_some() && self.serving.as_ref() == first {
            true => self.since = self.since.or(Some(now)),
            false => self.since = None,
        }
    }
}
