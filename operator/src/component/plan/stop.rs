//! What trust policies mean for code that runs: nothing is started that they refuse,
//! and nothing is stopped unless one of them says so.
//!
//! Pure; `plan` calls it. Only a policy that decides, covers the image, refuses it
//! and says `whenRunning: Stop` stops anything: `maxParallel` nodes at a time, with a
//! pause in between, because a policy may be a mistake. Policies that are gone, or
//! that could not be judged by, stop nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use artifact::Digest;
use crds::ComponentPlacement;
use crds::condition::{self, ConditionType};
use crds::placement::PlacedRevision;

use super::outlook::Target;
use crate::component::Validated;
use crate::component::observe::Observed;
use crate::placement::Counts;
use crate::resolver::Resolution;

/// The shortest time between two waves: long enough to see what a policy does and
/// to take it back.
const PAUSE: Duration = Duration::from_secs(10);

/// What the policies of today forbid.
#[derive(Debug, Default)]
pub(super) struct Stops {
    /// Digests that are to be stopped.
    digests: BTreeSet<String>,
}

/// The placements that lose what is to be stopped now.
#[derive(Debug, Default)]
pub(super) struct Wave {
    /// Placements that hold something else too, without what is to be stopped.
    pub(super) update: Vec<ComponentPlacement>,
    /// Placements that hold nothing else.
    pub(super) delete: Vec<ComponentPlacement>,
    /// When the next wave is due.
    pub(super) again: Option<Duration>,
}

impl Stops {
    pub(super) fn of(observed: &Observed) -> Self {
        let reviewed = observed.reviews.iter().filter_map(|review| {
            let refusal = review.refusal.as_ref()?;
            refusal.stops.then(|| review.digest.to_string())
        });
        let resolved = match &observed.resolution {
            Resolution::Failed(failure) if failure.stops => failure.digest,
            _ => None,
        };
        Self {
            digests: reviewed
                .chain(resolved.as_ref().map(Digest::to_string))
                .collect(),
        }
    }

    /// Whether what has this digest is to be stopped.
    pub(super) fn names(&self, digest: &str) -> bool {
        self.digests.contains(digest)
    }

    /// The next wave. `target` takes the place of what is stopped, if it may run.
    pub(super) fn wave(
        &self,
        observed: &Observed,
        validated: &Validated,
        target: Option<&Target>,
        assigned: &Counts,
    ) -> Wave {
        let mut affected = observed
            .placements
            .iter()
            .map(|placed| &placed.object)
            .filter(|object| object.metadata.deletion_timestamp.is_none())
            .filter(|object| {
                let mut held = object.spec.revisions.iter();
                held.any(|revision| self.names(&revision.digest))
            })
            .peekable();
        if affected.peek().is_none() {
            return Wave::default();
        }
        let min_ready = u64::from(validated.rollout.min_ready_seconds);
        let pause = PAUSE.max(Duration::from_secs(min_ready));
        let left = match observed.since_stop {
            Some(since) => pause.saturating_sub(since),
            None => Duration::ZERO,
        };
        if !left.is_zero() {
            return Wave {
                again: Some(left),
                ..Wave::default()
            };
        }
        let total = assigned.len().max(observed.placements.len());
        let mut wave = Wave::default();
        for object in affected.by_ref().take(validated.rollout.parallel(total)) {
            let remaining = self.remaining(&object.spec.revisions, target);
            let mut object = object.clone();
            if remaining.is_empty() {
                wave.delete.push(object);
            } else {
                object.spec.revisions = remaining;
                wave.update.push(object);
            }
        }
        wave.again = affected.next().map(|_| pause);
        wave
    }

    /// What a placement holds once it has lost what is to be stopped.
    pub(super) fn remaining(
        &self,
        held: &[PlacedRevision],
        target: Option<&Target>,
    ) -> Vec<PlacedRevision> {
        let kept = held
            .iter()
            .find(|revision| !self.names(&revision.digest))
            .map(|revision| PlacedRevision {
                weight: 100,
                ..revision.clone()
            });
        let replaced = || {
            target.map(|target| PlacedRevision {
                name: target.name.clone(),
                digest: target.digest.clone(),
                weight: 100,
            })
        };
        kept.or_else(replaced).into_iter().collect()
    }
}

/// Whether the policies of today refuse what has this digest: then no node begins
/// with it, though nodes that run it go on. While it is not known, what was said
/// last counts.
pub(super) fn is_refused(observed: &Observed, digest: &str) -> bool {
    let status = observed.component.status.as_ref();
    let resolved = status.and_then(|status| status.resolved.as_ref());
    let is_of_the_spec = resolved.is_some_and(|resolved| {
        resolved.image == observed.component.spec.image && resolved.digest == digest
    });
    match &observed.resolution {
        Resolution::Done(_) => false,
        Resolution::Failed(failure) if failure.verdict => match &failure.digest {
            Some(refused) => refused.to_string() == digest,
            // Refused before the registry was asked: the image as a whole.
            None => is_of_the_spec,
        },
        Resolution::Pending | Resolution::Failed(_) => {
            let conditions = status.map(|status| status.conditions.as_slice());
            let verified = condition::find(conditions.unwrap_or_default(), ConditionType::Verified);
            is_of_the_spec && verified.is_some_and(|verified| verified.status == "False")
        }
    }
}
