//! The open loop: requests are due at fixed times, whatever became of those before. What a
//! request took counts from when it was due, so that waiting for a turn is seen. Called by `soak`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use super::exchange::{Callers, Way};

/// A quick request that takes longer has failed.
const QUICK: Duration = Duration::from_secs(10);
/// The same of one that takes two seconds by itself.
const SLOW: Duration = Duration::from_secs(30);

/// Versions that may answer now.
pub(super) type Versions = Arc<Mutex<BTreeSet<String>>>;

/// One request and what became of it.
pub(super) struct Sample {
    /// How it was made.
    pub(super) way: Way,
    /// When it was due.
    pub(super) due: Instant,
    /// How long after that the whole answer was there.
    pub(super) took: Duration,
    /// Why it failed, if it did.
    pub(super) failure: Option<String>,
    /// The version that answered although its last request had ended before, if one did.
    pub(super) wrong_version: Option<String>,
}

/// Requests of one kind, under way.
pub(super) struct Traffic {
    stop: watch::Sender<bool>,
    task: JoinHandle<Vec<Sample>>,
}

impl Traffic {
    /// Sends `per_second` requests in one way. Answers of quick ones must be `versions`.
    pub(super) fn start(
        callers: &Arc<Callers>,
        way: Way,
        per_second: u32,
        versions: &Versions,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (callers, versions) = (Arc::clone(callers), Arc::clone(versions));
        let task = tokio::spawn(send(callers, way, per_second, versions, stopped));
        Self { stop, task }
    }

    /// Sends no more, and waits for the answers that are under way.
    pub(super) async fn stop(self) -> Result<Vec<Sample>> {
        self.stop.send_replace(true);
        Ok(self.task.await?)
    }
}

async fn send(
    callers: Arc<Callers>,
    way: Way,
    per_second: u32,
    versions: Versions,
    mut stopped: watch::Receiver<bool>,
) -> Vec<Sample> {
    let (mut samples, mut under_way) = (Vec::new(), JoinSet::new());
    let mut tick = interval(Duration::from_secs(1) / per_second.max(1));
    // A late tick is made up for, or the loop would be closed by a busy machine.
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            due = tick.tick() => {
                let (callers, versions) = (Arc::clone(&callers), Arc::clone(&versions));
                under_way.spawn(one(callers, way, due.into_std(), versions));
            }
            Some(Ok(sample)) = under_way.join_next() => samples.push(sample),
        }
    }
    while let Some(Ok(sample)) = under_way.join_next().await {
        samples.push(sample);
    }
    samples
}

async fn one(callers: Arc<Callers>, way: Way, due: Instant, versions: Versions) -> Sample {
    let may_answer = || {
        let versions = versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.clone()
    };
    let before = may_answer();
    let is_slow = matches!(way, Way::SlowUpload | Way::SlowDownload);
    let patience = if is_slow { SLOW } else { QUICK };
    let asked = tokio::time::timeout(patience, callers.ask(way)).await;
    let answer = asked.unwrap_or_else(|_| Err(anyhow!("no answer within {patience:?}")));
    let took = due.elapsed();
    let (failure, wrong_version) = match answer {
        Err(error) => (Some(format!("{way:?}: {error:#}")), None),
        Ok(version) => {
            let is_right = is_slow || before.contains(&version) || may_answer().contains(&version);
            (None, (!is_right).then_some(version))
        }
    };
    Sample {
        way,
        due,
        took,
        failure,
        wrong_version,
    }
}
