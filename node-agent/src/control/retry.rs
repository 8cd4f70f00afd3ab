//! When the loop tries again, and when it wakes without being told. Knows the clock, so that
//! the plan need not.

use std::time::{Duration, Instant};

use crds::Reason;
use crds::reason::Retry;

use super::Control;
use super::plan::{Failure, Phase};
use crate::desired::PlacementKey;
use crate::source::Source;

/// The first and the longest pause between two attempts to prepare a revision.
pub(super) const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(300);
/// The longest pause while the hand-over is away: it is close by, it bounds its own load, and
/// what was down with it shall come back with it.
const RETRY_ABSENCE: Duration = Duration::from_secs(20);

/// The attempts to prepare one revision.
pub(super) struct Attempt {
    /// How many have failed.
    pub(super) count: u32,
    /// When the next one is due.
    pub(super) at: Instant,
}

impl<S: Source + ?Sized> Control<S> {
    /// Records how a preparation ended, if it is still wanted.
    pub(super) fn settle(&mut self, key: &PlacementKey, revision: &str, failure: Option<Failure>) {
        let Some(running) = self
            .running
            .slots
            .get_mut(key)
            .and_then(|slot| slot.revisions.get_mut(revision))
        else {
            return;
        };
        if running.phase != Phase::Preparing {
            return;
        }
        let attempt_key = (key.clone(), revision.to_owned());
        let Some(failure) = failure else {
            running.phase = Phase::Prepared;
            self.retries.remove(&attempt_key);
            return;
        };
        tracing::warn!(%key, revision, reason = %failure.reason, "{}", failure.message);
        let count = self
            .retries
            .get(&attempt_key)
            .map_or(0, |attempt| attempt.count);
        let pause = match failure.reason.retry() {
            // Somebody has to change something; look now and then whether they did.
            Retry::OnChange => RETRY_LONGEST,
            Retry::WithBackoff | Retry::Soon | Retry::Settled => {
                let longest = match failure.reason {
                    Reason::HandOverUnreachable | Reason::SecretsUnavailable => RETRY_ABSENCE,
                    _ => RETRY_LONGEST,
                };
                RETRY_FIRST.saturating_mul(1 << count.min(10)).min(longest)
            }
        };
        let attempt = Attempt {
            count: count.saturating_add(1),
            at: Instant::now() + pause,
        };
        self.retries.insert(attempt_key, attempt);
        running.phase = Phase::Failed(failure);
    }

    /// When the loop has something to do without being told.
    pub(super) fn next_wake(&self) -> Instant {
        /// The loop wakes now and then even if a calculation of times should be wrong.
        const IDLE: Duration = Duration::from_secs(60);
        let now = Instant::now();
        let mut wake = now + IDLE;
        for attempt in self.retries.values() {
            wake = wake.min(attempt.at);
        }
        if !self.unopened.is_empty() {
            wake = wake.min(now + RETRY_FIRST);
        }
        if self.settling_until > now {
            wake = wake.min(self.settling_until);
        }
        let due = [
            self.stop_deadline,
            self.review_at,
            self.sweep_at,
            self.refreshes.next(),
            self.runs.next_due(),
        ];
        due.into_iter().flatten().fold(wake, Instant::min)
    }

    pub(super) fn woken(&mut self, now: Instant) {
        if self.review_at.is_some_and(|at| at <= now) {
            self.start_reviews();
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep_volumes();
        }
        self.start_refreshes(now);
        self.wake_runs(now);
        let slots = &mut self.running.slots;
        self.retries.retain(|(key, revision), attempt| {
            let running = slots
                .get_mut(key)
                .and_then(|slot| slot.revisions.get_mut(revision));
            let Some(running) = running else { return false };
            if attempt.at <= now {
                // The next failure sets the next time; the count stays.
                attempt.at = now + RETRY_LONGEST;
                if let Phase::Failed(failure) = &mut running.phase {
                    failure.due = true;
                }
            }
            true
        });
    }

    /// Something changed that a refusal, or an admission, may have depended on.
    pub(super) fn trust_changed(&mut self) {
        self.trust_turn = self.trust_turn.wrapping_add(1);
        let soon = soon();
        for attempt in self.retries.values_mut() {
            attempt.at = attempt.at.min(soon);
        }
        self.review_at = Some(soon);
    }

    /// A preparation failed by what was known when it began, and that has changed meanwhile:
    /// the change came too early to find this attempt among those that wait.
    pub(super) fn hasten(&mut self, key: &PlacementKey, revision: &str) {
        let attempt = self.retries.get_mut(&(key.clone(), revision.to_owned()));
        if let Some(attempt) = attempt {
            attempt.at = attempt.at.min(soon());
        }
    }

    pub(super) fn forget_retries(&mut self) {
        let desired = &self.desired.placements;
        self.retries.retain(|(key, _), _| desired.contains_key(key));
        self.unopened.retain(|key, _| desired.contains_key(key));
    }
}

/// Soon, not at once: changes come in bursts.
fn soon() -> Instant {
    Instant::now() + RETRY_FIRST
}
