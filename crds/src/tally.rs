//! What the calls of one revision came to: how many, how they failed, how long they took.
//!
//! Plain sums that grow and can be added, so that counts of many nodes and of workers that were
//! started again become one. Agents send them over the hand-over; a rollout is judged by them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::reason::Reason;

/// Cumulative counts of one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Calls that the platform saw fail (traps, limits, timeouts), by why.
    #[serde(default)]
    pub failures: BTreeMap<Reason, u64>,
    /// Calls that the guest itself answered with 5xx. Apart, because a caller may choose them.
    #[serde(default)]
    pub errors: u64,
    /// How long the response heads of all calls took, those that failed included. Calls that
    /// never reached a guest, such as malformed ones, are in none of these.
    #[serde(default)]
    pub latency: Histogram,
}

/// Counts by the upper bound of their bucket, in microseconds. The bounds travel with the counts:
/// agents of another version may have others, and sums stay right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Histogram(BTreeMap<u64, u64>);

impl Tally {
    /// Calls that are judged.
    pub fn requests(&self) -> u64 {
        self.latency.total()
    }

    /// Calls that the platform saw fail.
    pub fn failed(&self) -> u64 {
        self.failures
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Why most of those that failed did.
    pub fn commonest_failure(&self) -> Option<(Reason, u64)> {
        let failures = self.failures.iter().filter(|(_, count)| **count > 0);
        failures
            .max_by_key(|(reason, count)| (**count, std::cmp::Reverse(**reason)))
            .map(|(reason, count)| (*reason, *count))
    }

    /// The share of calls that the platform saw fail, from 0 to 1.
    pub fn failure_rate(&self) -> f64 {
        share(self.failed(), self.requests())
    }

    /// The share of calls that the guest answered with 5xx, from 0 to 1.
    pub fn error_rate(&self) -> f64 {
        share(self.errors, self.requests())
    }

    /// What 99 of 100 calls took at most; nothing without calls.
    pub fn p99(&self) -> Option<Duration> {
        self.latency.percentile(99)
    }

    /// What came since `earlier`. Where that counted more, because it counted what is lost by
    /// now, nothing came.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.each(earlier, u64::saturating_sub)
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    /// Two states of the same counters as the later one. The order in which they came does not
    /// matter, nor how often.
    #[must_use]
    pub fn later_of(&self, other: &Self) -> Self {
        self.each(other, u64::max)
    }

    fn each(&self, other: &Self, combine: fn(u64, u64) -> u64) -> Self {
        Self {
            failures: each(&self.failures, &other.failures, combine),
            errors: combine(self.errors, other.errors),
            latency: Histogram(each(&self.latency.0, &other.latency.0, combine)),
        }
    }
}

impl Histogram {
    /// The most buckets: a report with more is none of ours.
    pub const BUCKETS_MAX: usize = 256;

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.0
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How many took longer, as far as buckets tell: those whose bound is above.
    pub fn above(&self, limit: Duration) -> u64 {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        let above = self.0.iter().filter(|(bound, _)| **bound > micros);
        above.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// How many buckets hold something.
    pub fn buckets(&self) -> usize {
        self.0.len()
    }

    /// The bound of the bucket in which the slowest of `percent` of 100 is; nothing when nothing
    /// was counted.
    pub fn percentile(&self, percent: u32) -> Option<Duration> {
        let total = u128::from(self.total());
        let rank = (total * u128::from(percent.min(100))).div_ceil(100).max(1);
        let mut seen = 0_u128;
        let bucket = self.0.iter().find(|(_, count)| {
            seen += u128::from(**count);
            seen >= rank
        });
        bucket.map(|(bound, _)| Duration::from_micros(*bound))
    }
}

/// From pairs of an upper bound in microseconds and a count.
impl FromIterator<(u64, u64)> for Histogram {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(buckets: I) -> Self {
        let mut all = BTreeMap::new();
        for (bound, count) in buckets {
            let counted: &mut u64 = all.entry(bound).or_default();
            *counted = counted.saturating_add(count);
        }
        all.retain(|_, count| *count > 0);
        Self(all)
    }
}

/// Two maps as one, without what is nought.
fn each<K: Ord + Copy>(
    one: &BTreeMap<K, u64>,
    other: &BTreeMap<K, u64>,
    combine: fn(u64, u64) -> u64,
) -> BTreeMap<K, u64> {
    let count = |of: &BTreeMap<K, u64>, key: &K| of.get(key).copied().unwrap_or_default();
    let keys = one.keys().chain(other.keys());
    keys.map(|key| (*key, combine(count(one, key), count(other, key))))
        .filter(|(_, count)| *count > 0)
        .collect()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts beyond 2^53 do not come about, and a share needs no last digit"
)]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    (part as f64 / whole as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tallies() -> impl Strategy<Value = Tally> {
        let reasons = prop_oneof![Just(Reason::Trapped), Just(Reason::TimeoutExceeded)];
        let failures = proptest::collection::btree_map(reasons, 1..1_000_u64, 0..3);
        let latency = proptest::collection::vec((1..9_u64, 1..1_000_u64), 0..9);
        (failures, 0..1_000_u64, latency).prop_map(|(failures, errors, latency)| Tally {
            failures,
            errors,
            latency: latency.into_iter().collect(),
        })
    }

    proptest! {
        #[test]
        fn sums_do_not_depend_on_order_and_take_back_what_came_before(
            a in tallies(), b in tallies(), c in tallies()
        ) {
            prop_assert_eq!(a.plus(&b), b.plus(&a));
            prop_assert_eq!(a.plus(&b).plus(&c), a.plus(&b.plus(&c)));
            prop_assert_eq!(a.plus(&b).since(&b), a.clone());
            prop_assert_eq!(a.plus(&Tally::default()), a);
        }

        #[test]
        fn a_state_that_comes_twice_or_late_changes_nothing(
            earlier in tallies(), more in tallies()
        ) {
            let later = earlier.plus(&more);
            prop_assert_eq!(earlier.later_of(&later), later.clone());
            prop_assert_eq!(later.later_of(&earlier), later.clone());
            prop_assert_eq!(later.later_of(&later), later);
        }

        #[test]
        fn at_least_the_asked_for_share_is_below_a_percentile(tally in tallies(), percent in 1..=100_u32) {
            let Some(bound) = tally.latency.percentile(percent) else {
                prop_assert_eq!(tally.requests(), 0);
                return Ok(());
            };
            let within = |most: u64| -> u64 {
                tally.latency.0.range(..=most).map(|(_, count)| count).sum()
            };
            let bound = u64::try_from(bound.as_micros()).unwrap();
            let (total, percent) = (tally.requests(), u64::from(percent));
            prop_assert!(within(bound) * 100 >= total * percent);
            prop_assert!(within(bound - 1) * 100 < total * percent);
        }
    }

    #[test]
    fn the_slowest_of_a_hundred_is_not_in_p99_and_the_second_slowest_is() {
        let tally = |slow| Tally {
            latency: [(1_000, 100 - slow), (900_000, slow)].into_iter().collect(),
            ..Tally::default()
        };
        assert_eq!(tally(1).p99(), Some(Duration::from_millis(1)));
        assert_eq!(tally(2).p99(), Some(Duration::from_millis(900)));
        assert_eq!(Tally::default().p99(), None);
    }

    #[test]
    fn what_the_platform_saw_is_apart_from_what_the_guest_answered() {
        let tally = Tally {
            failures: BTreeMap::from([(Reason::Trapped, 3), (Reason::TimeoutExceeded, 2)]),
            errors: 50,
            latency: [(1_000, 100)].into_iter().collect(),
        };
        assert_eq!((tally.failure_rate(), tally.error_rate()), (0.05, 0.5));
        assert_eq!(tally.commonest_failure(), Some((Reason::Trapped, 3)));
        assert_eq!(Tally::default().failure_rate(), 0.0);
    }

    #[test]
    fn bounds_are_sent_with_their_counts() {
        let tally = Tally {
            failures: BTreeMap::from([(Reason::Trapped, 3)]),
            errors: 1,
            latency: [(1_024, 7), (2_048, 0)].into_iter().collect(),
        };
        let json = serde_json::json!({
            "failures": {"Trapped": 3}, "errors": 1, "latency": {"1024": 7},
        });
        assert_eq!(serde_json::to_value(&tally).unwrap(), json);
        assert_eq!(serde_json::from_value::<Tally>(json).unwrap(), tally);
    }
}
