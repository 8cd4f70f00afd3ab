//! Who asks for more does not also approve it: `spec.rollout.approve` is written only by
//! who holds the verb `approve`, whatever else they may do with components.

use anyhow::{Result, bail, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::suite::shared;
use e2e::tenant::Tenant;
use serde_json::{Value, json};

/// What an approval looks like; whether it is the right one is for the operator.
const HASH: &str = "0123456789";

#[test]
fn an_editor_cannot_write_an_approval_and_an_approver_can() -> Result<()> {
    shared("approve-verb", async |tenant| {
        let editor = account(tenant, "editor", &["lighterman-edit", "lighterman-view"]).await?;
        let approver = account(tenant, "approver", &["lighterman-approver"]).await?;
        let image = tenant.push("orders", "1.0.0", "1.0.0").await?.tag;
        let component = |rollout: Value| {
            json!({
                "apiVersion": "lighterman.dev/v1alpha1",
                "kind": "WasmComponent",
                "metadata": { "name": "orders", "namespace": tenant.name },
                "spec": { "image": image, "rollout": rollout },
            })
        };
        let approved = component(json!({ "approve": HASH }));
        let plain = component(json!({}));

        denied(
            "make an approved component",
            create(tenant, &editor, &approved).await,
        )?;
        create(tenant, &editor, &plain).await?;
        let approve = json!({ "spec": { "rollout": { "approve": HASH } } });
        denied("approve", patch(tenant, &editor, &approve).await)?;
        // Everything else is the editor's as before.
        let spec =
            json!({ "spec": { "args": ["--verbose"], "rollout": { "minReadySeconds": 1 } } });
        patch(tenant, &editor, &spec).await?;

        patch(tenant, &approver, &approve).await?;
        ensure!(approval(tenant).await?.as_deref() == Some(HASH));

        // What is approved stays while the editor changes other things, and cannot be exchanged.
        let spec = json!({ "spec": { "args": [] } });
        patch(tenant, &editor, &spec).await?;
        ensure!(approval(tenant).await?.as_deref() == Some(HASH));
        let other = json!({ "spec": { "rollout": { "approve": "9876543210" } } });
        denied("exchange an approval", patch(tenant, &editor, &other).await)?;
        let exchanged = component(json!({ "approve": "9876543210" }));
        let replace = write(tenant, &editor, &["replace"], &exchanged).await;
        denied("replace an approval", replace)?;

        // To take it away is free; to put the same one back is not.
        let none = json!({ "spec": { "rollout": { "approve": null } } });
        patch(tenant, &editor, &none).await?;
        ensure!(approval(tenant).await?.is_none());
        denied("approve again", patch(tenant, &editor, &approve).await)?;
        tenant
            .kubectl(&["--as", &editor, "delete", "wc/orders"])
            .await?;
        denied(
            "approve by a new start",
            create(tenant, &editor, &approved).await,
        )
    })
}

#[test]
fn no_role_that_kubernetes_gives_to_users_holds_the_verb() -> Result<()> {
    shared("approve-roles", async |tenant| {
        for role in ["view", "edit", "admin"] {
            let user = account(tenant, role, &[role]).await?;
            ensure!(!may(tenant, &user, "approve").await?, "{role} may approve");
        }
        Ok(())
    })
}

/// A service account of the tenant with these roles in its namespace, as kubectl's `--as`
/// takes it. The last of them has to be one that lets it look.
async fn account(tenant: &Tenant, name: &str, roles: &[&str]) -> Result<String> {
    tenant.kubectl(&["create", "serviceaccount", name]).await?;
    let subject = format!("--serviceaccount={}:{name}", tenant.name);
    for role in roles {
        let binding = format!("{name}-{role}");
        let role = format!("--clusterrole={role}");
        tenant
            .kubectl(&["create", "rolebinding", &binding, &role, &subject])
            .await?;
    }
    let account = format!("system:serviceaccount:{}:{name}", tenant.name);
    // The API server hears of bindings, and of roles that are put together, a moment later.
    eventually(&format!("the roles of {name}"), PATIENCE, async || {
        ensure!(may(tenant, &account, "get").await?, "it may not even look");
        Ok(())
    })
    .await?;
    Ok(account)
}

/// Whether the account may do this with components of the namespace.
async fn may(tenant: &Tenant, account: &str, verb: &str) -> Result<bool> {
    let who = ["--as", account, "--namespace", &tenant.name];
    let question = ["auth", "can-i", verb, "wasmcomponents.lighterman.dev"];
    let cluster = &tenant.suite.cluster;
    // A no is also said by the exit code.
    let answer = cluster
        .kubectl(&[&who[..], &question].concat(), None)
        .await?;
    match String::from_utf8_lossy(&answer.stdout).trim() {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => bail!("kubectl says {other}"),
    }
}

async fn approval(tenant: &Tenant) -> Result<Option<String>> {
    Ok(tenant.get("orders").await?.spec.rollout.approve)
}

async fn create(tenant: &Tenant, account: &str, object: &Value) -> Result<String> {
    write(tenant, account, &["create"], object).await
}

async fn write(tenant: &Tenant, account: &str, verb: &[&str], object: &Value) -> Result<String> {
    let arguments = [&["--as", account], verb, &["-f", "-"]].concat();
    tenant.kubectl_with(&arguments, &object.to_string()).await
}

async fn patch(tenant: &Tenant, account: &str, patch: &Value) -> Result<String> {
    let patch = patch.to_string();
    let arguments = ["patch", "wc/orders", "--type=merge", "-p", &patch];
    tenant
        .kubectl(&[&["--as", account], &arguments[..]].concat())
        .await
}

/// Refused by admission, with the field and the mend; not for want of some other right.
fn denied(what: &str, outcome: Result<String>) -> Result<()> {
    match outcome {
        Err(error) => {
            let said = format!("{error:#}");
            ensure!(
                said.contains("spec.rollout.approve") && said.contains("lighterman-approver"),
                "to {what} failed otherwise: {said}"
            );
            Ok(())
        }
        Ok(_) => bail!("an editor could {what}"),
    }
}
