//! A guest that reaches a limit ends with that limit's reason, and its neighbour
//! on the same node goes on answering.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::guest;
use e2e::suite::shared;
use e2e::tenant::{Endpoint, Tenant, fetch};
use serde_json::json;

/// What the guest answers to `/`.
const ANSWER: &str = "probe\n";
/// A neighbour's answer takes a millisecond; this is for two busy cores.
const PROMPT: Duration = Duration::from_secs(2);

#[test]
fn a_loop_ends_with_the_cpu_limit() -> Result<()> {
    shared("limit-cpu", async |tenant| {
        let per_call = json!({ "cpuTime": "300ms", "timeout": "20s" });
        over_a_limit(
            tenant,
            json!({ "perCall": per_call }),
            "/spin",
            "CpuExceeded",
        )
        .await
    })
}

#[test]
fn a_loop_ends_with_the_fuel_limit() -> Result<()> {
    shared("limit-fuel", async |tenant| {
        let per_call = json!({ "fuel": 50_000_000, "cpuTime": "20s" });
        over_a_limit(
            tenant,
            json!({ "perCall": per_call }),
            "/spin",
            "FuelExhausted",
        )
        .await
    })
}

#[test]
fn growth_ends_with_the_memory_limit() -> Result<()> {
    shared("limit-memory", async |tenant| {
        over_a_limit(
            tenant,
            json!({ "perCall": { "memory": "4Mi" } }),
            "/grow",
            "MemoryExceeded",
        )
        .await
    })
}

#[test]
fn waiting_ends_with_the_timeout() -> Result<()> {
    shared("limit-timeout", async |tenant| {
        over_a_limit(
            tenant,
            json!({ "perCall": { "timeout": "500ms" } }),
            "/sleep?ms=2000",
            "TimeoutExceeded",
        )
        .await
    })
}

#[test]
fn a_trap_ends_one_call() -> Result<()> {
    shared("trap", async |tenant| {
        over_a_limit(tenant, json!({}), "/trap", "Trapped").await
    })
}

#[test]
fn one_call_too_many_is_told_so() -> Result<()> {
    shared("limit-concurrency", async |tenant| {
        let endpoint = running(
            tenant,
            "orders",
            json!({ "perReplica": { "concurrency": 1 } }),
        )
        .await?;
        // Of the two that wait, one is too many: whichever came second.
        let url = endpoint.url("/sleep?ms=4000");
        let (one, other) = tokio::join!(fetch(&url), fetch(&url));
        let mut answers = [one?, other?];
        answers.sort_by_key(|(status, _)| *status);
        let [(waited, _), (refused, body)] = &answers;
        ensure!(
            *waited == 200 && *refused == 503 && body.contains("ConcurrencyLimit"),
            "two calls at once got {answers:?}"
        );
        Ok(())
    })
}

/// Reaches a limit by `path`, four times at once, beside a neighbour that must go on answering.
async fn over_a_limit(
    tenant: &Tenant,
    resources: serde_json::Value,
    path: &str,
    reason: &str,
) -> Result<()> {
    let greedy = running(tenant, "greedy", resources).await?;
    let neighbour = running(tenant, "neighbour", json!({})).await?;
    let url = greedy.url(path);
    let calls = futures::future::join_all((0..4).map(|_| fetch(&url)));
    let neighbour_answers = async {
        for _ in 0..10 {
            let asked = Instant::now();
            let answer = fetch(&neighbour.url("/")).await?;
            ensure!(
                answer == (200, ANSWER.to_owned()),
                "the neighbour answered {answer:?}"
            );
            ensure!(
                asked.elapsed() < PROMPT,
                "the neighbour took {:?}",
                asked.elapsed()
            );
        }
        anyhow::Ok(())
    };
    let (calls, neighbour_answers) = tokio::join!(calls, neighbour_answers);
    neighbour_answers?;
    for call in calls {
        let (status, body) = call?;
        ensure!(
            status >= 500 && body.contains(reason),
            "{path} ended with {status}: {body}"
        );
    }
    // Counted once the body has ended, which may be after the answer is here.
    eventually(
        &format!("the agent's metrics to count {reason}"),
        PATIENCE,
        async || {
            let metrics = tenant.suite.agent(1)?.get("/metrics").await?;
            ensure!(metrics.contains(reason), "they are {metrics}");
            Ok(())
        },
    )
    .await?;
    let after = fetch(&greedy.url("/")).await?;
    ensure!(
        after == (200, ANSWER.to_owned()),
        "the guest itself answers {after:?} afterwards"
    );
    Ok(())
}

/// The guest that misbehaves, on node-1 alone, where its neighbour is too.
async fn running(tenant: &Tenant, name: &str, resources: serde_json::Value) -> Result<Endpoint> {
    let image = tenant
        .push_bytes(name, "1.0.0", guest::PROBE.to_vec())
        .await?;
    tenant.suite.signer.sign(&image).await?;
    let placement =
        json!({ "mode": "EveryNode", "nodeSelector": { "kubernetes.io/hostname": "node-1" } });
    let spec = json!({ "image": image.tag, "placement": placement, "resources": resources });
    tenant.component(name, spec).await?;
    let endpoints = tenant.answers(name, 1, ANSWER).await?;
    endpoints
        .into_iter()
        .next()
        .with_context(|| format!("{name} has no endpoint"))
}
