//! Instances that answer more than one request: only where a policy says so, and only until a
//! policy says otherwise.

use anyhow::{Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::guest;
use e2e::suite::alone;
use e2e::tenant::{Endpoint, Tenant, fetch};
use serde_json::{Value, json};

#[test]
fn an_instance_answers_again_only_as_long_as_the_policy_admits_it() -> Result<()> {
    alone("reuse", async |tenant| {
        let outcome = told(tenant).await;
        admit(tenant, Value::Null).await?;
        outcome
    })
}

/// Lets the policy that holds everywhere admit that instances are used again.
async fn admit(tenant: &Tenant, reuse: Value) -> Result<()> {
    tenant
        .allow_everywhere(json!({ "instanceReuse": reuse }))
        .await
}

/// Whether a request finds in memory what the one before it has left there.
async fn finds_stains(endpoint: &Endpoint) -> Result<bool> {
    let (status, _) = fetch(&endpoint.url("/dirty")).await?;
    ensure!(status == 200, "/dirty answered {status}");
    let (status, found) = fetch(&endpoint.url("/clean")).await?;
    ensure!(status == 200, "/clean answered {status}");
    Ok(found != "0\n")
}

async fn told(tenant: &Tenant) -> Result<()> {
    let image = tenant
        .push_bytes("orders", "1.0.0", guest::PROBE.to_vec())
        .await?;
    tenant.suite.signer.sign(&image).await?;
    let spec = json!({
        "image": image.tag,
        "replicas": 1,
        "placement": { "mode": "Spread" },
        "instances": { "maxRequests": 1000, "idleTimeout": "1m" },
    });
    tenant.component("orders", spec).await?;
    let said = tenant.refused("orders", "CapabilityAboveCeiling").await?;
    ensure!(said.contains("instanceReuse"), "it says: {said}");

    admit(tenant, json!(true)).await?;
    let endpoints = tenant.answers("orders", 1, "probe\n").await?;
    let [endpoint] = endpoints.as_slice() else {
        anyhow::bail!("the endpoints are {endpoints:?}");
    };
    eventually("an instance that answers again", PATIENCE, async || {
        ensure!(finds_stains(endpoint).await?, "every one is fresh");
        Ok(())
    })
    .await?;

    admit(tenant, json!(false)).await?;
    eventually("only fresh instances", PATIENCE, async || {
        ensure!(!finds_stains(endpoint).await?, "one answers again");
        Ok(())
    })
    .await
}
