//! Whoever carries a rollout is killed at each of its steps: it ends as if nothing had happened.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use crds::component::UpdatingRevision;
use e2e::eventually::{PATIENCE, eventually};
use e2e::guest::PROBE;
use e2e::load::Load;
use e2e::registry::Image;
use e2e::suite::alone;
use e2e::tenant::Tenant;
use serde_json::{Value, json};

const REQUESTS_PER_SECOND: u32 = 50;
/// The most steps that there can be: a share on one node after the other, all that it may
/// have, and the same again with everything.
const STEPS: usize = 20;
/// How often the status is looked at: a step that is over sooner is not interrupted.
const LOOK: Duration = Duration::from_millis(50);

#[test]
fn a_rollout_ends_the_same_however_often_its_operator_is_killed() -> Result<()> {
    alone("killed-operator", async |tenant| {
        let (first, second, _) = versions(tenant).await?;
        start(tenant, &first).await?;
        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);
        tenant.component("orders", spec(&second)).await?;
        let operator = &tenant.suite.operator;
        let steps = at_each_step(tenant, &second, async || {
            operator.kill().await?;
            operator.start().await
        });
        let steps = steps.await?;
        ensure!(steps.len() >= 3, "only {steps:?} were seen");
        tenant.alone_everywhere(&second).await?;
        tenant.ready("orders").await?;
        load.stop().await?.only(&["1.0.0", "2.0.0"])
    })
}

#[test]
fn a_rollback_ends_the_same_however_often_its_operator_is_killed() -> Result<()> {
    alone("killed-rollback", async |tenant| {
        let (first, _, bad) = versions(tenant).await?;
        start(tenant, &first).await?;
        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);
        tenant.component("orders", spec(&bad)).await?;
        let operator = &tenant.suite.operator;
        at_each_step(tenant, &bad, async || {
            operator.kill().await?;
            operator.start().await
        })
        .await?;
        tenant.refused("orders", "RolledBack").await?;
        operator.kill().await?;
        operator.start().await?;
        tenant.alone_everywhere(&first).await?;
        tenant.refused("orders", "RolledBack").await?;
        load.stop().await?.only(&["1.0.0"])
    })
}

#[test]
fn a_rollout_ends_the_same_however_often_agents_are_killed() -> Result<()> {
    alone("killed-agents", async |tenant| {
        let (first, second, _) = versions(tenant).await?;
        start(tenant, &first).await?;
        tenant.component("orders", spec(&second)).await?;
        let agents = &tenant.suite.agents;
        let mut turn = 0;
        let steps = at_each_step(tenant, &second, async || {
            let agent = agents
                .get(turn % agents.len())
                .context("there are agents")?;
            turn += 1;
            agent.kill().await?;
            agent.start().await
        });
        let steps = steps.await?;
        ensure!(steps.len() >= 3, "only {steps:?} were seen");
        tenant.alone_everywhere(&second).await?;
        tenant.answers("orders", 3, "2.0.0").await?;
        tenant.ready("orders").await.map(drop)
    })
}

/// Calls `interrupt` whenever the status shows a step that it has not shown before, until
/// nothing takes over any more. The steps, in words.
async fn at_each_step(
    tenant: &Tenant,
    image: &Image,
    mut interrupt: impl AsyncFnMut() -> Result<()>,
) -> Result<BTreeSet<String>> {
    let mut steps = BTreeSet::new();
    let digest = image.digest.to_string();
    let begun = async || {
        let status = tenant.get("orders").await?.status.unwrap_or_default();
        let has_begun = status.updating.is_some() || status.failed_digest.is_some();
        ensure!(has_begun, "it has not");
        Ok(())
    };
    eventually("the rollout to begin", PATIENCE, begun).await?;
    while steps.len() < STEPS {
        let status = tenant.get("orders").await?.status.unwrap_or_default();
        let Some(updating) = status.updating.filter(|updating| updating.digest == digest) else {
            break;
        };
        if steps.insert(step(&updating)) {
            interrupt().await?;
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(steps)
}

fn step(updating: &UpdatingRevision) -> String {
    let UpdatingRevision {
        step,
        weight,
        reached_nodes,
        prepared_nodes,
        serving_nodes,
        ..
    } = updating;
    format!(
        "step {step:?} at {weight:?}: {reached_nodes} reached, {prepared_nodes} prepared, {serving_nodes} serve"
    )
}

/// Two that answer everything, and one that traps when it is asked for its health.
async fn versions(tenant: &Tenant) -> Result<(Image, Image, Image)> {
    let first = tenant.publish("orders", "1.0.0", "1.0.0").await?;
    let second = tenant.publish("orders", "2.0.0", "2.0.0").await?;
    let bad = tenant.push_bytes("orders", "3.0.0", PROBE.to_vec()).await?;
    tenant.suite.signer.sign(&bad).await?;
    Ok((first, second, bad))
}

async fn start(tenant: &Tenant, image: &Image) -> Result<()> {
    tenant.component("orders", spec(image)).await?;
    tenant.answers("orders", 3, "1.0.0").await?;
    tenant.ready("orders").await.map(drop)
}

fn spec(image: &Image) -> Value {
    json!({
        "image": image.tag,
        "health": { "httpGet": { "path": "/trap" } },
        "rollout": {
            "maxParallel": 1,
            "minReadySeconds": 1,
            "terminationGracePeriodSeconds": 5,
            "canary": { "steps": [{ "weight": 30, "pause": { "duration": "2s" } }] },
        },
    })
}
