//! Which CA of the hand-over issues certificates, which ones agents shall trust,
//! and when a new one is due: by the times they were made at, and nothing else.
//!
//! A new CA is published before anything is issued from it, because an agent that
//! has not heard of it would be cut off; an old one stays published until nothing
//! that it issued is valid any more. Called by `keys`.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// The times of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Age at which a CA gets a successor.
    pub every: Duration,
    /// How long a CA is published before it issues.
    pub overlap: Duration,
    /// The longest that something it issued is valid.
    pub leaf: Duration,
}

impl Rotation {
    /// Whether a new CA is to be made beside these.
    pub fn is_due(&self, made: &[Timestamp], now: Timestamp) -> bool {
        made.iter()
            .max()
            .is_none_or(|newest| has_passed(*newest, self.every, now))
    }

    /// Place in `made` of the CA that issues now: the newest that was published for long enough.
    /// When none was, the first is all that anybody knows.
    pub fn issuer(&self, made: &[Timestamp], now: Timestamp) -> Option<usize> {
        let all = || made.iter().enumerate();
        let published = all().filter(|(_, made)| has_passed(**made, self.overlap, now));
        published
            .max_by_key(|(_, made)| **made)
            .or_else(|| all().min_by_key(|(_, made)| **made))
            .map(|(place, _)| place)
    }

    /// Places in `made` of the CAs that agents shall trust now.
    pub fn trusted(&self, made: &[Timestamp], now: Timestamp) -> Vec<usize> {
        let still_needed = |own: &Timestamp| {
            let successor = made.iter().filter(|other| *other > own).min();
            // It issued until its successor did, and what it issued lives on for a while.
            successor.is_none_or(|successor| !has_passed(*successor, self.overlap + self.leaf, now))
        };
        let all = made.iter().enumerate();
        all.filter(|(_, own)| still_needed(own))
            .map(|(place, _)| place)
            .collect()
    }
}

fn has_passed(since: Timestamp, time: Duration, now: Timestamp) -> bool {
    let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
    now.duration_since(since) >= time
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROTATION: Rotation = Rotation {
        every: Duration::from_secs(1_000),
        overlap: Duration::from_secs(100),
        leaf: Duration::from_secs(300),
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_first_ca_issues_at_once() {
        assert!(ROTATION.is_due(&[], at(0)));
        assert_eq!(ROTATION.issuer(&[at(0)], at(0)), Some(0));
        assert_eq!(ROTATION.trusted(&[at(0)], at(0)), [0]);
        assert!(!ROTATION.is_due(&[at(0)], at(999)));
    }

    #[test]
    fn a_successor_is_trusted_at_once_and_issues_after_the_overlap() {
        let made = [at(0), at(1_000)];
        assert!(ROTATION.is_due(&made[..1], at(1_000)));
        assert_eq!(ROTATION.trusted(&made, at(1_000)), [0, 1]);
        assert_eq!(ROTATION.issuer(&made, at(1_099)), Some(0));
        assert_eq!(ROTATION.issuer(&made, at(1_100)), Some(1));
    }

    #[test]
    fn a_predecessor_is_trusted_until_the_last_that_it_issued_has_ended() {
        let made = [at(0), at(1_000)];
        assert_eq!(ROTATION.trusted(&made, at(1_399)), [0, 1]);
        assert_eq!(ROTATION.trusted(&made, at(1_400)), [1]);
    }

    proptest! {
        /// As agents would need it: whatever the issuer of any moment issued is under a CA that
        /// is trusted as long as that is valid, and was trusted for the overlap before.
        #[test]
        fn what_is_issued_is_trusted_before_and_as_long_as_it_is_valid(
            gaps in proptest::collection::vec(0..3_000_i64, 1..6), issued in 0..20_000_i64
        ) {
            let mut second = 0;
            let made: Vec<Timestamp> = gaps.iter().map(|gap| { second += gap + 1; at(second) }).collect();
            // What the operator knew then.
            let known: Vec<Timestamp> =
                made.iter().copied().filter(|made| *made <= at(issued)).collect();
            let Some(issuer) = ROTATION.issuer(&known, at(issued)) else { return Ok(()) };
            prop_assert!(issuer == 0 || known[issuer] <= at(issued - 100));
            for later in [0, 100, 299] {
                let trusted = ROTATION.trusted(&made, at(issued + later));
                prop_assert!(trusted.contains(&issuer), "{later} s later {trusted:?} of {made:?}");
            }
        }
    }
}
