//! How the requests of a new revision go, and whether that is good enough.
//!
//! Plain functions of counts; `rollout` asks while there is an old revision to go back to. What
//! a caller can choose (4xx, or a guest's own 5xx) never condemns by itself: it is compared with
//! the old revision, which the same callers ask at the same time.

use std::fmt;
use std::time::Duration;

use crds::{Percent, Reason, Tally};

/// How requests must go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analysis {
    /// Requests without which nothing is judged.
    pub min_requests: u64,
    /// The largest share that may fail.
    pub max_error_rate: Option<Percent>,
    /// The longest that 99 of 100 may take.
    pub max_p99: Option<Duration>,
    /// How much worse than the old revision it may be.
    pub max_regression: Option<Percent>,
}

/// What the two revisions did since the step began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls {
    /// The new one.
    pub wanted: Tally,
    /// The old one.
    pub proven: Tally,
}

/// What requests come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There were too few.
    Open,
    /// They go well enough.
    Good,
    /// They do not.
    Bad(Finding),
}

/// What is wrong with the requests of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Too many failed.
    Failures {
        /// So many of them.
        part: Part,
        /// Why most of them did.
        commonest: Reason,
        /// The largest share that may.
        most: Percent,
    },
    /// They took too long.
    Slow {
        /// What 99 of 100 took.
        p99: Duration,
        /// The longest that they may.
        most: Duration,
    },
    /// More failed, or were answered with 5xx, than of the old revision.
    WorseErrors {
        /// Of the new one.
        new: Part,
        /// Of the old one.
        old: Part,
        /// How much worse it may be.
        most: Percent,
    },
    /// They took longer than those of the old revision.
    Slower {
        /// What took longer than 99 of 100 of the old one may.
        new: Part,
        /// What 99 of 100 of the old one took.
        old: Duration,
        /// How much worse it may be.
        most: Percent,
    },
}

/// Some requests of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Some.
    pub some: u64,
    /// All.
    pub all: u64,
}

impl Analysis {
    /// What `calls` come to.
    pub(super) fn judge(&self, calls: &Calls) -> Verdict {
        let Calls { wanted, proven } = calls;
        if wanted.requests() < self.min_requests {
            return Verdict::Open;
        }
        // Too few to compare with say nothing.
        let compared = (proven.requests() >= self.min_requests).then_some(proven);
        let compared = compared.zip(self.max_regression);
        let worse = |(proven, most)| worse(wanted, proven, most);
        let finding = (self.failures(wanted))
            .or_else(|| self.slow(wanted))
            .or_else(|| compared.and_then(worse));
        finding.map_or(Verdict::Good, Verdict::Bad)
    }

    fn failures(&self, wanted: &Tally) -> Option<Finding> {
        let most = self.max_error_rate?;
        let (commonest, _) = wanted.commonest_failure()?;
        (wanted.failure_rate() > most.fraction()).then(|| Finding::Failures {
            part: Part {
                some: wanted.failed(),
                all: wanted.requests(),
            },
            commonest,
            most,
        })
    }

    fn slow(&self, wanted: &Tally) -> Option<Finding> {
        let (most, p99) = (self.max_p99?, wanted.p99()?);
        (p99 > most).then_some(Finding::Slow { p99, most })
    }
}

/// In what the new revision is worse than the old one, if it is.
fn worse(wanted: &Tally, proven: &Tally, most: Percent) -> Option<Finding> {
    let bad = |of: &Tally| Part {
        some: of.failed().saturating_add(of.errors),
        all: of.requests(),
    };
    let (new, old) = (bad(wanted), bad(proven));
    let growth = 1.0 + most.fraction();
    if new.exceeds(old.share() * growth) {
        return Some(Finding::WorseErrors { new, old, most });
    }
    let p99 = proven.p99()?;
    let slow = Part {
        some: wanted.latency.above(p99.mul_f64(growth)),
        all: wanted.requests(),
    };
    // One of 100 takes longer than the p99 by its definition.
    slow.exceeds(0.01).then_some(Finding::Slower {
        new: slow,
        old: p99,
        most,
    })
}

impl Part {
    fn share(self) -> f64 {
        count(self.some) / count(self.all).max(1.0)
    }

    /// Whether it is more than `share` of all, beyond chance: by more than two standard deviations
    /// of what would be expected, and by more than two requests.
    fn exceeds(self, share: f64) -> bool {
        let expected = count(self.all) * share;
        count(self.some) > expected + 2.0 * expected.sqrt() + 2.0
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts beyond 2^53 do not come about, and a share needs no last digit"
)]
fn count(of: u64) -> f64 {
    of as f64
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} requests", self.some, self.all)
    }
}

/// To be read behind the name of the revision.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failures {
                part,
                commonest,
                most,
            } => write!(
                f,
                "failed {part}, most with {commonest}, and analysis.maxErrorRate is {most}"
            ),
            Self::Slow { p99, most } => write!(
                f,
                "took up to {p99:?} for 99 of 100 requests, and analysis.maxLatencyP99 is {most:?}"
            ),
            Self::WorseErrors { new, old, most } => write!(
                f,
                "failed, or answered with 5xx, {new}, the revision before it {old}, and analysis.maxRegression is {most}"
            ),
            Self::Slower { new, old, most } => write!(
                f,
                "took longer for {new} than analysis.maxRegression ({most}) allows beside the revision before it, which takes up to {old:?} for 99 of 100"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn tally(requests: u64, trapped: u64, errors: u64, micros: u64) -> Tally {
        Tally {
            failures: BTreeMap::from([(Reason::Trapped, trapped)]),
            errors,
            latency: [(micros, requests)].into_iter().collect(),
        }
    }

    fn percent(text: &str) -> Option<Percent> {
        Some(text.parse().unwrap())
    }

    fn analysis() -> Analysis {
        Analysis {
            min_requests: 200,
            max_error_rate: percent("1%"),
            max_p99: Some(Duration::from_millis(500)),
            max_regression: percent("20%"),
        }
    }

    fn judge(wanted: Tally, proven: Tally) -> Result<(), String> {
        match analysis().judge(&Calls { wanted, proven }) {
            Verdict::Bad(finding) => Err(finding.to_string()),
            Verdict::Good => Ok(()),
            Verdict::Open => Err("open".to_owned()),
        }
    }

    #[test]
    fn too_few_requests_say_nothing_however_they_went() {
        let few = judge(tally(199, 199, 0, 9_000_000), Tally::default());
        assert_eq!(few, Err("open".to_owned()));
    }

    #[test]
    fn failures_that_the_platform_saw_are_judged_by_themselves() {
        let failed = |trapped| judge(tally(200, trapped, 0, 1_000), Tally::default());
        assert_eq!(failed(2), Ok(()));
        assert_eq!(
            failed(3).unwrap_err(),
            "failed 3 of 200 requests, most with Trapped, and analysis.maxErrorRate is 1%"
        );
    }

    #[test]
    fn what_a_guest_answers_itself_is_only_compared() {
        let all_5xx = judge(tally(400, 0, 400, 1_000), tally(4_000, 0, 4_000, 1_000));
        assert_eq!(all_5xx, Ok(()));
        let nothing_to_compare = judge(tally(400, 0, 400, 1_000), tally(20, 0, 0, 1_000));
        assert_eq!(nothing_to_compare, Ok(()));
        let worse = judge(tally(400, 0, 20, 1_000), tally(4_000, 0, 4, 1_000));
        assert_eq!(
            worse.unwrap_err(),
            "failed, or answered with 5xx, 20 of 400 requests, the revision before it 4 of 4000 requests, and analysis.maxRegression is 20%"
        );
        let chance = judge(tally(400, 0, 2, 1_000), tally(4_000, 0, 0, 1_000));
        assert_eq!(chance, Ok(()));
    }

    #[test]
    fn a_slow_revision_is_seen_alone_and_beside_the_old_one() {
        let slow = judge(tally(400, 0, 0, 600_000), Tally::default());
        assert_eq!(
            slow.unwrap_err(),
            "took up to 600ms for 99 of 100 requests, and analysis.maxLatencyP99 is 500ms"
        );
        let slower = judge(tally(400, 0, 0, 13_000), tally(400, 0, 0, 10_000));
        assert_eq!(
            slower.unwrap_err(),
            "took longer for 400 of 400 requests than analysis.maxRegression (20%) allows beside the revision before it, which takes up to 10ms for 99 of 100"
        );
        let alike = judge(tally(400, 0, 0, 11_000), tally(400, 0, 0, 10_000));
        assert_eq!(alike, Ok(()));
    }
}
