//! An open-loop client: it sends at a fixed rate whatever the answers, so a
//! stall shows as failures instead of as fewer requests. It follows the ready
//! endpoints of one Service as kube-proxy would. Called by tests of updates and
//! of losses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::tenant::{self, Endpoint};

/// A request that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often the endpoints are read: the delay a kube-proxy would have.
const ENDPOINTS: Duration = Duration::from_millis(200);
/// Failures are counted all, but only so many are told.
const TOLD: usize = 8;

/// A running client; [`Load::stop`] ends it and returns the count.
pub struct Load {
    stop: watch::Sender<bool>,
    sender: JoinHandle<Report>,
}

/// What came of the requests.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Answers with a 2xx status, by their body.
    pub answers: BTreeMap<String, u64>,
    /// Connection errors, timeouts and other statuses.
    pub failed: u64,
    /// The first failures, in words.
    pub failures: Vec<String>,
}

/// The ready endpoints of a Service, read again and again for as long as this lives.
pub struct Followed {
    ready: Arc<Mutex<Vec<Endpoint>>>,
    reader: JoinHandle<()>,
}

impl Followed {
    /// Follows `service`.
    pub fn start(client: kube::Client, namespace: &str, service: &str) -> Self {
        let ready = Arc::new(Mutex::new(Vec::new()));
        let (namespace, service) = (namespace.to_owned(), service.to_owned());
        let written = Arc::clone(&ready);
        let reader = tokio::spawn(async move {
            loop {
                // While the API server is away the last known ones stay, as in kube-proxy.
                if let Ok(mut found) = tenant::endpoints(&client, &namespace, &service).await {
                    found.retain(|endpoint| endpoint.ready);
                    *written.lock().unwrap_or_else(PoisonError::into_inner) = found;
                }
                tokio::time::sleep(ENDPOINTS).await;
            }
        });
        Self { ready, reader }
    }

    /// The endpoints, as they are read.
    pub fn endpoints(&self) -> Arc<Mutex<Vec<Endpoint>>> {
        Arc::clone(&self.ready)
    }

    /// Waits until there is one.
    pub async fn known(&self) {
        let is_empty = || {
            let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
            ready.is_empty()
        };
        while is_empty() {
            tokio::time::sleep(ENDPOINTS).await;
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Report {
    /// All requests sent.
    pub fn sent(&self) -> u64 {
        self.answers.values().sum::<u64>() + self.failed
    }

    /// `Ok` when no request failed and every answer was one of `bodies`, each seen at least once.
    pub fn only(&self, bodies: &[&str]) -> Result<()> {
        let seen: Vec<&str> = self.answers.keys().map(String::as_str).collect();
        let mut wanted = bodies.to_vec();
        wanted.sort_unstable();
        if self.failed > 0 || seen != wanted {
            bail!(
                "{} of {} requests failed, and the answers were {:?}: {:#?}",
                self.failed,
                self.sent(),
                self.answers,
                self.failures
            );
        }
        Ok(())
    }

    fn count(&mut self, outcome: Result<String>) {
        match outcome {
            Ok(body) => *self.answers.entry(body).or_default() += 1,
            Err(error) => {
                self.failed += 1;
                if self.failures.len() < TOLD {
                    self.failures.push(format!("{error:#}"));
                }
            }
        }
    }
}

impl Load {
    /// Sends `per_second` requests for `/` to the ready endpoints of `service`, in turn.
    pub fn start(client: kube::Client, namespace: &str, service: &str, per_second: u32) -> Load {
        let (stop, stopped) = watch::channel(false);
        let followed = Followed::start(client, namespace, service);
        let sender =
            tokio::spawn(async move { send(followed.endpoints(), per_second, stopped).await });
        Load { stop, sender }
    }

    /// Sends to these endpoints, which nobody can read anew while the API server is away.
    pub fn at(endpoints: &[Endpoint], per_second: u32) -> Load {
        let (stop, stopped) = watch::channel(false);
        let endpoints = Arc::new(Mutex::new(endpoints.to_vec()));
        let sender = tokio::spawn(send(endpoints, per_second, stopped));
        Load { stop, sender }
    }

    /// Stops sending, waits for the requests under way, and returns the count.
    pub async fn stop(self) -> Result<Report> {
        self.stop.send_replace(true);
        Ok(self.sender.await?)
    }
}

async fn send(
    endpoints: Arc<Mutex<Vec<Endpoint>>>,
    per_second: u32,
    mut stopped: watch::Receiver<bool>,
) -> Report {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(TIMEOUT)
        .build()
        .unwrap_or_default();
    let mut report = Report::default();
    let mut under_way = JoinSet::new();
    let mut tick = interval(Duration::from_secs(1) / per_second.max(1));
    // A late tick is made up for, or the loop would be closed by a busy machine.
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut turn = 0_usize;
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            Some(done) = under_way.join_next() => {
                report.count(done.map_err(anyhow::Error::from).flatten());
            }
            _ = tick.tick() => {
                let target = {
                    let ready = endpoints.lock().unwrap_or_else(PoisonError::into_inner);
                    ready.get(turn % ready.len().max(1)).cloned()
                };
                match target {
                    Some(target) => {
                        turn = turn.wrapping_add(1);
                        under_way.spawn(request(client.clone(), target.url("/")));
                    }
                    // Until the first endpoints are read there is nobody to ask.
                    None if turn == 0 => {}
                    None => report.count(Err(anyhow!("no endpoint of the Service is ready"))),
                }
            }
        }
    }
    while let Some(done) = under_way.join_next().await {
        report.count(done.map_err(anyhow::Error::from).flatten());
    }
    report
}

async fn request(client: reqwest::Client, url: String) -> Result<String> {
    let answer = client.get(&url).send().await?;
    let status = answer.status();
    let body = answer.text().await?;
    if !status.is_success() {
        bail!("{url} answered {status}: {body}");
    }
    Ok(body)
}
