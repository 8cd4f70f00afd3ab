//! What runs is given anew: values, files and credentials that may have changed since it was
//! prepared, and what a policy allows today. One request to the hand-over for a revision that
//! names values, none for any other; the next instances see what came. Part of the loop.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Control;
use super::plan::Phase;
use super::prepare::{Loaded, PrepareError, Provided};
use super::validate;
use crate::desired::PlacementKey;
use crate::message::{SlotId, ToWorker};
use crate::source::Source;

/// Refreshes at once, on the whole node: the hand-over has other nodes to serve.
const AT_ONCE: usize = 4;
/// How soon it is tried again while the revision is not loaded yet, or just busy.
const SOON: Duration = Duration::from_secs(1);

/// Which revisions are due when.
pub(super) struct Refreshes {
    every: Duration,
    node: String,
    due: BTreeMap<(PlacementKey, String), Instant>,
    turns: Arc<Semaphore>,
    pub(super) under_way: JoinSet<Refreshed>,
}

/// What came of a refresh.
pub(super) struct Refreshed {
    placement: PlacementKey,
    slot: SlotId,
    revision: String,
    result: Result<Option<Provided>, PrepareError>,
}

impl Refreshes {
    pub(super) fn new(every: Duration, node: String) -> Self {
        Self {
            every,
            node,
            due: BTreeMap::new(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            under_way: JoinSet::new(),
        }
    }

    /// A revision that was just given what there is now.
    fn schedule(&mut self, placement: &PlacementKey, loaded: &Loaded) {
        if !validate::needs_values(&loaded.document) {
            return;
        }
        let revision = loaded.document.revision_name();
        // A wave prepares a component on many nodes at once: they shall not ask at once ever
        // after.
        let mut hasher = DefaultHasher::new();
        (&self.node, placement, &revision).hash(&mut hasher);
        let share = u32::try_from(hasher.finish() % 1_000).unwrap_or_default();
        let spread = self.every / 3;
        let after = self.every - spread + spread * share / 1_000;
        self.due
            .insert((placement.clone(), revision), Instant::now() + after);
    }

    pub(super) fn due_now(&mut self, placement: &PlacementKey, revision: &str) {
        self.due_in(placement, revision, Duration::ZERO);
    }

    fn due_in(&mut self, placement: &PlacementKey, revision: &str, after: Duration) {
        let key = (placement.clone(), revision.to_owned());
        self.due.insert(key, Instant::now() + after);
    }

    pub(super) fn forget(&mut self, placement: &PlacementKey, revision: &str) {
        self.due.remove(&(placement.clone(), revision.to_owned()));
    }

    pub(super) fn forget_slot(&mut self, placement: &PlacementKey) {
        self.due.retain(|(of, _), _| of != placement);
    }

    pub(super) fn forget_all(&mut self) {
        self.due.clear();
        self.under_way.abort_all();
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }
}

impl<S: Source + ?Sized> Control<S> {
    /// Remembers what a revision was loaded with, and when to look again.
    pub(super) fn provided(&mut self, key: &PlacementKey, loaded: Loaded) {
        self.refreshes.schedule(key, &loaded);
        self.auditor.loaded(&loaded);
        if let Some(facts) = self.slots.get_mut(key) {
            facts.loaded.insert(loaded.document.revision_name(), loaded);
        }
    }

    pub(super) fn start_refreshes(&mut self, now: Instant) {
        let due: Vec<(PlacementKey, String)> = {
            let due = self.refreshes.due.iter().filter(|(_, at)| **at <= now);
            due.map(|(key, _)| key.clone()).collect()
        };
        for (placement, revision) in due {
            self.refreshes.forget(&placement, &revision);
            let slot = self.running.slots.get(&placement);
            let phase = slot.and_then(|slot| slot.revisions.get(&revision));
            let facts = self.slots.get(&placement);
            let loaded = facts.and_then(|facts| Some((facts.id, facts.loaded.get(&revision)?)));
            let (Some(running), Some((slot, loaded))) = (phase, loaded) else {
                continue;
            };
            match running.phase {
                Phase::Prepared => {}
                // The worker does not know it yet.
                Phase::Preparing => {
                    self.refreshes.due_in(&placement, &revision, SOON);
                    continue;
                }
                Phase::Draining | Phase::Failed(_) => continue,
            }
            let (document, effective) = (Arc::clone(&loaded.document), loaded.effective.clone());
            let (before, preparer) = (loaded.given, Arc::clone(&self.preparer));
            let turns = Arc::clone(&self.refreshes.turns);
            self.refreshes.under_way.spawn(async move {
                // The semaphore is never closed.
                let _turn = turns.acquire_owned().await;
                let result = preparer.provide(&document, effective, Some(&before)).await;
                Refreshed {
                    placement,
                    slot,
                    revision,
                    result,
                }
            });
        }
    }

    pub(super) async fn refreshed(&mut self, refreshed: Refreshed) {
        let Refreshed {
            placement,
            slot,
            revision,
            result,
        } = refreshed;
        let facts = self
            .slots
            .get_mut(&placement)
            .filter(|facts| facts.id == slot);
        let Some(loaded) = facts.and_then(|facts| facts.loaded.get_mut(&revision)) else {
            return;
        };
        self.refreshes.schedule(&placement, loaded);
        match result {
            Ok(None) => {}
            // A policy has changed while values were on their way: they are asked for again.
            Ok(Some(provided)) if provided.provision.effective != loaded.effective => {
                self.refreshes.due_now(&placement, &revision);
            }
            Ok(Some(provided)) => {
                loaded.given = provided.given;
                let message = ToWorker::Refresh {
                    slot,
                    revision,
                    provision: Box::new(provided.provision),
                };
                self.tell(message, provided.directories).await;
            }
            Err(error) => {
                tracing::warn!(
                    %placement, revision, reason = %error.reason(),
                    "what the component is given could not be brought up to date: {error}; it goes on with what it has"
                );
                // A policy may have taken something away: that must not wait for long.
                if provisional(&error) {
                    self.refreshes
                        .due_in(&placement, &revision, self.refreshes.every / 3);
                }
            }
        }
    }
}

/// Whether it may go better without anybody changing anything.
fn provisional(error: &PrepareError) -> bool {
    matches!(error, PrepareError::Source(_) | PrepareError::Interrupted)
}
