//! A canary: a new version is given a share of the requests on every node, and the next one when
//! somebody says so.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::load::Load;
use e2e::suite::shared;
use e2e::tenant::{Tenant, fetch};
use serde_json::{Value, json};

use crate::plug_in::done;

const REQUESTS_PER_SECOND: u32 = 50;
/// Requests to each node: its share is spread over any hundred of them.
const SAMPLE: u32 = 100;
const SETTLE: Duration = Duration::from_secs(1);

#[test]
fn a_canary_is_given_its_share_on_every_node_until_it_is_resumed_and_promoted() -> Result<()> {
    shared("canary", async |tenant| {
        let first = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let second = tenant.publish("orders", "2.0.0", "2.0.0").await?;
        let rollout = json!({
            "canary": { "steps": [
                { "weight": 10, "pause": {} },
                { "weight": 60, "pause": {} },
                { "weight": 80, "pause": {} },
            ] },
        });
        tenant
            .component("orders", spec(&first.tag, &rollout))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        tenant.ready("orders").await?;

        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);
        tenant
            .component("orders", spec(&second.tag, &rollout))
            .await?;
        waits_at(tenant, "10 %").await?;
        shares(tenant, 10).await?;

        done(tenant, &["rollout", "resume", "orders"])?;
        waits_at(tenant, "60 %").await?;
        shares(tenant, 60).await?;

        done(tenant, &["rollout", "promote", "orders"])?;
        tenant.answers("orders", 3, "2.0.0").await?;
        tenant.ready("orders").await?;
        tokio::time::sleep(SETTLE).await;
        load.stop().await?.only(&["1.0.0", "2.0.0"])
    })
}

#[test]
fn a_canary_that_is_undone_gives_every_request_back() -> Result<()> {
    shared("canary-undo", async |tenant| {
        let first = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let second = tenant.publish("orders", "2.0.0", "2.0.0").await?;
        let rollout = json!({ "canary": { "steps": [{ "weight": 50, "pause": {} }] } });
        tenant
            .component("orders", spec(&first.tag, &rollout))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        tenant.ready("orders").await?;

        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);
        tenant
            .component("orders", spec(&second.tag, &rollout))
            .await?;
        waits_at(tenant, "50 %").await?;
        done(tenant, &["rollout", "undo", "orders"])?;
        tenant.ready("orders").await?;
        shares(tenant, 0).await?;
        load.stop().await?.only(&["1.0.0", "2.0.0"])
    })
}

fn spec(image: &str, rollout: &Value) -> Value {
    json!({ "image": image, "rollout": rollout })
}

async fn waits_at(tenant: &Tenant, share: &str) -> Result<()> {
    eventually(
        &format!("the canary to wait at {share}"),
        PATIENCE,
        async || {
            let message = tenant.refused("orders", "CanaryPaused").await?;
            ensure!(message.contains(share), "{message}");
            Ok(())
        },
    )
    .await
}

/// Whether every node answers `share` of a hundred requests by the new version. The load beside
/// these takes turns of its own, so that a few more or less are no fault.
async fn shares(tenant: &Tenant, share: u32) -> Result<()> {
    for endpoint in tenant.endpoints("orders").await? {
        let mut found = 0;
        for _ in 0..SAMPLE {
            found += u32::from(fetch(&endpoint.url("/")).await? == (200, "2.0.0".to_owned()));
        }
        let most = share.min(SAMPLE - share).min(10);
        ensure!(
            found.abs_diff(share) <= most,
            "{} gave {found} of {SAMPLE} requests to the new version, not {share}",
            endpoint.node
        );
    }
    Ok(())
}
