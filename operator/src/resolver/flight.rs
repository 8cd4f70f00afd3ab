//! One flight at a time per name, and its answer for all who wait for it.
//!
//! A hundred components of one tag are one request to the registry. Answers are
//! shared for a moment only, failures too: a registry that is down is not asked
//! a hundred times in a row.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

/// How long an answer is shared: shorter than the shortest poll interval.
const FRESH: Duration = Duration::from_secs(5);

type Seat<T> = Arc<tokio::sync::Mutex<Option<Landed<T>>>>;

/// A flight that has ended.
#[derive(Debug)]
pub(super) struct Landed<T> {
    begun: Instant,
    ended: Instant,
    answer: T,
}

/// Flights by name.
#[derive(Debug)]
pub(super) struct Flights<T> {
    seats: Mutex<BTreeMap<String, Seat<T>>>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self {
            seats: Mutex::new(BTreeMap::new()),
        }
    }
}

impl<T> Flights<T> {
    /// Waits until nobody else is in the flight `name`; the guard is the flight.
    pub(super) async fn enter(&self, name: &str) -> OwnedMutexGuard<Option<Landed<T>>> {
        let seat = {
            let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
            // A seat that nobody holds and whose answer is old is of no use.
            seats.retain(|_, seat| {
                Arc::strong_count(seat) > 1
                    || seat
                        .try_lock()
                        .is_ok_and(|held| held.as_ref().is_some_and(Landed::is_fresh))
            });
            Arc::clone(seats.entry(name.to_owned()).or_default())
        };
        seat.lock_owned().await
    }
}

impl<T> Landed<T> {
    fn is_fresh(&self) -> bool {
        self.ended.elapsed() < FRESH
    }
}

impl<T: Clone> Flights<T> {
    /// The answer of `ask`, or that of whoever asked under `name` just before.
    /// With `since` only one who began after it: whoever applies an image that
    /// was pushed a moment ago wants that one.
    pub(super) async fn share(
        &self,
        name: &str,
        since: Option<Instant>,
        ask: impl Future<Output = T>,
    ) -> T {
        let mut seat = self.enter(name).await;
        if let Some(landed) = seat.as_ref().filter(|landed| match since {
            Some(since) => landed.begun >= since,
            None => landed.is_fresh(),
        }) {
            return landed.answer.clone();
        }
        let begun = Instant::now();
        let answer = ask.await;
        *seat = Some(Landed {
            begun,
            ended: Instant::now(),
            answer: answer.clone(),
        });
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_are_one_flight() {
        let (flights, asked) = (Flights::default(), AtomicU32::new(0));
        let ask = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            asked.fetch_add(1, Ordering::SeqCst)
        };
        let answers =
            futures::future::join_all((0..50).map(|_| flights.share("a:1", None, ask()))).await;
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(answers.iter().all(|answer| *answer == 0));
        tokio::time::sleep(FRESH).await;
        flights.share("a:1", None, ask()).await;
        assert_eq!(
            asked.load(Ordering::SeqCst),
            2,
            "an old answer is not shared"
        );
        assert_eq!(flights.seats.lock().map(|seats| seats.len()).ok(), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_the_first_time_gets_no_answer_of_before() {
        let (flights, asked) = (Flights::default(), AtomicU32::new(0));
        let ask = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            asked.fetch_add(1, Ordering::SeqCst)
        };
        let early = Instant::now();
        flights.share("a:1", None, ask()).await;
        assert_eq!(flights.share("a:1", None, ask()).await, 0);
        let now = Some(Instant::now());
        assert_eq!(flights.share("a:1", now, ask()).await, 1);
        assert_eq!(flights.share("a:1", Some(early), ask()).await, 1);
    }
}
