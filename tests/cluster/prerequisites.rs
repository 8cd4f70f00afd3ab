//! The operator does nothing before the cluster has what protects it, and says
//! what is missing and what mends it.

use anyhow::{Context as _, Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::suite::alone;
use e2e::tenant::Tenant;
use serde_json::Value;

#[test]
fn an_operator_without_its_admission_policies_is_not_ready_and_names_them() -> Result<()> {
    alone("admission-missing", async |tenant| {
        let binding = "validatingadmissionpolicybinding/lighterman-placements";
        without(tenant, binding, &["delete", binding], async || {
            told(tenant, &["AdmissionPolicyMissing", "lighterman-placements"]).await
        })
        .await
    })
}

#[test]
fn an_operator_under_older_definitions_is_not_ready_and_names_the_field() -> Result<()> {
    alone("definitions-old", async |tenant| {
        let definition = "crd/wasmcomponents.lighterman.dev";
        let field = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/url";
        let patch = format!("[{{\"op\": \"remove\", \"path\": \"{field}\"}}]");
        let older = ["patch", definition, "--type=json", "--patch", &patch];
        without(tenant, definition, &older, async || {
            told(tenant, &["CrdsOutdated", "WasmComponent", "status.url"]).await
        })
        .await
    })
}

/// Runs `check` with an operator that started after `change` to `object`; puts it back whatever
/// came of it, and the operator is ready then.
async fn without(
    tenant: &Tenant,
    object: &str,
    change: &[&str],
    check: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let operator = &tenant.suite.operator;
    let before = tenant.kubectl(&["get", object, "-o", "json"]).await?;
    operator.kill().await?;
    tenant.kubectl(change).await?;
    let outcome = async {
        operator.start().await?;
        check().await
    };
    let outcome = outcome.await;
    restore(tenant, &before).await?;
    outcome?;
    eventually("the operator to be ready", PATIENCE, async || {
        let (status, text) = operator.readiness().await?;
        ensure!(status == 200, "{text}");
        Ok(())
    })
    .await
}

async fn told(tenant: &Tenant, words: &[&str]) -> Result<()> {
    eventually(
        &format!("/readyz to name {words:?}"),
        PATIENCE,
        async || {
            let (status, text) = tenant.suite.operator.readiness().await?;
            ensure!(
                status == 503 && words.iter().all(|word| text.contains(word)),
                "it says {status}: {text}"
            );
            Ok(())
        },
    )
    .await
}

async fn restore(tenant: &Tenant, object: &str) -> Result<()> {
    let mut object: Value = serde_json::from_str(object)?;
    let metadata = object
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .context("an object without metadata")?;
    for own in [
        "resourceVersion",
        "uid",
        "creationTimestamp",
        "generation",
        "managedFields",
    ] {
        metadata.remove(own);
    }
    let text = object.to_string();
    tenant
        .kubectl_with(
            &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            &text,
        )
        .await?;
    Ok(())
}
