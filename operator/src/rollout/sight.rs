//! What a rollout looks at: which revision is wanted, which is proven, and how each node is.
//!
//! Values only; made by `component::plan` of what is observed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crds::Reason;
use crds::placement::PlacedRevision;

use super::{Calls, WHOLE};

/// A revision, as a placement names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Name of its ControllerRevision.
    pub name: String,
    /// Digest of its image.
    pub digest: String,
}

/// What a rollout looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The revision that is to serve everywhere.
    pub wanted: Version,
    /// The one that has served everywhere before, if there is one that may run again.
    pub proven: Option<Version>,
    /// Whether nothing outside keeps the wanted one from being started.
    pub may_start: bool,
    /// What both have answered since the step began.
    pub calls: Calls,
    /// The nodes that are to serve it.
    pub nodes: BTreeMap<String, NodeSight>,
}

/// How a node is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSight {
    /// What it was told to hold; nothing yet where this is empty.
    pub held: Vec<PlacedRevision>,
    /// Name of the revision that serves.
    pub serving: Option<String>,
    /// How long the first of its revisions has served without a break; `None` while it does not.
    pub steady: Option<Duration>,
    /// Names of the revisions that could serve, by what it says of the weights it has.
    pub prepared: BTreeSet<String>,
    /// Whether it may begin with another revision.
    pub is_ready: bool,
    /// What it says against revisions, by name.
    pub failures: BTreeMap<String, (Reason, String)>,
}

/// That a revision failed on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The node.
    pub node: String,
    /// Why, in the agent's words.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
}

/// How far a node is with a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It holds nothing.
    Absent,
    /// It has not been told of it.
    Waiting,
    /// It has been told, and does not serve it for long enough yet.
    Switching {
        /// How much longer it has to serve it, if it does.
        left: Option<Duration>,
    },
    /// It has served it for long enough, and still holds the one before.
    Settled,
    /// It holds nothing else.
    Alone {
        /// Whether it serves it.
        serves: bool,
    },
}

impl NodeSight {
    /// Whether it was told to serve `version`.
    pub(super) fn holds_first(&self, version: &Version) -> bool {
        let first = self.held.first();
        first.is_some_and(|first| first.name == version.name)
    }

    /// Whether it gives `version` this share of its requests.
    pub(super) fn shares(&self, version: &Version, share: u32) -> bool {
        let first = self.held.first();
        first.is_some_and(|first| first.name == version.name && first.weight == share)
            && self.prepared.contains(&version.name)
    }

    fn shares_all(&self, version: &Version) -> bool {
        let first = self.held.first();
        first.is_some_and(|first| first.name == version.name && first.weight == WHOLE)
    }

    pub(super) fn stage(&self, version: &Version, min_ready: Duration) -> Stage {
        match self.steady {
            _ if self.held.is_empty() => Stage::Absent,
            _ if !self.holds_first(version) => Stage::Waiting,
            steady if self.held.len() == 1 => Stage::Alone {
                serves: steady.is_some(),
            },
            // The share of a canary: it serves, but not yet all.
            _ if !self.shares_all(version) => Stage::Switching { left: None },
            Some(steady) if steady >= min_ready => Stage::Settled,
            steady => Stage::Switching {
                left: steady.map(|steady| min_ready.saturating_sub(steady)),
            },
        }
    }
}

impl Sight {
    /// The nodes that hold something.
    pub(super) fn placed(&self) -> impl Iterator<Item = (&String, &NodeSight)> {
        self.nodes.iter().filter(|(_, node)| !node.held.is_empty())
    }

    fn stages(&self, min_ready: Duration) -> impl Iterator<Item = (&NodeSight, Stage)> {
        let nodes = self.nodes.values();
        nodes.map(move |node| (node, node.stage(&self.wanted, min_ready)))
    }

    /// How many nodes the wanted revision has reached.
    pub(super) fn reached(&self, min_ready: Duration) -> u32 {
        let reached = self
            .stages(min_ready)
            .filter(|(_, stage)| matches!(stage, Stage::Settled | Stage::Alone { serves: true }));
        u32::try_from(reached.count()).unwrap_or(u32::MAX)
    }

    /// Whether a node is on its way to the wanted revision, or could begin. One that is told
    /// and lost counts: it may be the revision that took it down.
    pub(super) fn can_move(&self, min_ready: Duration) -> bool {
        self.stages(min_ready).any(|(node, stage)| match stage {
            Stage::Waiting => node.is_ready,
            Stage::Absent | Stage::Switching { .. } | Stage::Alone { serves: false } => true,
            Stage::Settled | Stage::Alone { serves: true } => false,
        })
    }

    /// How many nodes are on their way to the wanted revision.
    pub(super) fn switching(&self, min_ready: Duration) -> usize {
        let stages = self.stages(min_ready);
        stages
            .filter(|(_, stage)| matches!(stage, Stage::Switching { .. }))
            .count()
    }

    /// When the next node has served the wanted revision for long enough.
    pub(super) fn steady_in(&self, min_ready: Duration) -> Option<Duration> {
        self.stages(min_ready)
            .filter_map(|(_, stage)| match stage {
                Stage::Switching { left } => left,
                _ => None,
            })
            .min()
    }

    /// Whether a node serves `version`.
    pub(super) fn serves(&self, version: &Version) -> bool {
        let mut nodes = self.nodes.values();
        nodes.any(|node| node.serving.as_ref() == Some(&version.name))
    }

    /// What serves beside the wanted revision: the proven one before others.
    pub(super) fn serving_other(&self) -> Option<Version> {
        let proven = self.proven.clone();
        proven.filter(|proven| self.serves(proven)).or_else(|| {
            self.placed().find_map(|(_, node)| {
                let serving = node.serving.as_ref()?;
                let found = node.held.iter().find(|held| held.name == *serving)?;
                (found.name != self.wanted.name).then(|| Version {
                    name: found.name.clone(),
                    digest: found.digest.clone(),
                })
            })
        })
    }

    fn failures_of(&self, version: &Version) -> impl Iterator<Item = Failure> {
        self.placed().filter_map(|(name, node)| {
            let (reason, message) = node.failures.get(&version.name)?;
            Some(Failure {
                node: name.clone(),
                reason: *reason,
                message: message.clone(),
            })
        })
    }

    /// What the first node by name says against `version`.
    pub(super) fn failure_of(&self, version: &Version) -> Option<Failure> {
        self.failures_of(version).next()
    }

    /// That the wanted revision cannot run, whatever the node.
    pub(super) fn condemned(&self) -> Option<Failure> {
        let mut failures = self.failures_of(&self.wanted);
        failures.find(|failure| failure.reason.condemns())
    }
}
