//! `kubectl lm` against a real API server, with the user's own kubeconfig.

use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use e2e::suite::shared;
use e2e::tenant::Tenant;
use e2e::tools;
use serde_json::{Value, json};

#[test]
fn status_and_why_of_a_component_that_serves() -> Result<()> {
    shared("plug-in-serves", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.ready("orders").await?;

        let page = lm(tenant, &["status", "orders", "-o", "json"])?;
        let page: Value = serde_json::from_slice(&page.stdout)?;
        ensure!(page.get("ready") == Some(&json!("True")), "{page}");
        let nodes = page.get("nodes").and_then(Value::as_array);
        ensure!(nodes.is_some_and(|nodes| !nodes.is_empty()), "{page}");

        let why = lm(tenant, &["why", "orders"])?;
        ensure!(why.status.success(), "{}", said(&why));
        let history = lm(tenant, &["rollout", "history", "orders"])?;
        ensure!(said(&history).contains("serves"), "{}", said(&history));
        Ok(())
    })
}

#[test]
fn why_of_an_unsigned_image_says_what_signs_it_and_fails() -> Result<()> {
    shared("plug-in-why", async |tenant| {
        let image = tenant.push("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.refused("orders", "Unsigned").await?;
        let why = lm(tenant, &["why", "orders"])?;
        ensure!(why.status.code() == Some(1), "{}", said(&why));
        for text in ["Verified says Unsigned", "cosign sign"] {
            ensure!(said(&why).contains(text), "no {text} in {}", said(&why));
        }
        let missing = lm(tenant, &["why", "nothing"])?;
        ensure!(!missing.status.success() && said(&missing).contains("\"nothing\" not found"));
        Ok(())
    })
}

#[test]
fn a_paused_rollout_waits_until_it_is_resumed_and_what_served_goes_on() -> Result<()> {
    shared("plug-in-pause", async |tenant| {
        let first = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let next = tenant.publish("orders", "2.0.0", "2.0.0").await?;
        tenant
            .component(
                "orders",
                json!({ "image": first.tag, "replicas": 2, "placement": { "mode": "Spread" } }),
            )
            .await?;
        tenant.answers("orders", 2, "1.0.0").await?;
        let paused = lm(tenant, &["rollout", "pause", "orders"])?;
        ensure!(paused.status.success(), "{}", said(&paused));

        let image = format!("{{\"spec\": {{\"image\": \"{}\"}}}}", next.tag);
        let patch = ["patch", "wc/orders", "--type=merge", "-p", &image];
        tenant.kubectl(&patch).await?;
        tenant.refused("orders", "RolloutPaused").await?;
        // What is added meanwhile is of the version that serves.
        tenant
            .kubectl(&["scale", "wc/orders", "--replicas=3"])
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;

        let resumed = lm(tenant, &["rollout", "resume", "orders"])?;
        ensure!(resumed.status.success(), "{}", said(&resumed));
        tenant.answers("orders", 3, "2.0.0").await?;
        Ok(())
    })
}

/// The program as kubectl would start it.
pub(crate) fn lm(tenant: &Tenant, arguments: &[&str]) -> Result<Output> {
    let program = tools::ours("kubectl-lm", "kubectl-lighterman")?;
    let mut command = std::process::Command::new(program);
    command
        .args(arguments)
        .args(["--namespace", &tenant.name])
        .arg("--kubeconfig")
        .arg(tenant.suite.cluster.kubeconfig());
    command.output().context("start kubectl-lm")
}

/// The same, which has to succeed.
pub(crate) fn done(tenant: &Tenant, arguments: &[&str]) -> Result<()> {
    let output = lm(tenant, arguments)?;
    ensure!(output.status.success(), "{arguments:?}: {}", said(&output));
    Ok(())
}

pub(crate) fn said(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    format!("{stdout}{}", String::from_utf8_lossy(&output.stderr))
}
