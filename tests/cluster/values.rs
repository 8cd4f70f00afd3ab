//! Values from ConfigMaps and Secrets reach the guest, and nobody else.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use e2e::suite::shared;
use e2e::tenant::fetch;
use serde_json::json;

/// Unmistakable in whatever it leaked into.
const SECRET: &str = "swordfish-4711-e2e";

#[test]
fn values_reach_the_guest_and_secrets_appear_nowhere_else() -> Result<()> {
    shared("values", async |tenant| {
        tenant
            .apply(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "vault" },
                "stringData": { "token": SECRET },
            }))
            .await?;
        tenant
            .apply(json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" },
                "data": { "LEVEL": "debug", "COLOUR": "green" },
            }))
            .await?;
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let spec = json!({
            "image": image.tag,
            "env": [
                { "name": "PLAIN", "value": "written out" },
                { "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "vault", "key": "token" } } },
                { "name": "SHADE", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "COLOUR" } } },
            ],
            "envFrom": [{ "prefix": "APP_", "configMapRef": { "name": "settings" } }],
        });
        tenant.component("orders", spec).await?;
        for endpoint in tenant.answers("orders", 3, "1.0.0").await? {
            let (status, body) = fetch(&endpoint.url("/env")).await?;
            let mut seen: Vec<&str> = body.lines().collect();
            seen.sort_unstable();
            let token = format!("TOKEN={SECRET}");
            let wanted = [
                "APP_COLOUR=green",
                "APP_LEVEL=debug",
                "PLAIN=written out",
                "SHADE=green",
                &token,
            ];
            ensure!(
                status == 200 && seen == wanted,
                "{} answered {status}: {seen:?}",
                endpoint.node
            );
        }

        let kinds = "wasmcomponents,componentplacements,controllerrevisions.apps,configmaps,services,endpointslices,events";
        let objects = tenant.kubectl(&["get", kinds, "-o", "yaml"]).await?;
        ensure!(
            !objects.contains(SECRET),
            "an object holds the secret:\n{objects}"
        );
        ensure!(
            !tenant.suite.logs()?.contains(SECRET),
            "a log holds the secret"
        );
        ensure!(
            !tenant
                .suite
                .operator
                .get("/metrics")
                .await?
                .contains(SECRET),
            "a metric holds the secret"
        );
        for agent in &tenant.suite.agents {
            ensure!(
                !agent.get("/metrics").await?.contains(SECRET),
                "a metric of {} holds the secret",
                agent.node
            );
            ensure!(
                !on_disk(agent.state())?,
                "a file below {} holds the secret",
                agent.state().display()
            );
        }
        Ok(())
    })
}

#[test]
fn a_missing_secret_is_named() -> Result<()> {
    shared("values-missing", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let from = json!({ "secretKeyRef": { "name": "vault", "key": "token" } });
        let spec = json!({ "image": image.tag, "env": [{ "name": "TOKEN", "valueFrom": from }] });
        tenant.component("orders", spec).await?;
        let message = tenant.refused("orders", "SecretMissing").await?;
        ensure!(message.contains("vault"), "the message is: {message}");
        tenant
            .apply(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "vault" },
                "stringData": { "token": SECRET },
            }))
            .await?;
        tenant.ready("orders").await?;
        Ok(())
    })
}

fn on_disk(folder: &Path) -> Result<bool> {
    // 0: found; 1: not found; else it could not look.
    let status = Command::new("grep")
        .args(["-rqaF", SECRET])
        .arg(folder)
        .status()?;
    match status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => anyhow::bail!("grep ended with {status}"),
    }
}
