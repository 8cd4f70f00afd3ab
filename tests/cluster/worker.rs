//! A worker that is killed under load costs only the requests it had in hand:
//! control holds the listening sockets, so all other connections wait for the
//! next worker instead of failing.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::process;
use e2e::suite::alone;
use e2e::tenant::fetch;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// Open loop, each request on a connection of its own.
const REQUESTS_PER_SECOND: u32 = 100;
/// One in so many takes its time, so that the dead worker has some in hand.
const SLOW: u64 = 20;
/// Load before the kill, and after the next worker has answered.
const AROUND: Duration = Duration::from_secs(2);

/// One request.
struct Sample {
    slow: bool,
    sent: Instant,
    ended: Instant,
    answer: Result<(u16, String)>,
}

impl Sample {
    fn has_failed(&self) -> bool {
        !matches!(&self.answer, Ok((200, body)) if body == "1.0.0")
    }
}

#[test]
fn connections_wait_while_a_worker_killed_under_load_is_replaced() -> Result<()> {
    alone("worker-killed", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        let endpoints = tenant.answers("orders", 3, "1.0.0").await?;
        let agent = tenant.suite.agent(1)?;
        let endpoint = endpoints
            .iter()
            .find(|endpoint| endpoint.node == agent.node)
            .context("no endpoint on node-1")?;
        let worker = agent.worker().await?;

        let (stop, stopped) = watch::channel(false);
        let load = tokio::spawn(load(endpoint.url("/"), endpoint.url("/wait"), stopped));
        tokio::time::sleep(AROUND).await;
        let killed = Instant::now();
        process::kill(worker)?;
        eventually("the worker to be gone", PATIENCE, async || {
            ensure!(process::is_gone(worker), "process {worker} is there");
            Ok(())
        })
        .await?;
        let gone = Instant::now();
        let next = fetch(&endpoint.url("/")).await?;
        ensure!(next == (200, "1.0.0".to_owned()), "answered {next:?}");
        tokio::time::sleep(AROUND).await;
        stop.send_replace(true);
        let samples = load.await??;

        let in_hand = |sample: &Sample| sample.sent < gone && sample.ended >= killed;
        let lost = samples
            .iter()
            .filter(|sample| sample.has_failed() && in_hand(sample));
        let failed: Vec<&Sample> = samples
            .iter()
            .filter(|sample| sample.has_failed() && !in_hand(sample))
            .collect();
        let waited = samples
            .iter()
            .filter(|sample| sample.sent >= gone && !sample.slow);
        let longest = waited.map(|sample| sample.ended - sample.sent).max();
        println!(
            "worker killed under load: {} requests at {REQUESTS_PER_SECOND} per second, {} in the dead worker's hands, {} of those lost, {} others failed, the longest wait {:.2} s",
            samples.len(),
            samples.iter().filter(|sample| in_hand(sample)).count(),
            lost.count(),
            failed.len(),
            longest.unwrap_or_default().as_secs_f64(),
        );
        ensure!(
            failed.is_empty(),
            "{} requests failed that the dead worker did not have; the first with {:?}",
            failed.len(),
            failed.first().map(|sample| &sample.answer)
        );
        ensure!(
            samples.iter().any(&in_hand),
            "nothing was under way at the kill"
        );
        ensure!(agent.worker().await? != worker, "the killed worker answers");
        tenant.ready("orders").await?;
        Ok(())
    })
}

/// Sends until it is told to stop, then waits for the last answers.
async fn load(quick: String, slow: String, mut stop: watch::Receiver<bool>) -> Result<Vec<Sample>> {
    // No connection is kept: one to the dead worker would say nothing about the next.
    let client = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .timeout(PATIENCE)
        .build()?;
    let (mut samples, mut under_way, mut sent) = (Vec::new(), JoinSet::new(), 0_u64);
    let mut tick = interval(Duration::from_secs(1) / REQUESTS_PER_SECOND);
    // A late tick is made up for, or the loop would be closed by a busy machine.
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            _ = tick.tick() => {
                sent += 1;
                let is_slow = sent.is_multiple_of(SLOW);
                let request = client.get(if is_slow { &slow } else { &quick });
                under_way.spawn(async move {
                    let sent = Instant::now();
                    let answer = answer(request).await;
                    Sample { slow: is_slow, sent, ended: Instant::now(), answer }
                });
            }
            Some(sample) = under_way.join_next() => samples.push(sample?),
        }
    }
    while let Some(sample) = under_way.join_next().await {
        samples.push(sample?);
    }
    Ok(samples)
}

async fn answer(request: reqwest::RequestBuilder) -> Result<(u16, String)> {
    let answer = request.send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}
