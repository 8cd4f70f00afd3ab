//! A node's endpoint is withdrawn before its agent stops answering, so that a
//! restart of an agent fails no request.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::load::Load;
use e2e::suite::alone;
use e2e::tenant::{Tenant, fetch};
use serde_json::json;

/// DESIGN says about two seconds; the rest is for two busy cores.
const WITHDRAWN: Duration = Duration::from_secs(5);

#[test]
fn the_endpoint_of_a_pod_that_is_not_ready_is_withdrawn() -> Result<()> {
    alone("withdraw", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        let agent = tenant.suite.agent(2)?;
        agent.report(false).await?;
        let reported = Instant::now();
        nodes_are(tenant, &["node-1", "node-3"]).await?;
        ensure!(
            reported.elapsed() < WITHDRAWN,
            "it took {:?}",
            reported.elapsed()
        );
        agent.report(true).await?;
        nodes_are(tenant, &["node-1", "node-2", "node-3"]).await
    })
}

#[test]
fn an_agent_that_is_stopped_drains_and_fails_no_request() -> Result<()> {
    alone("drain", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        let endpoints = tenant.answers("orders", 3, "1.0.0").await?;
        let agent = tenant.suite.agent(2)?;
        let load = Load::start(tenant.client(), &tenant.name, "orders", 50);
        tokio::time::sleep(Duration::from_secs(1)).await;

        let slow = endpoints
            .iter()
            .filter(|endpoint| endpoint.node == agent.node);
        let slow: Vec<String> = slow.map(|endpoint| endpoint.url("/wait")).collect();
        let calls = futures::future::join_all(slow.iter().map(|url| fetch(url)));
        let stop = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            agent.stop().await
        };
        let (calls, status) = tokio::join!(calls, stop);
        let status = status?;
        ensure!(status.success(), "the agent ended with {status}");
        for call in calls {
            let call = call?;
            ensure!(
                call == (200, "1.0.0".to_owned()),
                "a call under way ended with {call:?}"
            );
        }
        nodes_are(tenant, &["node-1", "node-3"]).await?;
        agent.start().await?;
        nodes_are(tenant, &["node-1", "node-2", "node-3"]).await?;
        load.stop().await?.only(&["1.0.0"])
    })
}

async fn nodes_are(tenant: &Tenant, nodes: &[&str]) -> Result<()> {
    eventually(&format!("endpoints on {nodes:?}"), PATIENCE, async || {
        let ready = tenant.endpoints("orders").await?;
        let now: Vec<&str> = ready
            .iter()
            .map(|endpoint| endpoint.node.as_str())
            .collect();
        ensure!(now == nodes, "they are on {now:?}");
        Ok(())
    })
    .await
}
