//! What no policy admits is placed nowhere, and the reason says which of the
//! many ways of not being admitted it is. `kubectl wait` tells it from a
//! healthy component.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use artifact::{Digest, ImageReference};
use e2e::eventually::{PATIENCE, eventually};
use e2e::guest;
use e2e::registry::{Image, attach, push};
use e2e::signing::Signer;
use e2e::suite::shared;
use e2e::tenant::Tenant;
use registry::Credentials;
use registry::development::{DevelopmentRegistry, Fault, Options, Rule};
use serde_json::json;

#[test]
fn an_unsigned_image_is_refused_as_unsigned() -> Result<()> {
    shared("unsigned", async |tenant| {
        let image = tenant.push("orders", "1.0.0", "1.0.0").await?;
        refused(tenant, &image, "Unsigned").await
    })
}

#[test]
fn a_signature_by_another_key_is_refused_as_invalid() -> Result<()> {
    shared("wrong-key", async |tenant| {
        let image = tenant.push("orders", "1.0.0", "1.0.0").await?;
        Signer::generate()?.sign(&image).await?;
        refused(tenant, &image, "SignatureInvalid").await
    })
}

#[test]
fn a_signature_copied_from_another_image_is_refused_as_such() -> Result<()> {
    shared("copied-signature", async |tenant| {
        let signed = tenant.push("orders", "1.0.0", "1.0.0").await?;
        let image = tenant.push("orders", "2.0.0", "2.0.0").await?;
        let bundle = tenant.suite.signer.bundle(&signed)?;
        attach(&image, bundle, &Credentials::anonymous()).await?;
        refused(tenant, &image, "SignatureForAnotherDigest").await
    })
}

#[test]
fn a_signature_in_another_repository_does_not_vouch_for_a_copy() -> Result<()> {
    shared("copied-image", async |tenant| {
        let original = tenant.publish("original", "1.0.0", "1.0.0").await?;
        tenant
            .component("original", json!({ "image": original.tag }))
            .await?;
        tenant.ready("original").await?;
        let copy = tenant.push("copy", "1.0.0", "1.0.0").await?;
        ensure!(copy.digest == original.digest, "the copy is another image");
        tenant
            .component("by-tag", json!({ "image": copy.tag }))
            .await?;
        tenant
            .component("by-digest", json!({ "image": copy.by_digest()? }))
            .await?;
        tenant.refused("by-tag", "Unsigned").await?;
        tenant.refused("by-digest", "Unsigned").await?;

        // What the two repositories say stays apart: the copy gets a signature of
        // its own, and the original keeps running on its.
        tenant.suite.signer.sign(&copy).await?;
        tenant.answers("by-digest", 3, "1.0.0").await?;
        tenant.answers("by-tag", 3, "1.0.0").await?;
        tenant.answers("original", 3, "1.0.0").await?;
        Ok(())
    })
}

#[test]
fn a_tampered_layer_is_refused_and_the_true_one_runs_afterwards() -> Result<()> {
    shared("tampered-layer", async |tenant| {
        let registry = development(tenant).await?;
        let image = signed(tenant, registry.addr(), "1.0.0").await?;
        let layer = Digest::of(&guest::version("1.0.0", &tenant.name)?);
        registry.set_faults(Rule::on(format!("/v2/*/blobs/{layer}"), Fault::Corrupt).into());
        refused(tenant, &image, "DigestMismatch").await?;
        registry.set_faults(registry::development::Faults::none());
        tenant.ready("orders").await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        registry.stop().await;
        Ok(())
    })
}

#[test]
fn a_swapped_manifest_is_refused_as_not_what_its_digest_says() -> Result<()> {
    shared("swapped-manifest", async |tenant| {
        let registry = development(tenant).await?;
        let image = signed(tenant, registry.addr(), "1.0.0").await?;
        let other = signed(tenant, registry.addr(), "6.6.6").await?;
        let reference: ImageReference = other.tag.parse()?;
        let url = format!(
            "http://{}/v2/{}/manifests/{}",
            registry.addr(),
            reference.repository(),
            other.digest
        );
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answer = client.get(url).send().await?.error_for_status()?;
        let kind = answer
            .headers()
            .get("content-type")
            .context("no media type")?
            .to_str()?
            .to_owned();
        let swapped = Fault::Answer {
            status: 200,
            headers: vec![("content-type", kind)],
            body: answer.bytes().await?.to_vec(),
        };
        registry.set_faults(Rule::on(format!("/v2/*/manifests/{}", image.digest), swapped).into());
        refused(tenant, &image, "DigestMismatch").await?;
        registry.stop().await;
        Ok(())
    })
}

#[test]
fn an_image_that_no_policy_covers_is_refused_before_its_registry_is_asked() -> Result<()> {
    shared("no-policy", async |tenant| {
        let registry =
            DevelopmentRegistry::start("127.0.0.1:0".parse()?, Options::default()).await?;
        let image = signed(tenant, registry.addr(), "1.0.0").await?;
        registry.clear_requests();
        refused(tenant, &image, "NoPolicyMatches").await?;
        ensure!(
            registry.requests().is_empty(),
            "the registry was asked: {:?}",
            registry.requests()
        );
        // The policy that was missing is enough: nothing has to be applied again.
        tenant
            .trust(&tenant.suite.signer.public_key(), &[registry.addr()])
            .await?;
        tenant.ready("orders").await?;
        registry.stop().await;
        Ok(())
    })
}

#[test]
fn signatures_that_could_not_be_looked_up_are_not_called_missing() -> Result<()> {
    shared("referrers-down", async |tenant| {
        let registry = development(tenant).await?;
        let image = signed(tenant, registry.addr(), "1.0.0").await?;
        registry.set_faults(Rule::on("/v2/*/referrers/*", Fault::Status(500)).into());
        refused(tenant, &image, "ReferrersUnavailable").await?;
        registry.set_faults(registry::development::Faults::none());
        tenant.ready("orders").await?;
        registry.stop().await;
        Ok(())
    })
}

/// Applies the image as `orders` and expects it to be refused everywhere for `reason`.
async fn refused(tenant: &Tenant, image: &Image, reason: &str) -> Result<()> {
    tenant
        .component("orders", json!({ "image": image.tag }))
        .await?;
    let message = tenant.refused("orders", reason).await?;
    ensure!(
        message.len() > 20,
        "the message says too little: {message:?}"
    );
    let waited = tenant
        .kubectl(&["wait", "--for=condition=Ready", "wc/orders", "--timeout=1s"])
        .await;
    ensure!(
        waited.is_err(),
        "kubectl wait takes a refused component for a ready one"
    );
    ensure!(tenant.placements().await?.is_empty(), "it was placed");
    ensure!(
        tenant.endpoints("orders").await?.is_empty(),
        "it has ready endpoints"
    );
    let events = eventually("an Event that says so", PATIENCE, async || {
        let events = tenant
            .kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"])
            .await?;
        ensure!(
            events.split(' ').any(|seen| seen == reason),
            "the reasons of the Events are: {events}"
        );
        Ok(events)
    });
    events.await.map(drop)
}

/// A development registry that the tenant's policy covers.
async fn development(tenant: &Tenant) -> Result<DevelopmentRegistry> {
    let registry = DevelopmentRegistry::start("127.0.0.1:0".parse()?, Options::default()).await?;
    tenant
        .trust(&tenant.suite.signer.public_key(), &[registry.addr()])
        .await?;
    Ok(registry)
}

async fn signed(tenant: &Tenant, host: SocketAddr, version: &str) -> Result<Image> {
    let repository = format!("{}/orders", tenant.name);
    let image = push(
        host,
        &repository,
        version,
        guest::version(version, &tenant.name)?,
        &Credentials::anonymous(),
    )
    .await?;
    tenant.suite.signer.sign(&image).await?;
    Ok(image)
}
