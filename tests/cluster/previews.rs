//! Another image of a component beside it: its own Service, none of the component's requests,
//! and nothing that the component does not give it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use crds::component::PreviewStatus;
use e2e::eventually::{PATIENCE, eventually, throughout};
use e2e::load::Load;
use e2e::suite::shared;
use e2e::tenant::{Tenant, fetch};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::plug_in::{lm, said};

/// What three debug agents on two cores answer with room to spare.
const REQUESTS_PER_SECOND: u32 = 50;
const OPERATOR: &str = "system:serviceaccount:lighterman-system:lighterman-operator";

#[test]
fn a_preview_serves_under_a_service_of_its_own_and_takes_no_request() -> Result<()> {
    shared("preview", async |tenant| {
        let first = tenant.publish("orders", "1", "1.0.0").await?;
        let second = tenant.publish("orders", "2", "2.0.0").await?;
        let third = tenant.publish("orders", "3", "3.0.0").await?;
        let of = |image: &str| json!({ "image": first.tag, "previews": [{ "name": "next", "image": image }] });
        tenant
            .component("orders", json!({ "image": first.tag }))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        let revision = tenant
            .ready("orders")
            .await?
            .status
            .and_then(|of| of.current);

        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);
        tenant.component("orders", of(&second.tag)).await?;
        tenant.answers("orders-next", 1, "2.0.0").await?;
        let preview = tenant.ready("orders-next").await?;
        ensure!(preview.spec.resources.requests.memory.0 == 0, "it reserves");
        let told = told(tenant, |of| of.ready).await?;
        ensure!(told.url == preview.status.and_then(|of| of.url), "{told:?}");
        let page = said(&lm(tenant, &["status", "orders"])?);
        ensure!(page.contains("orders-next.preview"), "{page}");
        let undo = said(&lm(tenant, &["rollout", "pause", "orders-next"])?);
        ensure!(undo.contains("change spec.previews of orders"), "{undo}");

        tenant.component("orders", of(&third.tag)).await?;
        tenant.answers("orders-next", 1, "3.0.0").await?;
        tenant
            .component("orders", json!({ "image": first.tag }))
            .await?;
        gone(tenant, "wc/orders-next").await?;
        gone(tenant, "service/orders-next").await?;
        load.stop().await?.only(&["1.0.0"])?;
        let status = tenant.ready("orders").await?.status.context("no status")?;
        ensure!(status.current == revision, "a preview made a rollout");
        ensure!(status.previews.is_empty(), "{:?}", status.previews);
        Ok(())
    })
}

#[test]
fn what_is_written_into_a_preview_is_undone_and_what_is_deleted_comes_back() -> Result<()> {
    shared("preview-kept", async |tenant| {
        let first = tenant.publish("orders", "1", "1.0.0").await?;
        let second = tenant.publish("orders", "2", "2.0.0").await?;
        let previews = json!([{ "name": "next", "image": second.tag }]);
        let spec = json!({ "image": first.tag, "previews": previews });
        tenant.component("orders", spec).await?;
        tenant.answers("orders-next", 1, "2.0.0").await?;

        let patch = json!({ "spec": { "replicas": 3, "args": ["--odd"] } }).to_string();
        let merge = ["patch", "wc/orders-next", "--type=merge", "-p", &patch];
        tenant.kubectl(&merge).await?;
        eventually("the preview to be put back", PATIENCE, async || {
            let spec = tenant.get("orders-next").await?.spec;
            ensure!(spec.replicas == 1 && spec.args.is_empty(), "{spec:?}");
            Ok(())
        })
        .await?;
        let before = tenant.get("orders-next").await?.uid();
        tenant.kubectl(&["delete", "wc/orders-next"]).await?;
        eventually("the preview to come back", PATIENCE, async || {
            let now = tenant.get("orders-next").await?.uid();
            ensure!(now != before, "it is the one that was deleted");
            Ok(())
        })
        .await?;
        tenant.answers("orders-next", 1, "2.0.0").await?;
        tenant.kubectl(&["delete", "wc/orders"]).await?;
        gone(tenant, "wc/orders-next").await
    })
}

#[test]
fn a_component_under_the_name_of_a_preview_is_left_alone_and_said() -> Result<()> {
    shared("preview-foreign", async |tenant| {
        let first = tenant.publish("orders", "1", "1.0.0").await?;
        let second = tenant.publish("orders", "2", "2.0.0").await?;
        tenant
            .component("orders-next", json!({ "image": first.tag }))
            .await?;
        tenant.answers("orders-next", 3, "1.0.0").await?;
        let previews = json!([{ "name": "next", "image": second.tag }]);
        let spec = json!({ "image": first.tag, "previews": previews });
        tenant.component("orders", spec).await?;
        let told = told(tenant, |of| of.reason == crds::Reason::ServiceConflict).await?;
        ensure!(
            told.message.contains("give the preview another name"),
            "{told:?}"
        );
        tenant.ready("orders").await?;
        for endpoint in tenant.endpoints("orders-next").await? {
            let answer = fetch(&endpoint.url("/")).await?;
            ensure!(answer == (200, "1.0.0".to_owned()), "{answer:?}");
        }
        Ok(())
    })
}

#[test]
fn the_operator_can_write_no_component_but_a_preview() -> Result<()> {
    shared("preview-operator", async |tenant| {
        let image = tenant.publish("orders", "1", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        let component = tenant.ready("orders").await?;
        let own = json!({ "image": image.tag });
        let plain = object("odd", &json!({}), &own);
        denied("make a component", create(tenant, &plain).await)?;
        let labels = json!({ "lighterman.dev/preview-of": "orders" });
        let labelled = object("orders-odd", &labels, &own);
        denied("make one that nobody owns", create(tenant, &labelled).await)?;
        let replace = ["--as", OPERATOR, "replace", "-f", "-"];
        let mut taken = serde_json::to_value(&component)?;
        taken["metadata"]["labels"] = labels;
        let replaced = tenant.kubectl_with(&replace, &taken.to_string()).await;
        denied("make a preview of a component", replaced)?;
        let delete = ["--as", OPERATOR, "delete", "wc/orders"];
        denied("delete a component", tenant.kubectl(&delete).await)
    })
}

#[test]
fn a_preview_that_its_component_does_not_name_is_run_by_no_node() -> Result<()> {
    shared("preview-forged", async |tenant| {
        let image = tenant.publish("orders", "1", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        let labels = json!({ "lighterman.dev/preview-of": "orders" });
        let spec = json!({
            "image": image.tag,
            "triggers": [{ "name": "web", "http": { "port": 80 } }],
        });
        let forged = object("orders-odd", &labels, &spec);
        tenant.apply(forged).await?;
        let message = tenant.refused("orders-odd", "RevisionFailed").await?;
        for part in ["GrantExceeded", "spec.previews"] {
            ensure!(message.contains(part), "{message}");
        }
        throughout("nobody to serve it", Duration::from_secs(3), async || {
            let ready = tenant.get("orders-odd").await?.status;
            let ready = ready.map(|status| status.ready_replicas);
            ensure!(ready == Some(0), "{ready:?}");
            Ok(())
        })
        .await
    })
}

/// Waits until the component says of its only preview what `holds`.
async fn told(tenant: &Tenant, holds: impl Fn(&PreviewStatus) -> bool) -> Result<PreviewStatus> {
    eventually("the word on the preview", PATIENCE, async || {
        let status = tenant.get("orders").await?.status.unwrap_or_default();
        let [preview] = status.previews.as_slice() else {
            bail!("{:?}", status.previews);
        };
        ensure!(holds(preview), "{preview:?}");
        Ok(preview.clone())
    })
    .await
}

async fn gone(tenant: &Tenant, object: &str) -> Result<()> {
    eventually(&format!("{object} to go"), PATIENCE, async || {
        let found = ["get", object, "--ignore-not-found", "-o", "name"];
        let found = tenant.kubectl(&found).await?;
        ensure!(found.is_empty(), "{found}");
        Ok(())
    })
    .await
}

fn object(name: &str, labels: &Value, spec: &Value) -> Value {
    json!({
        "apiVersion": "lighterman.dev/v1alpha1",
        "kind": "WasmComponent",
        "metadata": { "name": name, "labels": labels },
        "spec": spec,
    })
}

async fn create(tenant: &Tenant, object: &Value) -> Result<String> {
    let arguments = ["--as", OPERATOR, "create", "-f", "-"];
    tenant.kubectl_with(&arguments, &object.to_string()).await
}

fn denied(what: &str, outcome: Result<String>) -> Result<()> {
    match outcome {
        Err(error) if format!("{error:#}").contains("writes no component but previews") => Ok(()),
        Err(error) => Err(error).with_context(|| format!("to {what} failed otherwise")),
        Ok(_) => bail!("the operator could {what}"),
    }
}
