//! Remembers that somebody did not answer, so that a hundred components that start while the
//! other side is away do not wait for a hundred timeouts.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long nobody asks again. Shorter than any retry of a whole preparation.
const PAUSE: Duration = Duration::from_secs(5);

/// Open while the other side is believed to be away.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<Option<Instant>>);

impl Breaker {
    /// Whether the other side did not answer a moment ago.
    pub fn is_open(&self) -> bool {
        self.lock().is_some_and(|until| Instant::now() < until)
    }

    /// It did not answer.
    pub fn trip(&self) {
        *self.lock() = Some(Instant::now() + PAUSE);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
