//! How long to wait before the same is tried again. Pure.
//!
//! Jitter comes from the component's name and the attempt instead of chance: ten
//! thousand components spread out all the same, and a test can say what happens.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::component::Key;

/// First pause; a registry that was restarted is back by then.
const FIRST: Duration = Duration::from_secs(2);
/// Longest pause: what an image signed after it was deployed waits at most.
const LONGEST: Duration = Duration::from_secs(300);
/// Longest wait a registry may ask of us.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// The pause before attempt number `attempts + 1`.
pub(super) fn delay(key: &Key, attempts: u32, asked: Option<Duration>) -> Duration {
    let doubled = FIRST.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1).min(16)));
    let pause = spread((key, attempts), doubled.min(LONGEST));
    asked.map_or(pause, |asked| pause.max(asked.min(LONGEST_ASKED)))
}

/// How long after `now` the next turn of `what` is, when turns come every
/// `interval`. All who name the same thing have their turns together, and so one
/// answer serves them; different things are spread over the interval.
pub(super) fn next_turn(what: impl Hash, interval: Duration, now: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    let interval = interval.max(Duration::from_secs(1)).as_millis();
    let phase = u128::from(hasher.finish()) % interval;
    let since = (now.as_millis() + interval - phase) % interval;
    let wait = u64::try_from(interval - since).unwrap_or(u64::MAX);
    Duration::from_millis(wait)
}

/// Between 90 and 110 percent.
fn spread(seed: impl Hash, duration: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    let percent = u32::try_from(hasher.finish() % 21)
        .unwrap_or(10)
        .saturating_add(90);
    duration.saturating_mul(percent) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let key = Key::new("shop", "orders");
        let within = |duration: Duration, around: Duration| {
            duration >= around.mul_f64(0.89) && duration <= around.mul_f64(1.11)
        };
        assert!(within(delay(&key, 1, None), FIRST));
        assert!(within(delay(&key, 3, None), FIRST * 4));
        assert!(within(delay(&key, 60, None), LONGEST));
    }

    #[test]
    fn turns_of_one_thing_coincide_and_those_of_many_are_spread() {
        let minute = Duration::from_secs(60);
        let turn = |what: &str, interval, now: u64| {
            let now = Duration::from_millis(now);
            now + next_turn(what, interval, now)
        };
        for now in [0, 1, 999, 59_999, 60_000, 3_600_123] {
            let wait = turn("a.example/orders:1", minute, now) - Duration::from_millis(now);
            assert!(wait > Duration::ZERO && wait <= minute, "{now}: {wait:?}");
        }
        let first = turn("a.example/orders:1", minute, 0);
        let then = u64::try_from(first.as_millis()).unwrap_or_default();
        assert_eq!(turn("a.example/orders:1", minute, then), first + minute);
        assert_eq!(turn("a.example/orders:1", minute, then + 7), first + minute);
        // Who asks twice as often meets the other every second time.
        assert_eq!(
            turn("a.example/orders:1", minute / 2, then + 7).as_millis() % 30_000,
            first.as_millis() % 30_000
        );
        let mut seconds: Vec<u64> = (0..600)
            .map(|number| turn(&format!("a.example/{number}"), minute, 0).as_secs())
            .collect();
        seconds.sort_unstable();
        seconds.dedup();
        assert!(seconds.len() > 50, "{} seconds of 60", seconds.len());
    }

    #[test]
    fn a_registry_may_ask_for_more_but_not_for_ever() {
        let key = Key::new("shop", "orders");
        assert_eq!(
            delay(&key, 1, Some(Duration::from_secs(600))),
            Duration::from_secs(600)
        );
        assert_eq!(
            delay(&key, 1, Some(Duration::from_secs(1_000_000))),
            LONGEST_ASKED
        );
    }
}
