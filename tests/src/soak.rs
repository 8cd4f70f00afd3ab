//! Load on components that are changed all the time: no request may fail, and no version may
//! answer after its last request has ended. The cluster tests have a short one, `make soak` the
//! long one.

mod changes;
mod exchange;
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::load::Followed;
use crate::tenant::Tenant;
use changes::{Changes, QUICK, SLOW};
use exchange::Callers;
use traffic::{Sample, Traffic, Versions};

pub use changes::Change;
pub use exchange::Way;

/// Failures are counted all, but only so many are told.
const TOLD: usize = 8;
/// Load before anything is measured: the first requests make connections and fill caches.
const WARM_UP: Duration = Duration::from_secs(3);

/// How much of everything.
#[derive(Clone, Debug)]
pub struct Size {
    /// Requests per second, by how they are made.
    pub rates: Vec<(Way, u32)>,
    /// Load without a change, to compare with.
    pub quiet: Duration,
    /// How many changes of each kind.
    pub changes: BTreeMap<Change, usize>,
    /// How many requests there must be; the load goes on until there are.
    pub requests: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// All requests.
    pub requests: u64,
    /// Those that failed: whatever is no whole answer with 200.
    pub failed: u64,
    /// The first of them, in words.
    pub failures: Vec<String>,
    /// Answers of a version whose last request had ended before.
    pub wrong_versions: u64,
    /// What 99 of 100 quick requests took without a change.
    pub quiet_p99: Duration,
    /// The same while changes were made.
    pub changing_p99: Duration,
    /// From the first request to the last.
    pub took: Duration,
    /// Changes that were made.
    pub changes: usize,
}

impl Size {
    /// About half a minute beside other tests, on debug builds.
    pub fn short() -> Self {
        Self {
            rates: vec![
                (Way::KeptAlive, 20),
                (Way::Fresh, 15),
                (Way::Multiplexed, 10),
                (Way::SlowUpload, 1),
                (Way::SlowDownload, 1),
            ],
            quiet: Duration::from_secs(3),
            changes: BTreeMap::from([
                (Change::Update, 3),
                (Change::Rollback, 1),
                (Change::Scale, 1),
                (Change::Move, 1),
                (Change::Restart, 1),
            ]),
            requests: 0,
        }
    }

    /// About ten minutes, on builds as they are shipped.
    pub fn long() -> Self {
        Self {
            rates: vec![
                (Way::KeptAlive, 160),
                (Way::Fresh, 80),
                (Way::Multiplexed, 80),
                (Way::SlowUpload, 4),
                (Way::SlowDownload, 4),
            ],
            quiet: Duration::from_secs(30),
            changes: BTreeMap::from([
                (Change::Update, 100),
                (Change::Rollback, 20),
                (Change::Scale, 20),
                (Change::Move, 20),
                (Change::Restart, 5),
            ]),
            requests: 200_000,
        }
    }

    fn per_second(&self) -> u32 {
        self.rates.iter().map(|(_, rate)| rate).sum()
    }
}

impl Outcome {
    /// `Ok` when no request failed and no version answered that was gone.
    pub fn is_clean(&self) -> Result<()> {
        ensure!(
            self.failed == 0 && self.wrong_versions == 0,
            "{} of {} requests failed, {} answers were of a version that was gone: {:#?}",
            self.failed,
            self.requests,
            self.wrong_versions,
            self.failures
        );
        Ok(())
    }

    /// How much longer 99 of 100 requests took while changes were made.
    pub fn p99_ratio(&self) -> f64 {
        self.changing_p99.as_secs_f64() / self.quiet_p99.as_secs_f64()
    }
}

/// Puts load on two components of the tenant, and changes them meanwhile.
///
/// # Errors
/// When a change does not come to its end. What became of the requests, the outcome says.
pub async fn soak(tenant: &Tenant, size: &Size) -> Result<Outcome> {
    let versions = Versions::default();
    let mut changes = Changes::begin(tenant, &versions).await?;
    let (quick, slow) = (callers(tenant, QUICK), callers(tenant, SLOW));
    for of in [&quick, &slow] {
        of.followed.known().await;
    }
    let start = Instant::now();
    let traffic: Vec<Traffic> = size
        .rates
        .iter()
        .map(|(way, per_second)| {
            let is_slow = matches!(way, Way::SlowUpload | Way::SlowDownload);
            let of = if is_slow { &slow } else { &quick };
            Traffic::start(&of.callers, *way, *per_second, &versions)
        })
        .collect();

    tokio::time::sleep(WARM_UP).await;
    let quiet = Instant::now();
    tokio::time::sleep(size.quiet).await;
    let changing = Instant::now();
    let made = make_all(&mut changes, &size.changes).await;
    let changed = Instant::now();
    if made.is_ok() {
        let sent = u64::from(size.per_second()) * start.elapsed().as_secs();
        let left = size.requests.saturating_sub(sent);
        tokio::time::sleep(Duration::from_secs(left / u64::from(size.per_second()) + 1)).await;
    }
    let mut samples = Vec::new();
    for kind in traffic {
        samples.extend(kind.stop().await?);
    }
    let took = start.elapsed();
    let outcome = outcome(
        &samples,
        (quiet, changing, changed),
        took,
        made.as_ref().ok(),
    );
    made.with_context(|| format!("until then: {outcome:?}"))?;
    Ok(outcome)
}

/// Callers, and what keeps their endpoints up to date.
struct Side {
    callers: Arc<Callers>,
    followed: Followed,
}

fn callers(tenant: &Tenant, service: &str) -> Side {
    let followed = Followed::start(tenant.client(), &tenant.name, service);
    Side {
        callers: Arc::new(Callers::of(followed.endpoints())),
        followed,
    }
}

/// Makes them so that each kind is spread over the whole.
async fn make_all(changes: &mut Changes<'_>, wanted: &BTreeMap<Change, usize>) -> Result<usize> {
    let all: usize = wanted.values().sum();
    for (number, change) in order(wanted).into_iter().enumerate() {
        let start = Instant::now();
        let made = changes.make(change).await;
        made.with_context(|| format!("change {number} of {all}, {change:?}"))?;
        eprintln!(
            "soak: {} of {all}, {change:?}, {:.1} s",
            number + 1,
            start.elapsed().as_secs_f64()
        );
    }
    Ok(all)
}

fn order(wanted: &BTreeMap<Change, usize>) -> Vec<Change> {
    let mut turns: Vec<(f64, Change)> = wanted
        .iter()
        .flat_map(|(change, count)| {
            let turn = |number: usize| (number as f64 + 0.5) / *count as f64;
            (0..*count).map(move |number| (turn(number), *change))
        })
        .collect();
    turns.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    turns.into_iter().map(|(_, change)| change).collect()
}

fn outcome(
    samples: &[Sample],
    (quiet, changing, changed): (Instant, Instant, Instant),
    took: Duration,
    changes: Option<&usize>,
) -> Outcome {
    let failures = samples.iter().filter_map(|sample| sample.failure.clone());
    let failures: Vec<String> = failures.collect();
    let wrong = samples
        .iter()
        .filter(|sample| sample.wrong_version.is_some());
    Outcome {
        requests: samples.len() as u64,
        failed: failures.len() as u64,
        failures: failures.into_iter().take(TOLD).collect(),
        wrong_versions: wrong.count() as u64,
        quiet_p99: p99(samples, quiet, changing),
        changing_p99: p99(samples, changing, changed),
        took,
        changes: changes.copied().unwrap_or_default(),
    }
}

/// Of quick requests that were due in this time.
fn p99(samples: &[Sample], from: Instant, until: Instant) -> Duration {
    let quick = samples.iter().filter(|sample| {
        let is_slow = matches!(sample.way, Way::SlowUpload | Way::SlowDownload);
        !is_slow && (from..until).contains(&sample.due)
    });
    let mut taken: Vec<Duration> = quick.map(|sample| sample.took).collect();
    taken.sort_unstable();
    taken
        .get(taken.len() * 99 / 100)
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_every_kind_are_spread_over_the_whole() {
        let order = order(&BTreeMap::from([(Change::Update, 6), (Change::Restart, 2)]));
        let restarts: Vec<usize> = (0..order.len())
            .filter(|number| order[*number] == Change::Restart)
            .collect();
        assert_eq!((order.len(), restarts), (8, vec![2, 6]));
    }

    #[test]
    fn one_request_in_a_hundred_takes_longer_than_the_percentile() {
        let start = Instant::now();
        let sample = |millis| Sample {
            way: Way::Fresh,
            due: start + Duration::from_millis(millis),
            took: Duration::from_millis(millis),
            failure: None,
            wrong_version: None,
        };
        let samples: Vec<Sample> = (0..200).map(sample).collect();
        let end = start + Duration::from_secs(1);
        assert_eq!(p99(&samples, start, end), Duration::from_millis(198));
        assert_eq!(p99(&samples, end, end), Duration::ZERO);
    }
}
