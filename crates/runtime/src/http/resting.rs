//! Instances that have answered and wait for their next request, where a component wants
//! that and every ceiling admits it.
//!
//! They share memory between callers, so the rules are narrow: an instance is used again only
//! for the trigger that it has served, only after a good end, only as often and as soon as
//! `instances` says, and never after its component was handed something else or a credential.
//! Must not hold a call's slot. `proxy` asks before it makes an instance.

use super::instance::Instance;
use crate::call::Call;
use crate::limits::Budget;
use capability::Instances;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

/// The instances of one component that wait.
pub(crate) struct Resting {
    limits: Instances,
    /// Places of the engine for what waits, beside those for what works.
    places: Arc<Semaphore>,
    /// The node's memory for guests.
    memory: Arc<Budget>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// The one that has waited longest in front.
    instances: VecDeque<Waiter>,
    /// Whether a task looks after them.
    watched: bool,
}

struct Waiter {
    instance: Instance,
    since: Instant,
    _place: OwnedSemaphorePermit,
}

impl Resting {
    /// None where every request is to have an instance of its own.
    pub(crate) fn new(
        limits: Instances,
        places: &Arc<Semaphore>,
        memory: &Arc<Budget>,
    ) -> Option<Arc<Resting>> {
        (limits.max_requests > 1).then(|| {
            Arc::new(Resting {
                limits,
                places: Arc::clone(places),
                memory: Arc::clone(memory),
                waiting: Mutex::default(),
            })
        })
    }

    /// The instance that has answered last for this trigger, under the limits of `call`.
    pub(super) fn wake(&self, call: &Arc<Call>) -> Option<Instance> {
        let waiter = {
            let mut waiting = self.lock();
            let suits =
                |waiter: &Waiter| waiter.instance.guest().call().trigger() == call.trigger();
            let newest = waiting.instances.iter().rposition(suits)?;
            waiting.instances.remove(newest)?
        };
        let Waiter {
            mut instance,
            since,
            ..
        } = waiter;
        let may_go_on = call.given().reuses()
            && instance.guest().is_up_to_date()
            && since.elapsed() < self.limits.idle_timeout.0;
        (may_go_on && instance.renew(call).is_ok()).then_some(instance)
    }

    /// Keeps an instance for its next request, or drops it.
    pub(super) fn rest(self: &Arc<Resting>, instance: Instance) {
        let may_rest = instance.served() < self.limits.max_requests
            && instance.guest().call().given().reuses()
            && instance.guest().is_up_to_date()
            // Memory that waits is nobody's; whoever works comes first.
            && self.memory.is_half_free();
        if !may_rest {
            return;
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return;
        };
        let mut waiting = self.lock();
        waiting.instances.push_back(Waiter {
            instance,
            since: Instant::now(),
            _place: place,
        });
        if !std::mem::replace(&mut waiting.watched, true) {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Drops all that wait.
    pub(super) fn dismiss(&self) {
        let dismissed = std::mem::take(&mut self.lock().instances);
        drop(dismissed);
    }

    /// Drops what has waited too long, and says when to look again; never, when nothing waits.
    fn expire(&self) -> Option<Instant> {
        let mut expired = Vec::new();
        let mut waiting = self.lock();
        let next = loop {
            let Some(first) = waiting.instances.front() else {
                waiting.watched = false;
                break None;
            };
            let end = first.since + self.limits.idle_timeout.0;
            if end > Instant::now() {
                break Some(end);
            }
            expired.extend(waiting.instances.pop_front());
        };
        drop(waiting);
        drop(expired);
        next
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after what waits. Ends when nothing does, or its component is gone.
async fn watch(resting: Weak<Resting>) {
    loop {
        let next = resting.upgrade().and_then(|resting| resting.expire());
        let Some(next) = next else { return };
        sleep_until(next).await;
    }
}
