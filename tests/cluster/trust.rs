//! Trust as operators and agents live it: what a policy says of code that runs, and
//! what it says of code that comes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use crds::TrustPolicy;
use crds::component::WouldRefuse;
use e2e::eventually::{PATIENCE, eventually};
use e2e::load::Load;
use e2e::suite::{alone, shared};
use e2e::tenant::{Tenant, condition};
use kube::api::Api;
use serde_json::json;

const REQUESTS_PER_SECOND: u32 = 20;
/// Longer than agents and operator need to hear of a policy and to act on it.
const SETTLE: Duration = Duration::from_secs(6);

#[test]
fn a_policy_that_is_tightened_or_deleted_is_reported_and_stops_nothing() -> Result<()> {
    shared("trust-report", async |tenant| {
        let digest = running(tenant).await?;
        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);

        tenant
            .trust_with(json!({ "deny": { "digests": [digest] } }))
            .await?;
        let message = tenant.refused("orders", "DigestDenied").await?;
        ensure!(message.contains("deny.digests"), "{message}");
        doubted_on_every_node(tenant, "DigestDenied").await?;

        let policies = Api::<TrustPolicy>::all(tenant.client());
        policies.delete(&tenant.name, &Default::default()).await?;
        tenant.refused("orders", "NoPolicyMatches").await?;
        doubted_on_every_node(tenant, "NoPolicyMatches").await?;
        tokio::time::sleep(SETTLE).await;

        // The policy comes back, and with it the verdict. No registry was needed.
        tenant.trust_with(json!({})).await?;
        tenant.ready("orders").await?;
        load.stop().await?.only(&["1.0.0"])
    })
}

#[test]
fn a_policy_that_says_stop_stops_what_it_denies_node_by_node() -> Result<()> {
    shared("trust-stop", async |tenant| {
        let digest = running(tenant).await?;
        let denied = json!({ "deny": { "digests": [digest] }, "whenRunning": "Stop" });
        tenant.trust_with(denied).await?;
        tenant.refused("orders", "DigestDenied").await?;
        // One node of three at a time, and a pause to take the policy back.
        let left = eventually("the first wave", PATIENCE, async || {
            let left = tenant.placements().await?.len();
            ensure!(left < 3, "{left} placements are left");
            Ok(left)
        });
        ensure!(left.await? == 2, "more than one node was stopped at once");
        tokio::time::sleep(Duration::from_secs(5)).await;
        ensure!(
            tenant.placements().await?.len() == 2,
            "the second wave did not wait"
        );
        eventually("the last wave", PATIENCE, async || {
            let left = tenant.placements().await?;
            ensure!(left.is_empty(), "{} placements are left", left.len());
            ensure!(
                tenant.endpoints("orders").await?.is_empty(),
                "it has ready endpoints"
            );
            Ok(())
        })
        .await?;

        // Another version is not concerned, and the first one comes back with the policy.
        let second = tenant.publish("orders", "2.0.0", "2.0.0").await?;
        tenant
            .component("orders", json!({ "image": second.tag }))
            .await?;
        tenant.answers("orders", 3, "2.0.0").await?;
        tenant.ready("orders").await?;
        Ok(())
    })
}

#[test]
fn a_policy_that_says_stop_reaches_what_the_operator_has_no_bytes_of() -> Result<()> {
    alone("trust-stop-lost", async |tenant| {
        let digest = running(tenant).await?;
        // A version that nobody signed: the old one goes on, and the spec names it no more.
        let second = tenant.push("orders", "2.0.0", "2.0.0").await?;
        tenant
            .component("orders", json!({ "image": second.tag }))
            .await?;
        tenant.refused("orders", "Unsigned").await?;
        let operator = &tenant.suite.operator;
        operator.kill().await?;
        operator.forget()?;
        operator.start().await?;
        tenant.answers("orders", 3, "1.0.0").await?;

        let denied = json!({ "deny": { "digests": [digest] }, "whenRunning": "Stop" });
        tenant.trust_with(denied).await?;
        eventually("all to be stopped", PATIENCE, async || {
            let left = tenant.placements().await?;
            ensure!(left.is_empty(), "{} placements are left", left.len());
            Ok(())
        })
        .await?;
        // Nobody holds it any more, and still it is known for what it is.
        tokio::time::sleep(Duration::from_secs(15)).await;
        let back = tenant.placements().await?;
        ensure!(back.is_empty(), "{} placements came back", back.len());
        Ok(())
    })
}

#[test]
fn a_policy_in_audit_says_what_it_would_refuse_and_admits_nothing() -> Result<()> {
    shared("trust-audit", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let component = json!({ "image": image.tag });
        tenant.trust_with(json!({ "mode": "Audit" })).await?;
        tenant.component("orders", component.clone()).await?;
        let message = tenant.refused("orders", "OnlyAudited").await?;
        ensure!(message.contains(&tenant.name), "{message}");
        ensure!(tenant.placements().await?.is_empty(), "it was placed");

        // Beside one that decides, it only says what it would do.
        tenant.trust_with(json!({})).await?;
        let stricter = format!("{}-stricter", tenant.name);
        let provenance = json!([{ "predicateType": "https://slsa.dev/provenance/v1" }]);
        let dry_run = json!({ "mode": "Audit", "attestations": provenance });
        tenant.policy(&stricter, dry_run).await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        let found = eventually("what it would refuse", PATIENCE, async || {
            let status = tenant.get("orders").await?.status.context("no status")?;
            let [found] = status.would_refuse.as_slice() else {
                anyhow::bail!("it would be refused for {:?}", status.would_refuse)
            };
            Ok(found.clone())
        });
        let WouldRefuse { policy, reason, .. } = found.await?;
        ensure!(
            (policy.as_str(), reason.as_ref()) == (stricter.as_str(), "AttestationMissing"),
            "{policy} would refuse it as {reason}"
        );
        tenant.ready("orders").await?;

        // The policy itself counts: one component, which it would refuse.
        let policies = Api::<TrustPolicy>::all(tenant.client());
        eventually("the policy's numbers", PATIENCE, async || {
            let status = policies.get(&stricter).await?.status.context("no status")?;
            let numbers = (status.components, status.refused);
            ensure!(numbers == (1, 1), "(components, refused) are {numbers:?}");
            Ok(())
        })
        .await?;
        policies.delete(&stricter, &Default::default()).await?;
        Ok(())
    })
}

#[test]
fn a_component_below_the_least_version_is_refused_by_name() -> Result<()> {
    shared("trust-versions", async |tenant| {
        let old = tenant.named_version("1.4.9").await?;
        let new = tenant.named_version("1.5.0").await?;
        let least = json!([{ "name": "orders", "version": "1.5.0" }]);
        tenant.trust_with(json!({ "minVersions": least })).await?;
        tenant
            .component("orders", json!({ "image": old.tag }))
            .await?;
        let message = tenant.refused("orders", "VersionTooOld").await?;
        ensure!(message.contains("1.4.9"), "{message}");
        ensure!(tenant.placements().await?.is_empty(), "it was placed");
        tenant
            .component("orders", json!({ "image": new.tag }))
            .await?;
        tenant.answers("orders", 3, "1.5.0").await?;
        Ok(())
    })
}

#[test]
fn two_keys_are_wanted_and_one_that_signs_twice_is_one() -> Result<()> {
    shared("trust-two-keys", async |tenant| {
        let second = e2e::signing::Signer::generate()?;
        let authority = |name: &str, key: String| json!({ "name": name, "key": { "data": key }, "ctlog": "Ignore" });
        let both = json!([
            authority("build", tenant.suite.signer.public_key()),
            authority("release", second.public_key()),
        ]);
        tenant
            .trust_with(json!({ "authorities": both, "minimumMatches": 2 }))
            .await?;
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant.suite.signer.sign(&image).await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.refused("orders", "TooFewSigners").await?;
        ensure!(tenant.placements().await?.is_empty(), "it was placed");
        second.sign(&image).await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        Ok(())
    })
}

/// A component that answers on every node; the digest it runs.
async fn running(tenant: &Tenant) -> Result<String> {
    let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
    tenant
        .component("orders", json!({ "image": image.tag }))
        .await?;
    tenant.answers("orders", 3, "1.0.0").await?;
    tenant.ready("orders").await?;
    Ok(image.digest.to_string())
}

/// Every agent has come to the same verdict by what it reads itself.
async fn doubted_on_every_node(tenant: &Tenant, reason: &str) -> Result<()> {
    eventually("every agent's own verdict", PATIENCE, async || {
        let placements = tenant.placements().await?;
        ensure!(placements.len() == 3, "{} placements", placements.len());
        for placement in placements {
            let status = placement.status.context("a placement without status")?;
            let verified = status.conditions.iter().find(|of| of.type_ == "Verified");
            let verified = verified.context("no doubt yet")?;
            ensure!(status.ready, "{} is stopped", placement.spec.node_name);
            ensure!(verified.reason == reason, "the reason is {verified:?}");
        }
        Ok(())
    })
    .await?;
    let component = tenant.get("orders").await?;
    let available = condition(&component, "Available")?;
    ensure!(available.status == "True", "{available:?}");
    Ok(())
}
