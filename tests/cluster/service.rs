//! The operator owns the Services it makes, and touches no other.

use anyhow::{Context as _, Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::suite::shared;
use k8s_openapi::api::core::v1::Service;
use kube::api::Api;
use serde_json::json;

#[test]
fn a_service_that_is_not_ours_is_left_alone() -> Result<()> {
    shared("service-conflict", async |tenant| {
        tenant
            .apply(json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "name": "orders" },
                "spec": { "selector": { "app": "other" }, "ports": [{ "port": 80 }] },
            }))
            .await?;
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        let message = tenant.refused("orders", "ServiceConflict").await?;
        ensure!(message.contains("orders"), "the message is: {message}");
        let services = Api::<Service>::namespaced(tenant.client(), &tenant.name);
        let selector = services
            .get("orders")
            .await?
            .spec
            .and_then(|spec| spec.selector);
        ensure!(
            selector.is_some_and(|selector| selector.contains_key("app")),
            "it was changed"
        );
        tenant.kubectl(&["delete", "service/orders"]).await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        Ok(())
    })
}

#[test]
fn a_service_carries_what_the_component_says() -> Result<()> {
    shared("service-shape", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let spec = json!({
            "image": image.tag,
            "service": { "labels": { "team": "shop" }, "annotations": { "example.com/a": "b" } },
            "triggers": [
                { "name": "web", "http": { "port": 80 } },
                { "name": "internal", "http": { "port": 8080 } },
            ],
        });
        tenant.component("orders", spec).await?;
        tenant.ready("orders").await?;
        let services = Api::<Service>::namespaced(tenant.client(), &tenant.name);
        let service = services.get("orders").await?;
        let labels = service.metadata.labels.unwrap_or_default();
        ensure!(
            labels.get("team").is_some_and(|team| team == "shop"),
            "the labels are {labels:?}"
        );
        let spec = service.spec.context("a Service without spec")?;
        ensure!(
            spec.selector.unwrap_or_default().is_empty(),
            "it selects pods"
        );
        let mut ports: Vec<(String, i32)> = spec
            .ports
            .unwrap_or_default()
            .into_iter()
            .map(|port| (port.name.unwrap_or_default(), port.port))
            .collect();
        ports.sort();
        let wanted = [("internal".to_owned(), 8080), ("web".to_owned(), 80)];
        ensure!(ports == wanted, "its ports are {ports:?}");
        eventually("both triggers on three nodes", PATIENCE, async || {
            let endpoints = tenant.endpoints("orders").await?;
            ensure!(endpoints.len() == 6, "{endpoints:?}");
            Ok(())
        })
        .await
    })
}

#[test]
fn a_service_that_was_deleted_comes_back() -> Result<()> {
    shared("service-deleted", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        tenant.kubectl(&["delete", "service/orders"]).await?;
        eventually("the Service to be back", PATIENCE, async || {
            tenant.kubectl(&["get", "service/orders"]).await
        })
        .await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        Ok(())
    })
}
