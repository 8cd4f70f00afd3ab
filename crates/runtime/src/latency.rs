//! How long response heads took: counts in buckets of a closed list, one list per component.
//!
//! Eight buckets for every doubling, so that what is read is at most an eighth above what was.
//! Written by `call`, from many threads at once and without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// 2^7 microseconds, the end of the first bucket: faster calls need not be told apart.
const FIRST: u32 = 7;
/// 2^30 microseconds, the end of the last: 18 minutes, more than perCall.timeout may be.
const LAST: u32 = 30;
/// 2^3 buckets for every doubling.
const FINENESS: u32 = 3;
/// The first one, and those of every doubling.
const BUCKETS: usize = 1 + (((LAST - FIRST) as usize) << FINENESS);

/// Counts by how long it took.
#[derive(Debug)]
pub(crate) struct Latencies([AtomicU64; BUCKETS]);

impl Default for Latencies {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

impl Latencies {
    pub(crate) fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.0.get(bucket_of(micros)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The upper bound in microseconds and the count of every bucket that holds something.
    pub(crate) fn read(&self) -> Vec<(u64, u64)> {
        let counts = self.0.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        (0..BUCKETS)
            .map(bound_of)
            .zip(counts)
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

/// The bucket whose bound is the first above `micros`.
fn bucket_of(micros: u64) -> usize {
    let Some(doubling) = micros
        .checked_ilog2()
        .and_then(|log| log.checked_sub(FIRST))
    else {
        return 0;
    };
    // The bits behind the highest one say which eighth of the doubling it is.
    let eighths = (micros >> (FIRST + doubling - FINENESS)) as usize;
    let eighth = eighths & ((1 << FINENESS) - 1);
    (1 + ((doubling as usize) << FINENESS) + eighth).min(BUCKETS - 1)
}

/// Where a bucket ends, in microseconds.
fn bound_of(bucket: usize) -> u64 {
    let (doubling, eighth) = (bucket >> FINENESS, bucket & ((1 << FINENESS) - 1));
    ((1 << FINENESS) + eighth as u64) << (doubling as u32 + FIRST - FINENESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_from_the_first_to_the_last_by_an_eighth_at_most() {
        let bounds: Vec<u64> = (0..BUCKETS).map(bound_of).collect();
        assert_eq!((bounds[0], bounds[BUCKETS - 1]), (1 << FIRST, 1 << LAST));
        for pair in bounds.windows(2) {
            assert!(
                pair[0] < pair[1] && (pair[1] - pair[0]) * 8 <= pair[0],
                "{pair:?}"
            );
        }
    }

    #[test]
    fn a_time_is_in_the_bucket_that_ends_above_it() {
        for bucket in 1..BUCKETS {
            let (from, to) = (bound_of(bucket - 1), bound_of(bucket));
            for micros in [from, (from + to) / 2, to - 1] {
                assert_eq!(bucket_of(micros), bucket, "{micros} of {from}..{to}");
            }
        }
        assert_eq!((bucket_of(0), bucket_of(127)), (0, 0));
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn only_buckets_that_hold_something_are_read() {
        let latencies = Latencies::default();
        latencies.record(Duration::from_micros(5));
        latencies.record(Duration::from_millis(1));
        latencies.record(Duration::from_millis(1));
        latencies.record(Duration::MAX);
        assert_eq!(latencies.read(), [(128, 1), (1_024, 2), (1 << LAST, 1)]);
    }
}
