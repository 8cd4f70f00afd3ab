//! A registry that is down delays what is new, and nothing else.

use anyhow::Result;
use e2e::suite::alone;
use serde_json::json;

#[test]
fn a_component_waits_for_its_registry_and_starts_when_it_is_up() -> Result<()> {
    alone("registry-down", async |tenant| {
        let running = tenant.publish("running", "1.0.0", "1.0.0").await?;
        let waiting = tenant.publish("waiting", "1.0.0", "1.0.0").await?;
        tenant
            .component("running", json!({ "image": running.tag }))
            .await?;
        tenant.answers("running", 3, "1.0.0").await?;

        tenant.suite.registry.stop().await?;
        tenant
            .component("waiting", json!({ "image": waiting.tag }))
            .await?;
        tenant.refused("waiting", "RegistryUnreachable").await?;
        tenant.answers("running", 3, "1.0.0").await?;

        tenant.suite.registry.start().await?;
        tenant.ready("waiting").await?;
        tenant.answers("waiting", 3, "1.0.0").await?;
        Ok(())
    })
}
