//! A new version replaces the old one without one failed request.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::load::Load;
use e2e::suite::shared;
use e2e::tenant::fetch;
use serde_json::json;

/// What three debug agents on two cores answer with room to spare.
const REQUESTS_PER_SECOND: u32 = 50;
/// Before and after the change, so that both versions are seen under load.
const SETTLE: Duration = Duration::from_secs(1);

#[test]
fn a_changed_image_swaps_on_every_node_without_a_failed_request() -> Result<()> {
    shared("update-image", async |tenant| {
        let first = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let second = tenant.publish("orders", "2.0.0", "2.0.0").await?;
        tenant
            .component("orders", json!({ "image": first.tag }))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;

        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);
        tokio::time::sleep(SETTLE).await;
        tenant
            .component("orders", json!({ "image": second.tag }))
            .await?;
        tenant.answers("orders", 3, "2.0.0").await?;
        tenant.ready("orders").await?;
        tokio::time::sleep(SETTLE).await;
        load.stop().await?.only(&["1.0.0", "2.0.0"])
    })
}

#[test]
fn a_moved_tag_is_followed_by_every_node_without_a_failed_request() -> Result<()> {
    shared("update-tag", async |tenant| {
        let first = tenant.publish("orders", "stable", "1.0.0").await?;
        tenant
            .component(
                "orders",
                json!({ "image": first.tag, "imagePollInterval": "30s" }),
            )
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;

        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);
        tokio::time::sleep(SETTLE).await;
        let second = tenant.publish("orders", "stable", "2.0.0").await?;
        ensure!(first.digest != second.digest, "the tag did not move");
        tenant.answers("orders", 3, "2.0.0").await?;
        tokio::time::sleep(SETTLE).await;
        load.stop().await?.only(&["1.0.0", "2.0.0"])
    })
}

#[test]
fn an_unsigned_version_leaves_the_signed_one_serving() -> Result<()> {
    shared("update-unsigned", async |tenant| {
        let signed = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let unsigned = tenant.push("orders", "2.0.0", "2.0.0").await?;
        tenant
            .component("orders", json!({ "image": signed.tag }))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;

        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);
        tenant
            .component("orders", json!({ "image": unsigned.tag }))
            .await?;
        tenant.refused("orders", "Unsigned").await?;
        tokio::time::sleep(SETTLE).await;
        load.stop().await?.only(&["1.0.0"])
    })
}

#[test]
fn a_request_under_way_ends_on_the_code_it_began_with() -> Result<()> {
    shared("update-under-way", async |tenant| {
        let first = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let second = tenant.publish("orders", "2.0.0", "2.0.0").await?;
        tenant
            .component("orders", json!({ "image": first.tag }))
            .await?;
        let endpoints = tenant.answers("orders", 3, "1.0.0").await?;
        let urls: Vec<String> = endpoints
            .iter()
            .map(|endpoint| endpoint.url("/wait"))
            .collect();
        let calls = futures::future::join_all(urls.iter().map(|url| fetch(url)));
        let swap = async {
            tenant
                .component("orders", json!({ "image": second.tag }))
                .await?;
            tenant.answers("orders", 3, "2.0.0").await
        };
        let (calls, swapped) = tokio::join!(calls, swap);
        swapped?;
        for call in calls {
            let call = call?;
            ensure!(
                call == (200, "1.0.0".to_owned()),
                "a call that began on 1.0.0 got {call:?}"
            );
        }
        Ok(())
    })
}
