//! The real cosign and we accept each other's signatures.

use anyhow::{Result, ensure};
use artifact::signature::SIMPLE_SIGNING_ANNOTATION;
use e2e::operator::NAMESPACE;
use e2e::signing::{Cosign, LegacyKeyless};
use e2e::suite::shared;
use serde_json::json;

use crate::sigstore::simple_signing::{BUNDLE, CERTIFICATE, CHAIN, COSIGN_2, payload};
use crate::sigstore::{ISSUER, Keyless, SUBJECT, Sigstore};

#[test]
fn what_cosign_signs_runs() -> Result<()> {
    shared("cosign-signs", async |tenant| {
        let cosign = Cosign::generate(&tenant.suite.folder.join("cosign-signs")).await?;
        tenant
            .trust(&cosign.public_key()?, &[tenant.suite.registry.address])
            .await?;
        let image = tenant.push("orders", "1.0.0", "1.0.0").await?;
        cosign.sign(&image).await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        Ok(())
    })
}

#[test]
fn what_cosign_only_attests_is_refused_as_such() -> Result<()> {
    shared("cosign-attests", async |tenant| {
        let cosign = Cosign::generate(&tenant.suite.folder.join("cosign-attests")).await?;
        tenant
            .trust(&cosign.public_key()?, &[tenant.suite.registry.address])
            .await?;
        let image = tenant.push("orders", "1.0.0", "1.0.0").await?;
        let checked = "https://example.com/checked/v1";
        cosign.attest(&image, checked, &json!({})).await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.refused("orders", "AttestationOnly").await?;
        ensure!(tenant.placements().await?.is_empty(), "it was placed");
        Ok(())
    })
}

#[test]
fn what_cosign_signs_as_it_did_in_version_2_runs() -> Result<()> {
    shared("cosign-legacy", async |tenant| {
        let cosign = Cosign::generate(&tenant.suite.folder.join("cosign-legacy")).await?;
        tenant
            .trust(&cosign.public_key()?, &[tenant.suite.registry.address])
            .await?;
        let image = tenant.push("orders", "1.0.0", "1.0.0").await?;
        cosign.sign_legacy(&image).await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;

        let stranger = Cosign::generate(&tenant.suite.folder.join("cosign-stranger")).await?;
        let other = tenant.push("orders", "2.0.0", "2.0.0").await?;
        stranger.sign_legacy(&other).await?;
        tenant
            .component("other", json!({ "image": other.tag }))
            .await?;
        tenant.refused("other", "SignatureInvalid").await?;
        Ok(())
    })
}

#[test]
fn what_cosign_attests_has_to_say_what_the_policy_wants() -> Result<()> {
    shared("cosign-provenance", async |tenant| {
        let cosign = Cosign::generate(&tenant.suite.folder.join("cosign-provenance")).await?;
        let key = cosign.public_key()?;
        let builder = "https://github.com/actions/runner/github-hosted";
        let provenance = json!({
            "predicateType": "https://slsa.dev/provenance/v1",
            "conditions": [{ "field": "/runDetails/builder/id", "equals": [builder] }],
        });
        let authority = json!({ "name": "cosign", "key": { "data": key }, "ctlog": "Ignore" });
        tenant
            .trust_with(json!({ "authorities": [authority], "attestations": [provenance] }))
            .await?;
        let built_by = |builder: &str| {
            json!({
                "buildDefinition": {
                    "buildType": "https://example.com/build/v1",
                    "externalParameters": {},
                },
                "runDetails": { "builder": { "id": builder } },
            })
        };
        let image = tenant.push("orders", "1.0.0", "1.0.0").await?;
        cosign.sign(&image).await?;
        let component = json!({ "image": image.tag });
        tenant.component("orders", component).await?;
        tenant.refused("orders", "AttestationMissing").await?;

        let at_home = built_by("https://example.com/a-laptop");
        cosign.attest(&image, "slsaprovenance1", &at_home).await?;
        let message = tenant.refused("orders", "AttestationRejected").await?;
        ensure!(message.contains("a-laptop"), "{message}");
        ensure!(tenant.placements().await?.is_empty(), "it was placed");

        // Signatures and attestations travel to the nodes, which check them again.
        let hosted = built_by(builder);
        cosign.attest(&image, "slsaprovenance1", &hosted).await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        Ok(())
    })
}

#[test]
fn cosign_verifies_what_we_sign() -> Result<()> {
    shared("cosign-verifies", async |tenant| {
        let cosign = Cosign::with_key_of(
            &tenant.suite.folder.join("cosign-verifies"),
            &tenant.suite.signer,
        )
        .await?;
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        cosign.verify(&image).await?;
        let unsigned = tenant.push("orders", "2.0.0", "2.0.0").await?;
        ensure!(
            cosign.verify(&unsigned).await.is_err(),
            "cosign verified what nobody signed"
        );
        Ok(())
    })
}

#[test]
fn what_was_signed_without_a_key_as_in_version_2_counts_for_cosign_and_runs() -> Result<()> {
    shared("cosign-legacy-keyless", async |tenant| {
        let folder = tenant.suite.folder.join(&tenant.name);
        let cosign = Cosign::generate(&folder).await?;
        let sigstore = Sigstore::new();
        let image = tenant.push("orders", "1.0.0", "1.0.0").await?;
        let payload = payload(&image.digest.to_string(), COSIGN_2);
        let signature = sigstore.cosign_2(&Keyless::of(&image.digest), &payload);
        let annotation = |name: &str| signature.annotations.get(name).map_or("", String::as_str);
        // cosign itself puts it where version 2 did, and accepts it.
        let parts = LegacyKeyless {
            payload: &signature.payload,
            signature: annotation(SIMPLE_SIGNING_ANNOTATION),
            certificate: annotation(CERTIFICATE),
            chain: annotation(CHAIN),
            entry: annotation(BUNDLE),
        };
        cosign.attach_legacy(&image, &parts).await?;
        let root = sigstore.root_json().to_string();
        cosign.verify_legacy(&image, &root, SUBJECT, ISSUER).await?;

        let config_map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": tenant.name, "namespace": NAMESPACE },
            "data": { "trusted_root.json": root },
        });
        let arguments = ["apply", "--server-side", "-f", "-"];
        let cluster = &tenant.suite.cluster;
        cluster
            .kubectl_ok(&arguments, Some(&config_map.to_string()))
            .await?;
        let authority = |subject: &str| {
            let root = json!({ "name": tenant.name, "key": "trusted_root.json" });
            let identity = json!({ "issuer": ISSUER, "subject": subject });
            json!([{ "name": "ci", "ctlog": "Required", "keyless": {
                "identities": [identity], "trustedRoot": { "configMapKeyRef": root },
            }}])
        };
        tenant
            .trust_with(json!({ "authorities": authority("https://github.com/other") }))
            .await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        let message = tenant.refused("orders", "NotTrustedIdentity").await?;
        ensure!(message.contains(SUBJECT), "{message}");
        tenant
            .trust_with(json!({ "authorities": authority(SUBJECT) }))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        Ok(())
    })
}
