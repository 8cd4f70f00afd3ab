//! A canary is judged by its own requests: one that goes well takes over by itself, one that
//! does not is undone.

use anyhow::{Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::guest::PROBE;
use e2e::load::Load;
use e2e::suite::shared;
use e2e::tenant::{Tenant, fetch};
use futures::future::join_all;
use serde_json::{Value, json};

const REQUESTS_PER_SECOND: u32 = 60;

#[test]
fn a_canary_that_goes_well_takes_over_by_itself() -> Result<()> {
    shared("analysis-good", async |tenant| {
        let first = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let second = tenant.publish("orders", "2.0.0", "2.0.0").await?;
        tenant.component("orders", spec(&first.tag)).await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        tenant.ready("orders").await?;

        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);
        tenant.component("orders", spec(&second.tag)).await?;
        tenant.answers("orders", 3, "2.0.0").await?;
        tenant.ready("orders").await?;
        load.stop().await?.only(&["1.0.0", "2.0.0"])
    })
}

#[test]
fn a_canary_that_traps_on_requests_is_undone_and_says_how_often_it_did() -> Result<()> {
    shared("analysis-traps", async |tenant| {
        let message = undone(tenant, "/trap", |(status, _)| status == 500).await?;
        let says = message.contains("requests, most with Trapped")
            && message.contains("analysis.maxErrorRate is 5%");
        ensure!(says, "{message}");
        Ok(())
    })
}

#[test]
fn a_canary_that_is_slow_is_undone_and_says_how_slow() -> Result<()> {
    shared("analysis-slow", async |tenant| {
        let message = undone(tenant, "/sleep?ms=700", |(status, _)| status == 200).await?;
        ensure!(
            message.contains("analysis.maxLatencyP99 is 500ms"),
            "{message}"
        );
        Ok(())
    })
}

#[test]
fn a_canary_that_takes_too_much_memory_is_undone_and_says_so() -> Result<()> {
    shared("analysis-memory", async |tenant| {
        let message = undone(tenant, "/grow", |(status, _)| status >= 500).await?;
        ensure!(message.contains("most with MemoryExceeded"), "{message}");
        Ok(())
    })
}

/// Asks for `path`, which the first version answers at once and the second one as it can, until
/// the second one is undone. Gives what the status says to it.
async fn undone(
    tenant: &Tenant,
    path: &str,
    may_be: impl Fn((u16, String)) -> bool,
) -> Result<String> {
    let good = tenant.publish("orders", "1.0.0", "1.0.0").await?;
    let bad = tenant.push_bytes("orders", "1.1.0", PROBE.to_vec()).await?;
    tenant.suite.signer.sign(&bad).await?;
    tenant.component("orders", spec(&good.tag)).await?;
    tenant.answers("orders", 3, "1.0.0").await?;
    tenant.ready("orders").await?;
    tenant.component("orders", spec(&bad.tag)).await?;

    eventually("the canary to be undone", PATIENCE, async || {
        for endpoint in tenant.endpoints("orders").await? {
            let url = endpoint.url(path);
            for answer in join_all((0..20).map(|_| fetch(&url))).await {
                let answer = answer?;
                ensure!(
                    answer.1 == "1.0.0" || may_be(answer.clone()),
                    "{answer:?} is of neither version"
                );
            }
        }
        let failure = tenant
            .get("orders")
            .await?
            .status
            .unwrap_or_default()
            .failure;
        ensure!(failure.is_some(), "it is not");
        Ok(())
    })
    .await?;
    let message = tenant.refused("orders", "RolledBack").await?;
    let status = tenant.get("orders").await?.status.unwrap_or_default();
    let reason = status.failure.map(|failure| failure.reason);
    ensure!(reason == Some(crds::Reason::CanaryFailed), "{reason:?}");
    tenant.answers("orders", 3, "1.0.0").await?;
    Ok(message)
}

fn spec(image: &str) -> Value {
    json!({ "image": image, "rollout": { "canary": {
        "steps": [
            { "weight": 20, "pause": { "duration": "1s" } },
            { "weight": 60 },
        ],
        "analysis": { "minRequests": 40, "maxErrorRate": "5%", "maxLatencyP99": "500ms", "maxRegression": "300%" },
    } } })
}
