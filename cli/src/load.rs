//! An open-loop client: sends on time, whether or not answers come.
//!
//! A client that waits for answers hides the pause that a swap would make. Knows only a
//! URL; `demo` uses it while a component is swapped.

use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// One request, from the moment it was due.
#[derive(Debug)]
struct Sample {
    due: Instant,
    took: Duration,
    /// The body of a 200; anything else is a failure.
    body: Result<String, String>,
}

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Answers(Vec<Sample>);

/// Longer than this is as good as none.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends `rate` requests per second to `url` until `stop`, then waits for the last answers.
pub(crate) async fn run(
    client: Client,
    url: String,
    rate: u32,
    stop: CancellationToken,
) -> Answers {
    let mut timer = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    // What was missed is sent late, at once: the schedule does not bend to the server.
    timer.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut requests = JoinSet::new();
    let mut answers = Answers::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            due = timer.tick() => {
                let request = client.get(&url).timeout(TIMEOUT);
                requests.spawn(send(request, due.into_std()));
            }
            Some(Ok(sample)) = requests.join_next() => answers.0.push(sample),
        }
    }
    while let Some(sample) = requests.join_next().await {
        answers.0.extend(sample.ok());
    }
    answers
}

/// One request; the body of a 200.
pub(crate) async fn get(request: reqwest::RequestBuilder) -> Result<String, String> {
    let response = request.send().await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response.text().await.map_err(|error| error.to_string())?;
    if status == reqwest::StatusCode::OK {
        Ok(body)
    } else {
        Err(format!("{status}: {body}"))
    }
}

async fn send(request: reqwest::RequestBuilder, due: Instant) -> Sample {
    let body = get(request).await;
    Sample {
        due,
        took: due.elapsed(),
        body,
    }
}

impl Answers {
    /// How many requests were sent.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// What went wrong, one entry per failed request.
    pub(crate) fn failures(&self) -> Vec<&str> {
        self.0
            .iter()
            .filter_map(|sample| sample.body.as_ref().err().map(String::as_str))
            .collect()
    }

    /// From `start` to the first answer that contains `text`.
    pub(crate) fn first_with(&self, text: &str, start: Instant) -> Option<Duration> {
        self.0
            .iter()
            .filter(|sample| sample.body.as_ref().is_ok_and(|body| body.contains(text)))
            .map(|sample| (sample.due + sample.took).saturating_duration_since(start))
            .min()
    }

    /// The time below which 99 of 100 answers came, counted from when they were due.
    pub(crate) fn p99(&self) -> Duration {
        let mut times: Vec<_> = self.0.iter().map(|sample| sample.took).collect();
        times.sort_unstable();
        let index = (times.len() * 99 / 100).min(times.len().saturating_sub(1));
        times.get(index).copied().unwrap_or_default()
    }
}
