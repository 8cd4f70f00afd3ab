//! Executables of the platform: who may start them, where they run, and that every part but the
//! nodes' own flags is not enough.

use anyhow::{Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::suite::alone;
use e2e::tenant::{Tenant, condition};
use serde_json::{Value, json};

const STARTER: &[u8] = include_bytes!("../guests/starter/starter.wasm");
const TOOL: &str = "/bin/sh";
const FLAGS: [&str; 8] = [
    "--spawner-executable",
    TOOL,
    "--spawner-file",
    "/lib",
    "--spawner-file",
    "/lib64",
    "--spawner-file",
    "/usr/lib",
];

#[test]
fn executables_need_a_grant_a_policy_and_a_node_with_a_spawner() -> Result<()> {
    alone("executables", async |tenant| {
        let outcome = told(tenant).await;
        // Without the flag and in the policy of before again, whatever came of it.
        tenant.suite.agent(1)?.kill().await?;
        admit(tenant, Value::Null).await?;
        outcome
    })
}

/// Lets the policy that holds everywhere admit these executables.
async fn admit(tenant: &Tenant, executables: Value) -> Result<()> {
    let process = match executables {
        Value::Null => Value::Null,
        executables => json!({ "spawn": executables }),
    };
    tenant.allow_everywhere(json!({ "process": process })).await
}

async fn told(tenant: &Tenant) -> Result<()> {
    let image = tenant
        .push_bytes("orders", "1.0.0", STARTER.to_vec())
        .await?;
    tenant.suite.signer.sign(&image).await?;
    let component = async |capabilities: Value| {
        let spec = json!({
            "image": image.tag,
            "replicas": 1,
            "placement": { "mode": "Spread" },
            "capabilities": capabilities,
        });
        tenant.component("orders", spec).await
    };

    component(json!({})).await?;
    let said = tenant.refused("orders", "ImportNotGranted").await?;
    let import = "lighterman:ext-process/process@1.0.0";
    ensure!(said.contains(import), "it says: {said}");

    let process = json!({ "process": { "spawn": [TOOL] } });
    component(process.clone()).await?;
    let said = tenant.refused("orders", "CapabilityAboveCeiling").await?;
    ensure!(
        said.contains(TOOL) || said.contains("CapabilityPolicy"),
        "it says: {said}"
    );

    admit(tenant, json!([TOOL])).await?;
    let said = tenant.refused("orders", "NoNodeAvailable").await?;
    ensure!(
        said.contains("agent.spawner of the chart"),
        "it says: {said}"
    );

    let agent = tenant.suite.agent(1)?;
    agent.kill().await?;
    agent.start_with(&FLAGS).await?;
    tenant.ready("orders").await?;
    let order = format!(
        "do=run&executable={TOOL}&argument=-c&argument=echo+$1&argument=x&argument=hi\ndo=run&executable=/bin/cat"
    );
    eventually("an executable's output", PATIENCE, async || {
        let endpoints = tenant.endpoints("orders").await?;
        let [endpoint] = endpoints.as_slice() else {
            anyhow::bail!("the endpoints are {endpoints:?}");
        };
        ensure!(endpoint.node == agent.node, "it is on {}", endpoint.node);
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answer = client.post(endpoint.url("/")).body(order.clone()).send();
        let told = answer.await?.text().await?;
        ensure!(told == "exited 0 hi!\naccess-denied\n", "it answers {told}");
        Ok(())
    })
    .await?;
    let admitted = condition(&tenant.get("orders").await?, "Admitted")?;
    ensure!(admitted.status == "True", "{admitted:?}");
    let log = agent.state().join("audit/audit.jsonl");
    eventually("both in the audit log", PATIENCE, async || {
        let log = std::fs::read_to_string(&log)?;
        let recorded = |rule: &str, object: &str| {
            let words = ["\"spawn\"", rule, object];
            log.lines()
                .any(|line| words.iter().all(|word| line.contains(word)))
        };
        ensure!(recorded("\"Granted\"", TOOL), "no use of it: {log}");
        ensure!(recorded("\"NotGranted\"", "/bin/cat"), "no denial: {log}");
        Ok(())
    })
    .await
}
