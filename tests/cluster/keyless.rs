//! Signatures by short-lived certificates, checked by a trusted root of the
//! platform's own: operator and agents each read it by name, and nobody's network
//! is asked.

use anyhow::{Context as _, Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::operator::NAMESPACE;
use e2e::registry::{Image, attach};
use e2e::suite::shared;
use e2e::tenant::{Tenant, condition};
use registry::Credentials;
use serde_json::{Value, json};

use crate::sigstore::{ISSUER, Keyless, SUBJECT, Sigstore};

#[test]
fn what_a_trusted_identity_signed_runs_once_its_root_is_there() -> Result<()> {
    shared("keyless-root", async |tenant| {
        let sigstore = Sigstore::new();
        let image = signed(tenant, &sigstore, |_| {}).await?;
        trust(tenant, "Required").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        // Without the root nothing was found out, which is neither signed nor unsigned.
        let unchecked = eventually("a verdict that waits", PATIENCE, async || {
            let verified = condition(&tenant.get("orders").await?, "Verified")?;
            ensure!(verified.reason == "RootUnavailable", "{verified:?}");
            Ok(verified)
        });
        ensure!(unchecked.await?.status == "Unknown", "it was judged");
        ensure!(tenant.placements().await?.is_empty(), "it was placed");

        publish_root(tenant, &sigstore.root_json()).await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        let component = tenant.ready("orders").await?;
        let verified = condition(&component, "Verified")?;
        ensure!(verified.message.contains(SUBJECT), "{}", verified.message);
        let status = component.status.context("no status")?;
        let signer = status.current.and_then(|current| current.signer);
        let expected = format!("{}/ci", tenant.name);
        ensure!(signer.as_deref() == Some(&*expected), "{signer:?}");
        Ok(())
    })
}

#[test]
fn what_somebody_else_signed_is_refused_with_his_name() -> Result<()> {
    shared("keyless-identity", async |tenant| {
        let sigstore = Sigstore::new();
        let stranger = "https://github.com/mallory/orders/.github/workflows/release.yaml@v1";
        let image = signed(tenant, &sigstore, |signing| {
            signing.subject = stranger.to_owned();
        })
        .await?;
        publish_root(tenant, &sigstore.root_json()).await?;
        trust(tenant, "Required").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        let message = tenant.refused("orders", "NotTrustedIdentity").await?;
        ensure!(message.contains(stranger), "{message}");
        ensure!(tenant.placements().await?.is_empty(), "it was placed");
        Ok(())
    })
}

#[test]
fn what_no_log_has_seen_is_refused_where_a_log_is_required() -> Result<()> {
    shared("keyless-log", async |tenant| {
        let sigstore = Sigstore::new();
        let image = signed(tenant, &sigstore, |signing| {
            (signing.log, signing.timestamp) = (false, true);
        })
        .await?;
        publish_root(tenant, &sigstore.root_json()).await?;
        trust(tenant, "Required").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.refused("orders", "NotInLog").await?;
        ensure!(tenant.placements().await?.is_empty(), "it was placed");
        // A timestamp authority is enough where none is.
        trust(tenant, "Ignore").await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        Ok(())
    })
}

/// Pushes `orders` and signs it without a key, as `change` says.
async fn signed(
    tenant: &Tenant,
    sigstore: &Sigstore,
    change: impl FnOnce(&mut Keyless),
) -> Result<Image> {
    let image = tenant.push("orders", "1.0.0", "1.0.0").await?;
    let mut signing = Keyless::of(&image.digest);
    change(&mut signing);
    let bundle = sigstore.keyless(&signing).to_string();
    attach(&image, bundle.into_bytes(), &Credentials::anonymous()).await?;
    Ok(image)
}

/// The tenant's policy trusts one identity, by the root in a ConfigMap of the tenant's name.
async fn trust(tenant: &Tenant, ctlog: &str) -> Result<()> {
    let root = json!({ "configMapKeyRef": { "name": tenant.name, "key": "trusted_root.json" } });
    let identity = json!({ "issuer": ISSUER, "subject": SUBJECT });
    let keyless = json!({ "identities": [identity], "trustedRoot": root });
    let authority = json!({ "name": "ci", "keyless": keyless, "ctlog": ctlog });
    tenant
        .trust_with(json!({ "authorities": [authority] }))
        .await
}

async fn publish_root(tenant: &Tenant, root: &Value) -> Result<()> {
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": tenant.name, "namespace": NAMESPACE },
        "data": { "trusted_root.json": root.to_string() },
    });
    let arguments = ["apply", "--server-side", "-f", "-"];
    let cluster = &tenant.suite.cluster;
    cluster
        .kubectl_ok(&arguments, Some(&config_map.to_string()))
        .await?;
    Ok(())
}
