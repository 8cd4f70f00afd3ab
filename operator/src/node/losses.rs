//! Which lost nodes are given up, one after the other.
//!
//! Pure: time comes in. Beyond the pace a lost node is only suspended: its endpoints
//! are withdrawn, and what was placed there waits for its turn to move. Knows nothing
//! of why a node is lost; `crate::node` calls it, after silence in masses was forgiven.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::Nodes;
use crate::placement::Standing;

/// At most one node is given up in this time: node-lifecycle-controller's 0.1 nodes
/// a second. What fells nodes one by one, or makes them only look so, moves their
/// components to the nodes that are left, which fetch and compile them at once; at
/// this pace they keep up, and a person can step in before the fleet has moved.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// The nodes that were given up, and when the last one was.
#[derive(Debug, Default)]
pub struct Losses {
    given_up: BTreeSet<String>,
    last: Option<Instant>,
}

impl Losses {
    /// Lets of the lost nodes in `facts` only those be lost whose turn has come at
    /// `now`; the longest `silent` comes first. A node that came back and is lost
    /// again waits for a turn again.
    pub fn pace(&mut self, facts: &mut Nodes, silent: &BTreeMap<String, Duration>, now: Instant) {
        let mut lost: Vec<&String> = facts
            .iter()
            .filter(|(_, fact)| fact.planned.standing == Standing::Lost)
            .map(|(name, _)| name)
            .collect();
        self.given_up.retain(|name| lost.contains(&name));
        lost.sort_by_key(|name| Reverse(silent.get(*name).copied().unwrap_or_default()));
        let is_due = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= INTERVAL);
        let next = lost.into_iter().find(|name| !self.given_up.contains(*name));
        if let Some(next) = next.filter(|_| is_due) {
            self.given_up.insert(next.clone());
            self.last = Some(now);
        }
        for (name, fact) in facts {
            if fact.planned.standing == Standing::Lost && !self.given_up.contains(name) {
                fact.planned.standing = Standing::Suspended;
            }
        }
    }
}
