//! An applied component answers where its Service says, and nowhere else.

use anyhow::{Context as _, Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::suite::shared;
use serde_json::json;

#[test]
fn an_applied_component_answers_on_the_endpoint_of_every_node() -> Result<()> {
    shared("every-node", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant
            .kubectl(&[
                "wait",
                "--for=condition=Ready",
                "wc/orders",
                "--timeout=90s",
            ])
            .await?;

        let endpoints = tenant.answers("orders", 3, "1.0.0").await?;
        let nodes: Vec<&str> = endpoints
            .iter()
            .map(|endpoint| endpoint.node.as_str())
            .collect();
        ensure!(
            nodes == ["node-1", "node-2", "node-3"],
            "endpoints are on {nodes:?}"
        );
        let status = tenant.get("orders").await?.status.context("no status")?;
        let [trigger] = status.triggers.as_slice() else {
            anyhow::bail!("triggers are {:?}", status.triggers)
        };
        for endpoint in &endpoints {
            ensure!(
                endpoint.address.port() == u16::try_from(trigger.port)?,
                "{endpoint:?} is not {trigger:?}"
            );
        }
        ensure!(
            (20_000..30_000).contains(&trigger.port),
            "the port is {}",
            trigger.port
        );
        let current = status.current.context("nothing is current")?;
        ensure!(
            current.digest == image.digest.to_string(),
            "{} serves",
            current.digest
        );
        ensure!(
            current.version.as_deref() == Some("1.0.0"),
            "the version is {:?}",
            current.version
        );
        ensure!(
            status.ready_replicas == 3,
            "{} replicas are ready",
            status.ready_replicas
        );
        Ok(())
    })
}

#[test]
fn replicas_are_spread_and_follow_the_scale() -> Result<()> {
    shared("spread", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let spread =
            json!({ "image": image.tag, "replicas": 2, "placement": { "mode": "Spread" } });
        tenant.component("orders", spread).await?;
        tenant.answers("orders", 2, "1.0.0").await?;
        tenant
            .kubectl(&["scale", "wc/orders", "--replicas=3"])
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        tenant
            .kubectl(&["scale", "wc/orders", "--replicas=1"])
            .await?;
        tenant.answers("orders", 1, "1.0.0").await?;
        eventually("one replica in the status", PATIENCE, async || {
            let status = tenant.get("orders").await?.status.context("no status")?;
            ensure!(
                (status.replicas, status.ready_replicas) == (1, 1),
                "{status:?}"
            );
            Ok(())
        })
        .await
    })
}

#[test]
fn a_node_selector_chooses_the_node() -> Result<()> {
    shared("selector", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let selector = json!({ "kubernetes.io/hostname": "node-2" });
        let placement = json!({ "mode": "EveryNode", "nodeSelector": selector });
        tenant
            .component(
                "orders",
                json!({ "image": image.tag, "placement": placement }),
            )
            .await?;
        let endpoints = tenant.answers("orders", 1, "1.0.0").await?;
        ensure!(
            endpoints.iter().all(|endpoint| endpoint.node == "node-2"),
            "{endpoints:?}"
        );
        Ok(())
    })
}
