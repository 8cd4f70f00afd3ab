//! Which components are to be looked at again, and when.
//!
//! A set, not a list: a hundred changes of one component are one look. Filled
//! by watches, by the resolver and by the driver itself; emptied by the driver
//! in `component`. Bounded by the number of components.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::component::Key;

/// Changes within this time are looked at together: a new component and its
/// Service, or the placements of one rollout wave.
pub const SETTLE: Duration = Duration::from_millis(50);

/// Components by the time they are due.
#[derive(Debug, Default)]
pub struct Queue {
    due: Mutex<Due>,
    earlier: Notify,
}

#[derive(Debug, Default)]
struct Due {
    at: BTreeMap<Key, Instant>,
    order: BTreeSet<(Instant, Key)>,
}

impl Queue {
    /// Looks at `key` after `delay`, or earlier if that was planned already.
    pub fn add(&self, key: Key, delay: Duration) {
        let at = Instant::now() + delay;
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due.at.get(&key).is_some_and(|planned| *planned <= at) {
            return;
        }
        if let Some(planned) = due.at.insert(key.clone(), at) {
            due.order.remove(&(planned, key.clone()));
        }
        due.order.insert((at, key));
        drop(due);
        self.earlier.notify_one();
    }

    /// The next component, when it is due. Dropping the future loses nothing.
    pub async fn next(&self) -> Key {
        loop {
            let earlier = self.earlier.notified();
            let first = self.pop(Instant::now());
            match first {
                Ok(key) => return key,
                Err(Some(at)) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = earlier => {}
                    }
                }
                Err(None) => earlier.await,
            }
        }
    }

    /// The first component that is due at `now`, or the time of the first.
    fn pop(&self, now: Instant) -> Result<Key, Option<Instant>> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        match due.order.first() {
            None => Err(None),
            Some((at, _)) if *at > now => Err(Some(*at)),
            Some(_) => {
                let (_, key) = due.order.pop_first().ok_or(None)?;
                due.at.remove(&key);
                Ok(key)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_earliest_wish_wins_and_is_answered_once() {
        let queue = Queue::default();
        let (a, b) = (Key::new("shop", "a"), Key::new("shop", "b"));
        queue.add(a.clone(), Duration::from_secs(60));
        queue.add(b.clone(), Duration::from_secs(5));
        queue.add(a.clone(), Duration::from_secs(1));
        queue.add(a.clone(), Duration::from_secs(30));
        let start = Instant::now();
        assert_eq!((queue.next().await, start.elapsed().as_secs()), (a, 1));
        assert_eq!((queue.next().await, start.elapsed().as_secs()), (b, 5));
        assert!(
            tokio::time::timeout(Duration::from_secs(600), queue.next())
                .await
                .is_err()
        );
    }
}
