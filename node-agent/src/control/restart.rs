//! Whether a run that has ended is started again, and after which pause: as the kubelet does
//! with containers. A plain function: how long it ran comes in as an argument.

use std::time::Duration;

use crds::component::RestartPolicy;

/// The pauses before a run is started again: each is twice as long as the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// The first one.
    pub first: Duration,
    /// The longest one.
    pub longest: Duration,
    /// A run that lasted for so long begins with the first pause again.
    pub forgiven_after: Duration,
    /// How long a run of a new revision lasts before the next replica follows it: most that crash
    /// do so at their start.
    pub steady_after: Duration,
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, and it said that all went well.
    Well,
    /// By itself, and badly.
    Badly,
    /// By the platform: nobody knows what it would have come to.
    Interrupted,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is started again after this pause.
    Again {
        /// How long it waits.
        pause: Duration,
        /// Pauses in a row, this one included.
        pauses: u32,
    },
    /// It is not started again.
    Over,
}

impl Default for BackOff {
    /// As the kubelet's, but for its very first restart, which has no pause: here a crash is to be
    /// seen before it is tried again.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(10),
            longest: Duration::from_secs(300),
            forgiven_after: Duration::from_secs(600),
            steady_after: Duration::from_secs(2),
        }
    }
}

impl BackOff {
    /// What becomes of a run that ended so, after it had lasted for `ran` and `pauses` before it.
    pub fn next(&self, policy: RestartPolicy, how: Ending, ran: Duration, pauses: u32) -> Next {
        let again = match (policy, how) {
            // Whatever the policy: it has come to nothing yet.
            (_, Ending::Interrupted) | (RestartPolicy::Always, _) => true,
            (RestartPolicy::OnFailure, Ending::Badly) => true,
            (RestartPolicy::OnFailure, Ending::Well)
            | (RestartPolicy::Never | RestartPolicy::Unknown, _) => false,
        };
        if !again {
            return Next::Over;
        }
        let before = if ran >= self.forgiven_after {
            0
        } else {
            pauses
        };
        let doubled = 2_u32.saturating_pow(before);
        Next::Again {
            pause: self.first.saturating_mul(doubled).min(self.longest),
            pauses: before.saturating_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICIES: [RestartPolicy; 3] = [
        RestartPolicy::Always,
        RestartPolicy::OnFailure,
        RestartPolicy::Never,
    ];

    fn next(policy: RestartPolicy, how: Ending, ran: u64, pauses: u32) -> Next {
        BackOff::default().next(policy, how, Duration::from_secs(ran), pauses)
    }

    #[test]
    fn a_policy_means_what_it_means_in_a_pod() {
        let again = |policy, how| next(policy, how, 1, 0) != Next::Over;
        let by_policy = |how| POLICIES.map(|policy| again(policy, how));
        assert_eq!(by_policy(Ending::Well), [true, false, false]);
        assert_eq!(by_policy(Ending::Badly), [true, true, false]);
        assert_eq!(by_policy(Ending::Interrupted), [true, true, true]);
        assert!(!again(RestartPolicy::Unknown, Ending::Badly));
    }

    #[test]
    fn pauses_double_from_ten_seconds_to_five_minutes() {
        let mut pauses = 0;
        let mut seconds = Vec::new();
        for _ in 0..8 {
            let Next::Again { pause, pauses: now } =
                next(RestartPolicy::Always, Ending::Badly, 1, pauses)
            else {
                panic!("always");
            };
            (pauses, seconds) = (now, [seconds, vec![pause.as_secs()]].concat());
        }
        assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300, 300]);
    }

    proptest! {
        #[test]
        fn no_pause_is_shorter_than_the_first_or_longer_than_the_longest(
            ran in 0..10_000_u64, pauses in any::<u32>()
        ) {
            let Next::Again { pause, pauses: now } =
                next(RestartPolicy::Always, Ending::Badly, ran, pauses)
            else {
                panic!("always");
            };
            prop_assert!((10..=300).contains(&pause.as_secs()));
            let forgiven = ran >= 600;
            prop_assert_eq!(now, if forgiven { 1 } else { pauses.saturating_add(1) });
            prop_assert!(!forgiven || pause.as_secs() == 10);
        }
    }
}
