//! `kubectl lm rollout undo` and `promote`: back to a version that is kept, without its registry.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::load::Load;
use e2e::suite::shared;
use serde_json::json;

use crate::plug_in::done;

const REQUESTS_PER_SECOND: u32 = 50;
const SETTLE: Duration = Duration::from_secs(2);

#[test]
fn an_undo_holds_until_the_spec_changes_and_fails_no_request() -> Result<()> {
    shared("undo", async |tenant| {
        let first = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let second = tenant.publish("orders", "2.0.0", "2.0.0").await?;
        let third = tenant.publish("orders", "3.0.0", "3.0.0").await?;
        let spec = |image: &str, mode: &str| {
            json!({
                "image": image,
                "replicas": 2,
                "placement": { "mode": "Spread" },
                // Agents start nothing that the component does not give, unless it pins it.
                "env": [{ "name": "MODE", "value": mode }],
            })
        };
        tenant
            .component("orders", spec(&first.tag, "first"))
            .await?;
        tenant.answers("orders", 2, "1.0.0").await?;
        tenant.ready("orders").await?;
        tenant
            .component("orders", spec(&second.tag, "second"))
            .await?;
        tenant.answers("orders", 2, "2.0.0").await?;
        tenant.ready("orders").await?;

        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);
        done(tenant, &["rollout", "undo", "orders"])?;
        tenant.answers("orders", 2, "1.0.0").await?;
        tenant.ready("orders").await?;
        done(tenant, &["rollout", "status", "orders"])?;

        // Scaling makes a generation, and no other spec.
        let scale = ["scale", "wc/orders", "--replicas=3"];
        tenant.kubectl(&scale).await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        tokio::time::sleep(SETTLE).await;
        tenant.answers("orders", 3, "1.0.0").await?;

        done(tenant, &["rollout", "promote", "orders"])?;
        tenant.answers("orders", 3, "2.0.0").await?;
        tenant.ready("orders").await?;

        done(tenant, &["rollout", "undo", "orders"])?;
        tenant.answers("orders", 3, "1.0.0").await?;
        let image = format!(r#"{{"spec": {{"image": "{}"}}}}"#, third.tag);
        let patch = ["patch", "wc/orders", "--type=merge", "-p", &image];
        tenant.kubectl(&patch).await?;
        tenant.answers("orders", 3, "3.0.0").await?;
        let status = tenant.ready("orders").await?.status.unwrap_or_default();
        ensure!(status.pinned.is_none(), "{:?}", status.pinned);
        load.stop().await?.only(&["1.0.0", "2.0.0", "3.0.0"])
    })
}
