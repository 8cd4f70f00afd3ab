//! Which node runs how many replicas of which component.
//!
//! A pure function of demands, nodes and what is placed now: no clock, no
//! client, no randomness, so that every leader plans the same. It knows nothing
//! of revisions and ports. `component::plan` calls it for one component with
//! the others as reservations; `lighterman run` calls it with its single node.
//!
//! Rules: what is placed and still matches stays; a new replica goes where the
//! spread constraints want it, then to the node that holds fewest of the
//! component, then to the one that is preferred, then to the one with most free
//! memory; counts on usable nodes stay within one of each other.

mod affinity;
mod layout;
mod refusal;
mod spread;
mod taint;

use std::collections::{BTreeMap, BTreeSet};

use capability::Bytes;
use k8s_openapi::api::core::v1::{Taint, Toleration};

pub use affinity::{Affinity, AffinityError};
pub use refusal::{Refusal, summary};
pub use spread::Constraint;
pub use taint::{DRAINING, UNSCHEDULABLE, announces_end};

use crate::component::Key;
use layout::Layout;

/// What a component asks of the nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    /// How many replicas, and where.
    pub mode: Mode,
    /// Reserved for each replica (`resources.requests.memory`).
    pub memory: Bytes,
    /// Labels a node must carry.
    pub node_selector: BTreeMap<String, String>,
    /// Which nodes are required, and which preferred.
    pub affinity: Affinity,
    /// Taints the component puts up with, with Kubernetes' matching rules.
    pub tolerations: Vec<Toleration>,
    /// How unequal domains may become.
    pub spread: Vec<Constraint>,
    /// What the node's agent must be able to do.
    pub features: BTreeSet<String>,
}

/// How replicas are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// So many replicas, spread over the nodes that match.
    Spread {
        /// Total over all nodes.
        replicas: u32,
    },
    /// One replica on every node that matches.
    EveryNode,
}

/// What the planner needs to know of a node; `crate::node` makes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Labels of the core Node.
    pub labels: BTreeMap<String, String>,
    /// Taints of the core Node.
    pub taints: Vec<Taint>,
    /// Whether it answers.
    pub standing: Standing,
    /// What its agent can do; `None` while the agent has not said.
    pub features: Option<BTreeSet<String>>,
    /// Memory the node's agent offers to components.
    pub memory: Bytes,
    /// What components outside this plan have reserved of it.
    pub reserved: Bytes,
}

/// Whether a node can take components, keep them, or has lost them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Takes and keeps.
    Ready,
    /// Nothing new goes there, what is there stays: not ready, but not long
    /// enough (or too many nodes at once) to move anything.
    Suspended,
    /// Silent for longer than the grace period: its replicas move.
    Lost,
}

/// Replicas per node of one component; never holds a zero.
pub type Counts = BTreeMap<String, u32>;

/// What is to run where, and why not elsewhere.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Replicas per component and node.
    pub assigned: BTreeMap<Key, Counts>,
    /// For each component, why each node that takes no (further) replica could not.
    pub refused: BTreeMap<Key, BTreeMap<String, Refusal>>,
    /// Replicas that found no node.
    pub missing: BTreeMap<Key, u32>,
}

/// Memory that is not reserved yet, by node.
type Free<'a> = BTreeMap<&'a str, u64>;

/// Plans all `demands` at once over `nodes`, starting from what is `present`.
///
/// Planning again from its own outcome changes nothing.
pub fn plan(
    demands: &BTreeMap<Key, Demand>,
    nodes: &BTreeMap<String, Node>,
    present: &BTreeMap<Key, Counts>,
) -> Outcome {
    let mut free: Free<'_> = nodes
        .iter()
        .map(|(name, node)| (name.as_str(), node.memory.0.saturating_sub(node.reserved.0)))
        .collect();
    let layouts: Vec<Layout<'_>> = demands
        .iter()
        .map(|(key, demand)| Layout::new(key, demand, nodes))
        .collect();

    // Reserve what stays for everybody before anybody gets something new:
    // otherwise the order of names would decide who has to move.
    let mut counts: Vec<Counts> = layouts
        .iter()
        .map(|layout| layout.keep(present.get(layout.key)))
        .collect();
    for (layout, kept) in layouts.iter().zip(&counts) {
        for (name, count) in kept {
            let memory = layout.demand.memory.0.saturating_mul(u64::from(*count));
            take(&mut free, name, memory);
        }
    }

    // A move of one component can make room for another. Every change adds a
    // replica or levels a count, so this ends; the bound is for the reader.
    let rounds = demands
        .values()
        .map(|demand| demand.most(nodes.len()))
        .fold(1, usize::saturating_add);
    for _ in 0..rounds {
        let mut changed = false;
        for (layout, counts) in layouts.iter().zip(&mut counts) {
            changed |= layout.fill(&mut free, counts);
            changed |= layout.level(&mut free, counts);
        }
        if !changed {
            break;
        }
    }

    let mut outcome = Outcome::default();
    for (layout, counts) in layouts.into_iter().zip(counts) {
        let refused = layout.refused(&free, &counts);
        let missing = layout.missing(&counts, &refused);
        outcome.refused.insert(layout.key.clone(), refused);
        outcome.missing.insert(layout.key.clone(), missing);
        outcome.assigned.insert(layout.key.clone(), counts);
    }
    outcome
}

impl Demand {
    /// Why `node` may not keep a replica that is there, if it may not.
    pub fn evicts(&self, node: &Node) -> Option<Refusal> {
        if node.standing == Standing::Lost {
            return Some(Refusal::Lost);
        }
        // An agent that has not said what it can do is not known to lack it.
        let lacks = || node.features.as_ref().and_then(|known| self.lacks(known));
        self.mismatch(node).or_else(lacks).or_else(|| {
            self.untolerated(node)
                .find(|taint| taint::evicts(taint))
                .map(Refusal::taint)
        })
    }

    /// Why `node` may not take a new replica, memory and spread apart.
    fn refuses(&self, node: &Node) -> Option<Refusal> {
        match node.standing {
            Standing::Lost => return Some(Refusal::Lost),
            Standing::Suspended => return Some(Refusal::NotReady),
            Standing::Ready => {}
        }
        let lacks = || match &node.features {
            Some(known) => self.lacks(known),
            None => Some(Refusal::NotReady),
        };
        self.mismatch(node).or_else(lacks).or_else(|| {
            self.untolerated(node)
                .find(|taint| !taint::only_deters(taint))
                .map(Refusal::taint)
        })
    }

    /// How many taints make `node` a later choice without forbidding it.
    fn deterrents(&self, node: &Node) -> usize {
        self.untolerated(node)
            .filter(|taint| taint::only_deters(taint))
            .count()
    }

    fn untolerated<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a Taint> {
        taint::untolerated(&node.taints, &self.tolerations, self.mode)
    }

    fn lacks(&self, known: &BTreeSet<String>) -> Option<Refusal> {
        self.features
            .difference(known)
            .next()
            .map(|feature| Refusal::Feature {
                feature: feature.clone(),
            })
    }

    /// What of the labels that are asked for is not there.
    fn mismatch(&self, node: &Node) -> Option<Refusal> {
        let selector = self
            .node_selector
            .iter()
            .find(|(key, value)| node.labels.get(*key) != Some(*value));
        if let Some((key, value)) = selector {
            return Some(Refusal::Selector {
                label: format!("{key}={value}"),
            });
        }
        (!self.affinity.admits(&node.labels)).then(|| Refusal::Affinity {
            requirement: self.affinity.requirement(),
        })
    }

    /// The most replicas this demand can come to on `nodes` nodes.
    fn most(&self, nodes: usize) -> usize {
        match self.mode {
            Mode::Spread { replicas } => usize::try_from(replicas).unwrap_or(usize::MAX),
            Mode::EveryNode => nodes,
        }
    }
}

fn take(free: &mut Free<'_>, name: &str, bytes: u64) {
    if let Some(left) = free.get_mut(name) {
        *left = left.saturating_sub(bytes);
    }
}

/// Replicas on all nodes together.
pub fn total(counts: &Counts) -> u32 {
    counts
        .values()
        .fold(0, |sum: u32, count| sum.saturating_add(*count))
}
