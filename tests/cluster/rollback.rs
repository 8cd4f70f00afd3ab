//! A version that fails is taken back without a failed request, and not tried again until the
//! image or the spec changes.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::guest;
use e2e::load::Load;
use e2e::suite::shared;
use e2e::tenant::condition;
use serde_json::{Value, json};

const REQUESTS_PER_SECOND: u32 = 50;
/// Long enough for a wrong revision to be given a request.
const SETTLE: Duration = Duration::from_secs(2);

#[test]
fn a_version_that_fails_its_health_check_is_taken_back_and_the_next_one_runs() -> Result<()> {
    shared("rollback", async |tenant| {
        let good = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let bad = tenant
            .push_bytes("orders", "2.0.0", guest::PROBE.to_vec())
            .await?;
        tenant.suite.signer.sign(&bad).await?;
        let mended = tenant.publish("orders", "3.0.0", "3.0.0").await?;
        // The good one answers every path with 200, the bad one this with 500.
        let spec = |image: &str, replicas: u32| -> Value {
            json!({
                "image": image,
                "replicas": replicas,
                "placement": { "mode": "Spread" },
                "health": { "httpGet": { "path": "/status?code=500" } },
                "rollout": { "maxParallel": "100%" },
            })
        };
        tenant.component("orders", spec(&good.tag, 2)).await?;
        tenant.answers("orders", 2, "1.0.0").await?;

        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);
        tenant.component("orders", spec(&bad.tag, 2)).await?;
        let said = tenant.refused("orders", "RolledBack").await?;
        for text in ["HealthCheckFailed", "/status?code=500", "put back"] {
            ensure!(said.contains(text), "no {text} in: {said}");
        }
        // A node that comes now gets what served before.
        tenant.component("orders", spec(&bad.tag, 3)).await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        tokio::time::sleep(SETTLE).await;
        load.stop().await?.only(&["1.0.0"])?;
        let component = tenant.get("orders").await?;
        let status = component.status.clone().unwrap_or_default();
        ensure!(
            status.failed_digest == Some(bad.digest.to_string()),
            "the failed digest is {:?}",
            status.failed_digest
        );
        let available = condition(&component, "Available")?;
        ensure!(available.status == "True", "{available:?}");
        eventually("nothing but what served before", PATIENCE, async || {
            for placement in tenant.placements().await? {
                let held = &placement.spec.revisions;
                ensure!(
                    held.len() == 1,
                    "{} holds {held:?}",
                    placement.spec.node_name
                );
            }
            Ok(())
        })
        .await?;

        tenant.component("orders", spec(&mended.tag, 3)).await?;
        tenant.answers("orders", 3, "3.0.0").await?;
        let component = tenant.ready("orders").await?;
        let failed = component.status.and_then(|status| status.failed_digest);
        ensure!(failed.is_none(), "the failed digest is still {failed:?}");
        Ok(())
    })
}
