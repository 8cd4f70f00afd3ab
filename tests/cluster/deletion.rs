//! What is deleted leaves nothing: no object, no open port, no hanging namespace.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::suite::shared;
use e2e::tenant::{Tenant, fetch};
use serde_json::json;

/// Everything the operator makes for a component.
const KINDS: &str =
    "wasmcomponents,componentplacements,controllerrevisions.apps,services,endpointslices,endpoints";

#[test]
fn deleting_a_component_leaves_nothing() -> Result<()> {
    shared("delete-component", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        let endpoints = tenant.answers("orders", 3, "1.0.0").await?;
        tenant
            .kubectl(&["delete", "wc/orders", "--timeout=30s"])
            .await?;
        eventually(
            "every object of the component to be gone",
            PATIENCE,
            async || {
                let left = tenant.kubectl(&["get", KINDS, "-o", "name"]).await?;
                ensure!(left.is_empty(), "{left}");
                Ok(())
            },
        )
        .await?;
        closed(
            &endpoints
                .iter()
                .map(|endpoint| endpoint.url("/"))
                .collect::<Vec<_>>(),
        )
        .await
    })
}

#[test]
fn deleting_the_namespace_leaves_nothing() -> Result<()> {
    shared("delete-namespace", async |tenant| {
        let other = Tenant::create(tenant.suite, "delete-namespace-too").await?;
        let image = other.publish("orders", "1.0.0", "1.0.0").await?;
        other
            .component("orders", json!({ "image": image.tag }))
            .await?;
        let endpoints = other.answers("orders", 3, "1.0.0").await?;
        other.remove().await?;
        tenant
            .kubectl(&[
                "wait",
                "--for=delete",
                "namespace/delete-namespace-too",
                "--timeout=60s",
            ])
            .await?;
        closed(
            &endpoints
                .iter()
                .map(|endpoint| endpoint.url("/"))
                .collect::<Vec<_>>(),
        )
        .await
    })
}

async fn closed(urls: &[String]) -> Result<()> {
    eventually(
        "every port to be closed",
        PATIENCE + Duration::from_secs(30),
        async || {
            for url in urls {
                if let Ok(answer) = fetch(url).await {
                    anyhow::bail!("{url} still answers {answer:?}");
                }
            }
            Ok(())
        },
    )
    .await
}
