//! What runs is judged again when a policy or a root changes, unless neither concerns it.
//! Nothing is stopped for it: what would be refused today goes on serving and is reported. The
//! operator stops what a policy with `whenRunning: Stop` refuses, wave by wave.

use std::sync::Arc;

use capability::Ceiling;

use super::Control;
use super::plan::Phase;
use super::prepare::Reviewed;
use crate::desired::PlacementKey;
use crate::message::{Refused, SlotId};
use crate::source::Source;
use crate::text::printable;

/// What is said of a revision that runs, after something it was admitted by has changed.
pub(super) struct Review {
    placement: PlacementKey,
    slot: SlotId,
    revision: String,
    /// The ceilings of its namespace today: they hold whether it would be admitted or not.
    ceilings: Vec<Ceiling>,
    outcome: Outcome,
}

enum Outcome {
    Reviewed(Box<Reviewed>),
    /// A policy says that it is to be stopped, and it is not known to have been admitted by
    /// anything else.
    Refused(Refused),
}

impl<S: Source + ?Sized> Control<S> {
    /// Judges everything that runs by what is known now. Nothing is stopped for it.
    pub(super) fn start_reviews(&mut self) {
        self.review_at = None;
        self.reviews.abort_all();
        for (key, slot) in &self.running.slots {
            let (Some(placement), Some(facts)) =
                (self.desired.placements.get(key), self.slots.get(key))
            else {
                continue;
            };
            let prepared = placement.revisions.iter().filter(|wanted| {
                let running = slot.revisions.get(&wanted.name);
                running.is_some_and(|running| running.phase == Phase::Prepared)
            });
            for wanted in prepared {
                let (preparer, placement) = (Arc::clone(&self.preparer), placement.clone());
                let (wanted, key, slot) = (wanted.clone(), key.clone(), facts.id);
                let before = facts.judged.get(&wanted.name).cloned();
                self.reviews.spawn(async move {
                    // What could not be read says nothing about the component.
                    let trust = preparer.trust(&placement.component).await.ok()?;
                    let ceilings = trust.ceilings.clone();
                    let reviewed = preparer.review(&placement, &wanted, before.as_ref(), trust);
                    let outcome = match reviewed.await {
                        Ok(reviewed) => Outcome::Reviewed(Box::new(reviewed?)),
                        Err(error) if error.is_verdict() => Outcome::Refused(Refused {
                            reason: error.reason(),
                            message: printable(&error.to_string()),
                        }),
                        // One that could not be made says nothing about the component.
                        Err(_) => return None,
                    };
                    Some(Review {
                        placement: key,
                        slot,
                        revision: wanted.name,
                        ceilings,
                        outcome,
                    })
                });
            }
        }
    }

    pub(super) fn reviewed(&mut self, review: Option<Review>) {
        let Some(Review {
            placement,
            slot,
            revision,
            ceilings,
            outcome,
        }) = review
        else {
            return;
        };
        let Some(facts) = self
            .slots
            .get_mut(&placement)
            .filter(|facts| facts.id == slot)
        else {
            return;
        };
        if let Some(loaded) = facts.loaded.get_mut(&revision)
            && loaded.effective.ceilings != ceilings
        {
            // The next instances get no more than what is allowed today.
            loaded.effective.ceilings = ceilings;
            self.refreshes.due_now(&placement, &revision);
        }
        let doubt = match outcome {
            Outcome::Reviewed(reviewed) => {
                facts.judged.insert(revision.clone(), reviewed.judged);
                reviewed.doubt
            }
            Outcome::Refused(refused) => {
                // What it was admitted by counts no more: look again at the next change.
                facts.judged.remove(&revision);
                Some(refused)
            }
        };
        match doubt {
            Some(doubt) => {
                // Once, however often it is found out.
                if facts.doubts.get(&revision) != Some(&doubt) {
                    tracing::warn!(%placement, revision, reason = %doubt.reason, "{}", doubt.message);
                }
                facts.doubts.insert(revision, doubt);
            }
            None => {
                facts.doubts.remove(&revision);
            }
        }
    }
}
