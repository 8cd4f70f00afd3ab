//! How long the nodes of a component have made no progress: the leader's memory.
//!
//! A new leader starts to count anew, which makes a deadline longer, never shorter. Called by
//! `observe`.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::ComponentPlacement;
use crds::placement::Phase;
use kube::ResourceExt;
use tokio::time::Instant;

/// Since when the nodes of each component are as far as they are, by the component's uid.
#[derive(Debug, Default)]
pub struct Standstill {
    since: BTreeMap<String, (Vec<Stand>, Instant)>,
}

/// How far one node is, as far as it counts: a revision that fails and is tried again is as
/// far as before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stand {
    uid: String,
    told: Vec<(String, u32)>,
    serving: Option<String>,
    prepared: Vec<String>,
}

impl Standstill {
    /// How long the placements of a component have been as they are at `now`.
    pub fn observe<'a>(
        &mut self,
        component: &str,
        placements: impl Iterator<Item = &'a ComponentPlacement>,
        now: Instant,
    ) -> Duration {
        let stands: Vec<Stand> = placements.map(Stand::of).collect();
        let entry = self
            .since
            .entry(component.to_owned())
            .or_insert_with(|| (stands.clone(), now));
        if entry.0 != stands {
            *entry = (stands, now);
        }
        now.saturating_duration_since(entry.1)
    }

    /// Forgets components that no longer exist.
    pub fn retain(&mut self, exists: impl Fn(&str) -> bool) {
        self.since.retain(|uid, _| exists(uid));
    }
}

impl Stand {
    fn of(placement: &ComponentPlacement) -> Self {
        let told = placement.spec.revisions.iter();
        let status = placement.status.as_ref();
        let is_prepared = |phase: Phase| matches!(phase, Phase::Prepared | Phase::Serving);
        Self {
            uid: placement.uid().unwrap_or_default(),
            told: told.map(|one| (one.name.clone(), one.weight)).collect(),
            serving: status.and_then(|status| status.serving.clone()),
            prepared: status
                .into_iter()
                .flat_map(|status| &status.revisions)
                .filter(|revision| is_prepared(revision.phase))
                .map(|revision| revision.name.clone())
                .collect(),
        }
    }
}
