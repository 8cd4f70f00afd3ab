//! Why a node takes no replica of a component, one by one and in sum.
//!
//! Text for people, in the form that `kubectl describe pod` has taught them:
//! `0/5 nodes can take one: 3 lack the label disk=ssd (…), …`. Pure; the planner
//! makes refusals, the condition `Placed` shows them.

use std::collections::BTreeMap;
use std::fmt;

use capability::Bytes;
use crds::wasm_node::feature;
use k8s_openapi::api::core::v1::Taint;

/// Nodes named behind each reason; the rest is counted.
const NAMED: usize = 3;

/// Why a node takes no (further) replica of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The agent or the node is not ready.
    NotReady,
    /// The node has been silent for longer than the grace period.
    Lost,
    /// A label of the node selector is missing or different.
    Selector {
        /// The label that does not match, as `key=value`.
        label: String,
    },
    /// What the node affinity requires does not hold.
    Affinity {
        /// The requirement.
        requirement: String,
    },
    /// A taint that the component does not tolerate.
    Taint {
        /// The taint, as `key=value:effect`.
        taint: String,
    },
    /// The agent cannot do what the component needs: it is of another version, or was not told to.
    Feature {
        /// What it lacks.
        feature: String,
    },
    /// The node has no domain of a spread constraint.
    NoDomain {
        /// The label it lacks.
        topology_key: String,
    },
    /// The node's domain is too far ahead of the emptiest one.
    Spread {
        /// The label whose values are the domains.
        topology_key: String,
        /// How far ahead it may be.
        max_skew: u32,
    },
    /// Not enough unreserved memory.
    Memory {
        /// What one replica reserves.
        wanted: Bytes,
        /// What is left.
        free: Bytes,
    },
}

impl Refusal {
    pub(super) fn taint(taint: &Taint) -> Self {
        let value = taint
            .value
            .as_deref()
            .map(|value| format!("={value}"))
            .unwrap_or_default();
        Self::Taint {
            taint: format!("{}{value}:{}", taint.key, taint.effect),
        }
    }
}

/// Reads after "it" and after "they".
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady => write!(f, "not ready, or no ready agent"),
            Self::Lost => write!(f, "silent for longer than the grace period"),
            Self::Selector { label } => write!(f, "without the label {label}"),
            Self::Affinity { requirement } => {
                write!(f, "not as nodeAffinity requires: {requirement}")
            }
            Self::Taint { taint } => write!(f, "with the taint {taint}, which is not tolerated"),
            Self::Feature { feature } if feature == feature::PROCESS => write!(
                f,
                "without a spawner, which the component's executables need (agent.spawner of the chart)"
            ),
            Self::Feature { feature } => {
                write!(f, "with an agent that does not know {feature}")
            }
            Self::NoDomain { topology_key } => {
                write!(f, "without the label {topology_key} of a spread constraint")
            }
            Self::Spread {
                topology_key,
                max_skew,
            } => write!(
                f,
                "where one more would exceed maxSkew {max_skew} of {topology_key}"
            ),
            Self::Memory { wanted, .. } => write!(f, "with less than {wanted} of memory left"),
        }
    }
}

/// All refusals in one sentence: `0/5 nodes can take one: 3 without the label
/// disk=ssd (a, b, c), 2 with less than 8Mi of memory left (d has 4Mi, e has 0)`.
/// The commonest reason comes first.
pub fn summary(refused: &BTreeMap<String, Refusal>) -> String {
    if refused.is_empty() {
        return "there is no node".to_owned();
    }
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (node, refusal) in refused {
        let named = match refusal {
            Refusal::Memory { free, .. } => format!("{node} has {free}"),
            _ => node.clone(),
        };
        groups.entry(refusal.to_string()).or_default().push(named);
    }
    let mut groups: Vec<(String, Vec<String>)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, nodes)| std::cmp::Reverse(nodes.len()));
    let listed: Vec<String> = groups
        .iter()
        .map(|(reason, nodes)| {
            let more = nodes.len().saturating_sub(NAMED);
            let mut named: Vec<String> = nodes.iter().take(NAMED).cloned().collect();
            if more > 0 {
                named.push(format!("{more} more"));
            }
            format!("{} {reason} ({})", nodes.len(), named.join(", "))
        })
        .collect();
    format!(
        "0/{} nodes can take one: {}",
        refused.len(),
        listed.join(", ")
    )
}
