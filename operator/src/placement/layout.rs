//! One component over the nodes of a plan: what it keeps, what it adds, what it
//! levels, and why it is not elsewhere.
//!
//! Pure; `plan` calls the steps in turn for every component, with the free memory
//! they all share. What depends only on component and node is worked out once.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use capability::Bytes;

use super::spread::{Excess, Tally, Topology};
use super::{Counts, Demand, Free, Mode, Node, Refusal, Standing, take, total};
use crate::component::Key;

/// A component's demand against the nodes.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    pub(super) key: &'a Key,
    pub(super) demand: &'a Demand,
    nodes: &'a BTreeMap<String, Node>,
    /// Nodes that may take a replica, memory and spread apart.
    open: BTreeMap<&'a str, Liking>,
    topologies: Vec<Topology<'a>>,
}

/// How welcome a node is among those that hold equally few; less is better. The
/// last is a hash that differs from component to component: without it the first
/// replica of everything would go to the same node.
type Liking = (usize, Reverse<i64>, u64);

impl<'a> Layout<'a> {
    pub(super) fn new(key: &'a Key, demand: &'a Demand, nodes: &'a BTreeMap<String, Node>) -> Self {
        let open: BTreeMap<&str, Liking> = nodes
            .iter()
            .filter(|(_, node)| demand.refuses(node).is_none())
            .map(|(name, node)| {
                let score = Reverse(demand.affinity.score(&node.labels));
                let liking = (demand.deterrents(node), score, rank(key, name));
                (name.as_str(), liking)
            })
            .collect();
        let topologies = demand
            .spread
            .iter()
            .map(|constraint| Topology::new(constraint, nodes, open.keys().copied()))
            .collect();
        Self {
            key,
            demand,
            nodes,
            open,
            topologies,
        }
    }

    /// What of the present stays, less what a scale-down gives up.
    pub(super) fn keep(&self, present: Option<&Counts>) -> Counts {
        let stays = |name: &String| {
            let node = self.nodes.get(name);
            node.is_some_and(|node| self.demand.evicts(node).is_none())
        };
        let mut kept: Counts = present
            .into_iter()
            .flatten()
            .filter(|(name, count)| **count > 0 && stays(name))
            .map(|(name, count)| (name.clone(), *count))
            .collect();
        match self.demand.mode {
            Mode::EveryNode => kept.values_mut().for_each(|count| *count = 1),
            Mode::Spread { replicas: 0 } => kept.clear(),
            Mode::Spread { replicas } => {
                for _ in replicas..total(&kept) {
                    let Some(victim) = self.victim(&kept) else {
                        break;
                    };
                    release_one(&mut kept, &victim);
                }
            }
        }
        kept
    }

    /// Adds what is missing; says whether anything was added.
    pub(super) fn fill(&self, free: &mut Free<'_>, counts: &mut Counts) -> bool {
        let before = total(counts);
        match self.demand.mode {
            Mode::EveryNode => {
                for name in self.open.keys() {
                    if !counts.contains_key(*name) && self.fits(free, name) {
                        self.add(free, counts, name);
                    }
                }
            }
            Mode::Spread { replicas } => {
                for _ in before..replicas {
                    let Some(name) = self.best(free, counts) else {
                        break;
                    };
                    self.add(free, counts, name);
                }
            }
        }
        total(counts) != before
    }

    /// Moves single replicas while a required spread is broken less by it, or one
    /// usable node holds two more than another and no constraint suffers.
    pub(super) fn level(&self, free: &mut Free<'_>, counts: &mut Counts) -> bool {
        let mut changed = false;
        // Each move lowers what is broken or the sum of squares; as many moves as
        // replicas suffice, and the next round goes on if ever they do not.
        for _ in 0..self.demand.most(self.nodes.len()) {
            let Some((from, to)) = self.better_move(free, counts) else {
                break;
            };
            release_one(counts, &from);
            if let Some(left) = free.get_mut(from.as_str()) {
                *left = left.saturating_add(self.demand.memory.0);
            }
            self.add(free, counts, to);
            changed = true;
        }
        changed
    }

    /// Why each node that takes no (further) replica could not.
    pub(super) fn refused(&self, free: &Free<'_>, counts: &Counts) -> BTreeMap<String, Refusal> {
        let tallies = self.tallies(counts);
        let refusal = |name: &str, node: &Node| {
            let spread = || {
                let mut constraints = self.topologies.iter().zip(&tallies);
                constraints.find_map(|(topology, tally)| topology.refuses(tally, name))
            };
            let left = free.get(name).copied().unwrap_or_default();
            let short = || {
                (left < self.demand.memory.0).then_some(Refusal::Memory {
                    wanted: self.demand.memory,
                    free: Bytes(left),
                })
            };
            self.demand.refuses(node).or_else(spread).or_else(short)
        };
        self.nodes
            .iter()
            // One is all that a node gets of these.
            .filter(|(name, _)| self.demand.mode != Mode::EveryNode || !counts.contains_key(*name))
            .filter_map(|(name, node)| Some((name.clone(), refusal(name, node)?)))
            .collect()
    }

    /// Replicas that found no node.
    pub(super) fn missing(&self, counts: &Counts, refused: &BTreeMap<String, Refusal>) -> u32 {
        match self.demand.mode {
            Mode::Spread { replicas } => replicas.saturating_sub(total(counts)),
            // A node that does not match is not missing; one that matches but is full is.
            Mode::EveryNode => {
                let full = refused
                    .values()
                    .filter(|refusal| matches!(refusal, Refusal::Memory { .. }))
                    .count();
                u32::try_from(full).unwrap_or(u32::MAX)
            }
        }
    }

    /// Where a scale-down takes the next replica: from the fullest domains, then the
    /// fullest node, then one that would not take it again, then the least liked.
    fn victim(&self, counts: &Counts) -> Option<String> {
        let tallies = self.tallies(counts);
        let held = |name: &str, required: bool| -> u64 {
            self.topologies
                .iter()
                .zip(&tallies)
                .filter(|(topology, _)| topology.constraint.required == required)
                .map(|(topology, tally)| u64::from(topology.held(tally, name)))
                .fold(0, u64::saturating_add)
        };
        counts
            .iter()
            .max_by_key(|(name, count)| {
                let liking = self.open.get(name.as_str());
                (
                    held(name, true),
                    held(name, false),
                    **count,
                    liking.is_none(),
                    liking.copied(),
                    rank(self.key, name),
                )
            })
            .map(|(name, _)| name.clone())
    }

    /// The node that should get the next replica.
    fn best(&self, free: &Free<'_>, counts: &Counts) -> Option<&'a str> {
        let tallies = self.tallies(counts);
        let constraints = || self.topologies.iter().zip(&tallies);
        self.open
            .iter()
            .filter(|(name, _)| self.fits(free, name))
            .filter(|(name, _)| constraints().all(|(of, tally)| of.refuses(tally, name).is_none()))
            .min_by_key(|(name, liking)| {
                let beyond = constraints()
                    .map(|(of, tally)| u64::from(of.beyond(tally, name)))
                    .fold(0, u64::saturating_add);
                let held = counts.get(**name).copied().unwrap_or_default();
                let (deterrents, score, rank) = **liking;
                let room = free.get(**name).copied().unwrap_or_default();
                (beyond, held, deterrents, score, Reverse(room), rank)
            })
            .map(|(name, _)| *name)
    }

    /// A move of one replica that makes the layout better, if there is one.
    fn better_move(&self, free: &Free<'_>, counts: &Counts) -> Option<(String, &'a str)> {
        let before = self.excess(counts);
        if before.required == 0 && !self.uneven(counts) {
            return None;
        }
        let mut givers: Vec<(&String, u32)> = counts
            .iter()
            .filter(|(name, _)| {
                let node = self.nodes.get(*name);
                node.is_some_and(|node| node.standing == Standing::Ready)
            })
            .map(|(name, count)| (name, *count))
            .collect();
        givers.sort_by_key(|(name, count)| Reverse((*count, rank(self.key, name))));
        givers.into_iter().find_map(|(from, count)| {
            let mut after = counts.clone();
            release_one(&mut after, from);
            let to = self.best(free, &after).filter(|to| *to != from)?;
            let held = after.get(to).copied().unwrap_or_default();
            after.insert(to.to_owned(), held.saturating_add(1));
            let now = self.excess(&after);
            let levels = count >= held.saturating_add(2);
            let mends = now.required < before.required;
            let harmless = now.required == before.required && now.preferred <= before.preferred;
            (mends || (harmless && levels)).then(|| (from.clone(), to))
        })
    }

    /// Whether some node that could take more holds two less than another.
    fn uneven(&self, counts: &Counts) -> bool {
        let held = |name: &&str| counts.get(*name).copied().unwrap_or_default();
        let least = self.open.keys().map(held).min();
        let most = counts.values().max();
        matches!((least, most), (Some(least), Some(most)) if *most >= least.saturating_add(2))
    }

    fn excess(&self, counts: &Counts) -> Excess {
        self.topologies
            .iter()
            .map(|topology| topology.excess(counts))
            .fold(Excess::default(), Excess::plus)
    }

    fn tallies(&self, counts: &Counts) -> Vec<Tally<'a>> {
        self.topologies
            .iter()
            .map(|topology| topology.tally(counts))
            .collect()
    }

    fn fits(&self, free: &Free<'_>, name: &str) -> bool {
        free.get(name)
            .is_some_and(|left| *left >= self.demand.memory.0)
    }

    fn add(&self, free: &mut Free<'_>, counts: &mut Counts, name: &str) {
        take(free, name, self.demand.memory.0);
        let count = counts.entry(name.to_owned()).or_default();
        *count = count.saturating_add(1);
    }
}

fn release_one(counts: &mut Counts, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(name);
        }
    }
}

/// FNV-1a over component and node: a tie-break that is the same in every build.
fn rank(key: &Key, node: &str) -> u64 {
    [key.namespace.as_str(), key.name.as_str(), node]
        .iter()
        .flat_map(|part| part.bytes().chain(std::iter::once(0)))
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
