//! Spread constraints: how unequal the domains of a topology (zones, racks,
//! hosts) may become.
//!
//! Pure; the planner asks. The rules are those of `topologySpreadConstraints`
//! with both inclusion policies `Honor`: a domain counts when a node of it could
//! take the component, so that a lost zone does not hold up the others.

use std::collections::{BTreeMap, BTreeSet};

use super::{Counts, Node, Refusal};

/// One wish about how replicas are spread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// The label whose values are the domains.
    pub topology_key: String,
    /// How many replicas a domain may be ahead of the emptiest one.
    pub max_skew: u32,
    /// Whether a node that would break it is refused; otherwise it is a later choice.
    pub required: bool,
}

/// A constraint over the nodes of one plan.
#[derive(Debug)]
pub(super) struct Topology<'a> {
    pub(super) constraint: &'a Constraint,
    /// The domain of every node that has one.
    domains: BTreeMap<&'a str, &'a str>,
    /// Domains with a node that could take a replica.
    open: BTreeSet<&'a str>,
}

/// Replicas per domain, and in the emptiest of those that count.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    counts: BTreeMap<&'a str, u32>,
    least: u32,
}

/// By how many replicas the constraints are broken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Excess {
    pub(super) required: u64,
    pub(super) preferred: u64,
}

impl<'a> Topology<'a> {
    /// `open` are the nodes that could take a replica, memory apart.
    pub(super) fn new(
        constraint: &'a Constraint,
        nodes: &'a BTreeMap<String, Node>,
        open: impl Iterator<Item = &'a str>,
    ) -> Self {
        let domains: BTreeMap<&str, &str> = nodes
            .iter()
            .filter_map(|(name, node)| {
                let domain = node.labels.get(&constraint.topology_key)?;
                Some((name.as_str(), domain.as_str()))
            })
            .collect();
        let open = open.filter_map(|name| domains.get(name).copied()).collect();
        Self {
            constraint,
            domains,
            open,
        }
    }

    pub(super) fn tally(&self, counts: &Counts) -> Tally<'a> {
        let mut tally: BTreeMap<&str, u32> = self.open.iter().map(|domain| (*domain, 0)).collect();
        for (name, count) in counts {
            if let Some(domain) = self.domains.get(name.as_str()) {
                let sum = tally.entry(domain).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        let least = self
            .open
            .iter()
            .filter_map(|domain| tally.get(domain))
            .min();
        Tally {
            least: least.copied().unwrap_or_default(),
            counts: tally,
        }
    }

    /// Replicas in the domain of `node`; none has none.
    pub(super) fn held(&self, tally: &Tally<'_>, node: &str) -> u32 {
        let domain = self.domains.get(node);
        domain
            .and_then(|domain| tally.counts.get(domain).copied())
            .unwrap_or_default()
    }

    /// By how much one more replica on `node` would go beyond the constraint.
    pub(super) fn beyond(&self, tally: &Tally<'_>, node: &str) -> u32 {
        self.held(tally, node)
            .saturating_add(1)
            .saturating_sub(tally.least)
            .saturating_sub(self.constraint.max_skew)
    }

    /// Why `node` may not take one more replica, if the constraint forbids it.
    pub(super) fn refuses(&self, tally: &Tally<'_>, node: &str) -> Option<Refusal> {
        let constraint = self.constraint;
        if !constraint.required {
            return None;
        }
        let topology_key = constraint.topology_key.clone();
        if !self.domains.contains_key(node) {
            return Some(Refusal::NoDomain { topology_key });
        }
        (self.beyond(tally, node) > 0).then_some(Refusal::Spread {
            topology_key,
            max_skew: constraint.max_skew,
        })
    }

    /// How far `counts` are beyond the constraint.
    pub(super) fn excess(&self, counts: &Counts) -> Excess {
        let tally = self.tally(counts);
        let allowed = tally.least.saturating_add(self.constraint.max_skew);
        let beyond = tally
            .counts
            .values()
            .map(|count| u64::from(count.saturating_sub(allowed)))
            .fold(0, u64::saturating_add);
        if self.constraint.required {
            Excess {
                required: beyond,
                preferred: 0,
            }
        } else {
            Excess {
                required: 0,
                preferred: beyond,
            }
        }
    }
}

impl Excess {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            required: self.required.saturating_add(other.required),
            preferred: self.preferred.saturating_add(other.preferred),
        }
    }
}
