//! The CA of the hand-over gets a successor: it is published before anything is
//! issued from it, and agents go on fetching all the while.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use crds::names;
use e2e::eventually::{PATIENCE, eventually};
use e2e::operator::NAMESPACE;
use e2e::suite::alone;
use e2e::tenant::Tenant;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use serde_json::json;

/// A year in the life of a cluster, and its day of overlap.
const SHORTENED: [&str; 4] = ["--ca-rotation", "30s", "--ca-overlap", "12s"];
const END: &str = "-----END CERTIFICATE-----\n";

#[test]
fn a_new_ca_is_published_before_it_issues_and_agents_follow() -> Result<()> {
    alone("ca-rotation", async |tenant| {
        let operator = &tenant.suite.operator;
        let old = bundle(tenant).await?;
        answers(tenant, &old).await.context("before the rotation")?;

        operator.kill().await?;
        operator.start_with(&SHORTENED).await?;
        let both = eventually("a second CA in the bundle", PATIENCE, async || {
            let now = bundle(tenant).await?;
            ensure!(now.len() > old.len(), "there is only the old one");
            Ok(now)
        })
        .await?;
        ensure!(both.starts_with(&old), "the old CA is gone from the bundle");
        answers(tenant, &old)
            .await
            .context("a certificate of the new CA during the overlap")?;

        let new = both.get(old.len()..).unwrap_or_default().to_owned();
        eventually("a certificate of the new CA", PATIENCE, async || {
            answers(tenant, &new).await
        })
        .await?;
        // Agents fetch under it: nothing of this component is on their nodes yet.
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        operator.kill().await?;
        operator.start().await?;
        Ok(())
    })
}

/// The certificates that agents are told to trust.
async fn bundle(tenant: &Tenant) -> Result<Vec<String>> {
    let maps = Api::<ConfigMap>::namespaced(tenant.client(), NAMESPACE);
    let data = maps.get(names::TRUST_CONFIG_MAP).await?.data;
    let bundle = data.and_then(|mut data| data.remove(names::TRUST_CA_KEY));
    let bundle = bundle.context("no bundle is published")?;
    Ok(bundle.split_inclusive(END).map(str::to_owned).collect())
}

/// Whether the hand-over answers somebody who trusts these CAs only.
async fn answers(tenant: &Tenant, trusted: &[String]) -> Result<()> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(
            trusted.concat().as_bytes(),
        )?)
        .timeout(Duration::from_secs(10))
        .build()?;
    let url = format!("https://{}/", tenant.suite.operator.hand_over);
    client.get(url).send().await?;
    Ok(())
}
