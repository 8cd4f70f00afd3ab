//! A tenant with every right in its namespace cannot say to a node what to run:
//! placements and revisions count only when the operator made them, and neither a
//! status nor a name opens what is another tenant's.

use anyhow::{Context as _, Result, bail, ensure};
use crds::handover::revision_path;
use e2e::suite::shared;
use e2e::tenant::{Tenant, fetch};
use kube::ResourceExt as _;
use serde_json::{Value, json};

#[test]
fn a_tenant_cannot_make_or_change_a_placement() -> Result<()> {
    shared("forged-placement", async |tenant| {
        let account = all_powerful(tenant).await?;
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        let endpoints = tenant.answers("orders", 3, "1.0.0").await?;
        let placements = tenant.placements().await?;
        let placement = placements.first().context("no placement")?;

        let mut forged = serde_json::to_value(placement)?;
        forged["metadata"] = json!({ "name": "forged" });
        let made = apply_as(tenant, &account, &["create"], &forged).await;
        denied("make a placement", made)?;

        let patch = json!({ "spec": { "replicas": 9 } }).to_string();
        let name = format!("wcp/{}", placement.name_any());
        let all = [
            "--as",
            &account,
            "patch",
            &name,
            "--type=merge",
            "-p",
            &patch,
        ];
        denied("change a placement", tenant.kubectl(&all).await)?;
        for endpoint in endpoints {
            let answer = fetch(&endpoint.url("/")).await?;
            ensure!(
                answer == (200, "1.0.0".to_owned()),
                "{} answers {answer:?}",
                endpoint.node
            );
        }
        Ok(())
    })
}

#[test]
fn a_revision_that_a_tenant_wrote_is_neither_run_nor_handed_out() -> Result<()> {
    shared("forged-revision", async |tenant| {
        let account = all_powerful(tenant).await?;
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        let placed = revision_of(tenant).await?;
        let text = ["get", "controllerrevision", &placed, "-o", "json"];
        let mut forged: Value = serde_json::from_str(&tenant.kubectl(&text).await?)?;
        // With the true seal, label and owner, but another content, and the latest of all.
        let name = "wc-orders-ffffffffff";
        let (owners, annotations, labels) = (
            forged["metadata"]["ownerReferences"].take(),
            forged["metadata"]["annotations"].take(),
            forged["metadata"]["labels"].take(),
        );
        forged["metadata"] = json!({
            "name": name, "ownerReferences": owners, "annotations": annotations, "labels": labels,
        });
        forged["data"]["args"] = json!(["--forged"]);
        forged["revision"] = json!(99);
        apply_as(tenant, &account, &["create"], &forged).await?;

        let agent = tenant.suite.agent(1)?;
        let client = tenant.hand_over_client().await?;
        let path = revision_path(&tenant.name, name);
        let status = get(tenant, &client, &path, &agent.hand_over_token()?).await?;
        ensure!(status == 403, "the hand-over answered {status} for it");
        // The component goes on with what the operator wrote, now and after a change.
        let second = tenant.publish("orders", "2.0.0", "2.0.0").await?;
        tenant
            .component("orders", json!({ "image": second.tag }))
            .await?;
        tenant.answers("orders", 3, "2.0.0").await?;
        let placed = revision_of(tenant).await?;
        ensure!(placed != name, "the forged revision was placed");
        Ok(())
    })
}

#[test]
fn a_status_that_a_tenant_wrote_leads_to_no_digest_of_another() -> Result<()> {
    shared("forged-status", async |tenant| {
        let account = all_powerful(tenant).await?;
        let theirs = Tenant::create(tenant.suite, "forged-status-other").await?;
        let secret = theirs.publish("secret", "1.0.0", "secret").await?;
        theirs
            .component("secret", json!({ "image": secret.tag }))
            .await?;
        theirs.ready("secret").await?;

        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        let resolved = json!({ "image": image.tag, "digest": secret.digest.to_string() });
        let patch = json!({ "status": { "resolved": resolved } }).to_string();
        let all = [
            "--as",
            &account,
            "patch",
            "wc/orders",
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        tenant.kubectl(&all).await?;
        // A look that has to make up its mind anew: the spec changes beside the image.
        tenant
            .component("orders", json!({ "image": image.tag, "args": ["again"] }))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        let component = tenant.ready("orders").await?;
        let found = component.status.and_then(|status| status.resolved);
        let found = found.context("it is not resolved")?.digest;
        ensure!(
            found == image.digest.to_string(),
            "it is resolved to {found}"
        );
        for placement in tenant.placements().await? {
            for revision in placement.spec.revisions {
                let digest = revision.digest;
                ensure!(digest == image.digest.to_string(), "{digest} is placed");
            }
        }
        theirs.remove().await
    })
}

#[test]
fn what_is_another_tenants_has_no_name_here() -> Result<()> {
    shared("forged-names", async |tenant| {
        let account = all_powerful(tenant).await?;
        let theirs = Tenant::create(tenant.suite, "forged-names-other").await?;
        theirs
            .apply(json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": { "name": "token", "namespace": theirs.name },
                "stringData": { "key": "hunter2" },
            }))
            .await?;
        // A Secret is looked for in the component's own namespace only.
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let reference = json!({ "secretKeyRef": { "name": "token", "key": "key" } });
        let env = json!([{ "name": "TOKEN", "valueFrom": reference }]);
        tenant
            .component("orders", json!({ "image": image.tag, "env": env }))
            .await?;
        tenant.refused("orders", "SecretMissing").await?;
        ensure!(tenant.placements().await?.is_empty(), "it was placed");

        // Nor does every right here give any there, or on what decides over all.
        let questions = [
            ("get", "secrets", theirs.name.as_str()),
            ("create", "componentplacements.lighterman.dev", &theirs.name),
            ("patch", "trustpolicies.lighterman.dev", ""),
            ("create", "capabilitypolicies.lighterman.dev", ""),
            ("get", "secrets", "lighterman-system"),
        ];
        for (verb, what, namespace) in questions {
            let mut question = vec!["--as", &account, "auth", "can-i", verb, what];
            if !namespace.is_empty() {
                question.extend(["--namespace", namespace]);
            }
            let cluster = &tenant.suite.cluster;
            let answer = cluster.kubectl(&question, None).await?;
            let answer = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
            ensure!(
                answer == "no",
                "may it {verb} {what} in {namespace}? {answer}"
            );
        }
        theirs.remove().await
    })
}

/// The name of the one revision that is placed.
async fn revision_of(tenant: &Tenant) -> Result<String> {
    let placements = tenant.placements().await?;
    let mut names: Vec<String> = placements
        .iter()
        .flat_map(|placement| &placement.spec.revisions)
        .filter(|revision| revision.weight > 0)
        .map(|revision| revision.name.clone())
        .collect();
    names.dedup();
    let [name] = names.as_slice() else {
        bail!("placed are {names:?}")
    };
    Ok(name.clone())
}

async fn get(tenant: &Tenant, client: &reqwest::Client, path: &str, token: &str) -> Result<u16> {
    let url = format!("https://{}{path}", tenant.suite.hand_over.address);
    let answer = client.get(url).bearer_auth(token).send().await?;
    Ok(answer.status().as_u16())
}

/// A service account of the tenant with every right in its namespace, as kubectl's `--as` takes it.
async fn all_powerful(tenant: &Tenant) -> Result<String> {
    let account = format!("system:serviceaccount:{}:default", tenant.name);
    let binding = [
        "create",
        "rolebinding",
        "all",
        "--clusterrole=cluster-admin",
    ];
    let subject = format!("--serviceaccount={}:default", tenant.name);
    tenant
        .kubectl(&[&binding[..], &[subject.as_str()]].concat())
        .await?;
    Ok(account)
}

async fn apply_as(tenant: &Tenant, account: &str, verb: &[&str], object: &Value) -> Result<String> {
    let arguments = [&["--as", account], verb, &["-f", "-"]].concat();
    tenant.kubectl_with(&arguments, &object.to_string()).await
}

fn denied(what: &str, outcome: Result<String>) -> Result<()> {
    match outcome {
        Err(error) if format!("{error:#}").contains("written by the operator only") => Ok(()),
        Err(error) => Err(error).with_context(|| format!("to {what} failed otherwise")),
        Ok(_) => bail!("a tenant could {what}"),
    }
}
