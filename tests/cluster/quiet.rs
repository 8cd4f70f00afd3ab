//! Components at rest cost the API server nothing: no write but the heartbeats.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::suite::alone;
use e2e::writes::writes;
use serde_json::json;

/// Three heartbeats, and longer than every timer of operator and agents but the
/// look at the values of Secrets, which only reads.
const AT_REST: Duration = Duration::from_secs(30);
/// What earlier tests left behind is still being deleted at first.
const SETTLED: Duration = Duration::from_secs(150);
const COMPONENTS: usize = 6;

#[test]
fn components_at_rest_cause_no_write_but_leases() -> Result<()> {
    alone("quiet", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        for number in 0..COMPONENTS {
            let spec = match number % 2 {
                0 => json!({ "image": image.tag }),
                _ => {
                    json!({ "image": image.tag, "replicas": 2, "placement": { "mode": "Spread" } })
                }
            };
            tenant.component(&format!("orders-{number}"), spec).await?;
        }
        for number in 0..COMPONENTS {
            tenant.ready(&format!("orders-{number}")).await?;
        }
        eventually("a time without writes", SETTLED.max(PATIENCE), async || {
            let before = writes(&tenant.client()).await?;
            tokio::time::sleep(AT_REST).await;
            let mut after = writes(&tenant.client()).await?;
            after.retain(|what, count| before.get(what) != Some(count));
            let leases = after.keys().filter(|what| what.starts_with("leases "));
            ensure!(leases.count() > 0, "not even heartbeats: {after:?}");
            after.retain(|what, _| !what.starts_with("leases "));
            ensure!(after.is_empty(), "there were writes: {after:?}");
            Ok(())
        })
        .await
    })
}
