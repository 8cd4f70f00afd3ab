//! A version that fails is undone on every node, and no request is lost by it.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::guest::PROBE;
use e2e::load::Load;
use e2e::registry::Image;
use e2e::suite::shared;
use e2e::tenant::Tenant;
use serde_json::{Value, json};

const REQUESTS_PER_SECOND: u32 = 50;
const SETTLE: Duration = Duration::from_secs(2);

#[test]
fn a_version_that_fails_its_health_check_is_undone_without_a_failed_request() -> Result<()> {
    shared("rollback-health", async |tenant| {
        let (good, bad) = versions(tenant).await?;
        let next = tenant.publish("orders", "2.0.0", "2.0.0").await?;
        tenant.component("orders", spec(&good, json!({}))).await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        let first = tenant.ready("orders").await?.status.unwrap_or_default();

        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);
        tenant.component("orders", spec(&bad, json!({}))).await?;
        let message = tenant.refused("orders", "RolledBack").await?;
        ensure!(message.contains("is put back on every node"), "{message}");
        tenant.alone_everywhere(&good).await?;
        let status = tenant.get("orders").await?.status.unwrap_or_default();
        ensure!(status.failed_digest == Some(bad.digest.to_string()));
        ensure!(status.current == first.current && status.updating.is_none());

        // It is not tried again by itself, nor because somebody pauses.
        for paused in ["true", "false"] {
            let paused = format!(r#"{{"spec": {{"rollout": {{"paused": {paused}}}}}}}"#);
            let patch = ["patch", "wc/orders", "--type=merge", "-p", &paused];
            tenant.kubectl(&patch).await?;
        }
        tokio::time::sleep(SETTLE).await;
        tenant.refused("orders", "RolledBack").await?;
        tenant.alone_everywhere(&good).await?;

        tenant.component("orders", spec(&next, json!({}))).await?;
        tenant.answers("orders", 3, "2.0.0").await?;
        let status = tenant.ready("orders").await?.status.unwrap_or_default();
        ensure!(status.failed_digest.is_none(), "{:?}", status.failed_digest);
        load.stop().await?.only(&["1.0.0", "2.0.0"])
    })
}

#[test]
fn with_on_failure_pause_nothing_is_put_back_and_nothing_follows() -> Result<()> {
    shared("rollback-pause", async |tenant| {
        let (good, bad) = versions(tenant).await?;
        let pause = json!({ "onFailure": "Pause" });
        tenant
            .component("orders", spec(&good, pause.clone()))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        tenant.ready("orders").await?;

        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);
        tenant.component("orders", spec(&bad, pause)).await?;
        tenant.refused("orders", "RevisionFailed").await?;
        tokio::time::sleep(SETTLE).await;
        let told = tenant.placements().await?.into_iter().filter(|placement| {
            let mut held = placement.spec.revisions.iter();
            held.any(|revision| revision.digest == bad.digest.to_string())
        });
        ensure!(told.count() == 1, "it was given to further nodes");
        load.stop().await?.only(&["1.0.0"])
    })
}

/// One that answers everything, and one that traps when it is asked for its health.
async fn versions(tenant: &Tenant) -> Result<(Image, Image)> {
    let good = tenant.publish("orders", "1.0.0", "1.0.0").await?;
    let bad = tenant.push_bytes("orders", "1.1.0", PROBE.to_vec()).await?;
    tenant.suite.signer.sign(&bad).await?;
    Ok((good, bad))
}

fn spec(image: &Image, rollout: Value) -> Value {
    json!({
        "image": image.tag,
        "health": { "httpGet": { "path": "/trap" } },
        "rollout": rollout,
    })
}
