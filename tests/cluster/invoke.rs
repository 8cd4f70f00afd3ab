//! Functions that a component exports are called as JSON over HTTP: those that its trigger names,
//! and no other.

use anyhow::{Context as _, Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::guest::TOOLS;
use e2e::registry::Image;
use e2e::suite::shared;
use e2e::tenant::{Endpoint, Tenant};
use serde_json::{Value, json};

fn spec(image: &Image, interfaces: &[&str]) -> Value {
    json!({
        "image": image.tag,
        "triggers": [{
            "name": "rpc",
            "invoke": { "port": 8080, "interfaces": interfaces, "auth": { "none": {} } },
        }],
    })
}

async fn publish(tenant: &Tenant) -> Result<Image> {
    let wasm = e2e::guest::copy(TOOLS.to_vec(), &tenant.name)?;
    let image = tenant.push_bytes("tools", "1", wasm).await?;
    tenant.suite.signer.sign(&image).await?;
    Ok(image)
}

/// What a call is answered with.
async fn call(endpoint: &Endpoint, path: &str, arguments: &Value) -> Result<(u16, Value)> {
    let client = reqwest::Client::new();
    let request = client.post(endpoint.url(path)).json(arguments);
    let response = request.send().await?;
    let status = response.status().as_u16();
    Ok((status, response.json().await?))
}

#[test]
fn functions_of_the_interfaces_that_are_named_are_called_and_no_others() -> Result<()> {
    shared("invoke", async |tenant| {
        let image = publish(tenant).await?;
        let spec = spec(&image, &["acme:math/tools@1"]);
        tenant.component("tools", spec).await?;
        let component = tenant.ready("tools").await?;
        let url = component.status.and_then(|status| status.url);
        let expected = format!("http://tools.{}.svc:8080", tenant.name);
        ensure!(url.as_deref() == Some(&*expected), "{url:?}");
        let endpoint = eventually("an endpoint", PATIENCE, async || {
            let endpoints = tenant.endpoints("tools").await?;
            endpoints.into_iter().next().context("there is none")
        })
        .await?;

        let add = "/acme:math/tools@1/add";
        let (status, sum) = call(&endpoint, add, &json!({ "a": 1, "b": 2 })).await?;
        ensure!((status, &sum) == (200, &json!(3)), "{status} {sum}");
        let divide = "/acme:math/tools@1.2.0/divide";
        let (status, error) = call(&endpoint, divide, &json!({ "a": 1, "b": 0 })).await?;
        ensure!(status == 422, "{status} {error}");
        ensure!(error == json!({ "err": "division by zero" }), "{error}");
        let (status, wrong) = call(&endpoint, add, &json!({ "a": 1, "b": "2" })).await?;
        ensure!(status == 400 && wrong["path"] == "$.b", "{status} {wrong}");
        let echo = "/acme:shapes/echo@1.0.0/text";
        let (status, _) = call(&endpoint, echo, &json!({ "value": "x" })).await?;
        ensure!(status == 404, "{status}");
        let (_, described) = e2e::tenant::fetch(&endpoint.url("/openapi.json")).await?;
        let described: Value = serde_json::from_str(&described)?;
        let paths = described["paths"].as_object().context("no paths")?;
        ensure!(paths.len() == 6, "{paths:?}");
        Ok(())
    })
}

#[test]
fn an_interface_that_is_not_there_is_refused_before_anything_is_placed() -> Result<()> {
    shared("invoke-missing", async |tenant| {
        let image = publish(tenant).await?;
        let spec = spec(&image, &["acme:math/tools@2"]);
        tenant.component("tools", spec).await?;
        let message = tenant.refused("tools", "ExportMissing").await?;
        ensure!(message.contains("acme:math/tools@2"), "{message}");
        ensure!(message.contains("acme:math/tools@1.2.0"), "{message}");
        ensure!(tenant.placements().await?.is_empty());
        Ok(())
    })
}

#[test]
fn an_interface_with_a_resource_is_refused_by_the_node() -> Result<()> {
    shared("invoke-resource", async |tenant| {
        let image = publish(tenant).await?;
        let spec = spec(&image, &["acme:store/blobs@1"]);
        tenant.component("tools", spec).await?;
        let message = tenant.refused("tools", "RevisionFailed").await?;
        for part in ["ExportMissing", "belongs to a resource"] {
            ensure!(message.contains(part), "{message}");
        }
        Ok(())
    })
}
