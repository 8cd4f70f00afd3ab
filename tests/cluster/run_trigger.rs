//! Components that run by themselves: jobs complete, workers are started again after a pause,
//! and a version takes over from another in order, or is undone.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use crds::WasmComponent;
use crds::placement::RunStatus;
use e2e::eventually::{PATIENCE, eventually, throughout};
use e2e::guest::WORKER;
use e2e::process;
use e2e::registry::Image;
use e2e::suite::{alone, shared};
use e2e::tenant::{Tenant, condition};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::plug_in::{lm, said};

/// The first pause before a restart, with room for a busy machine on both sides.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGER: Duration = Duration::from_secs(60);

fn spec(image: &Image, policy: &str, args: &[&str]) -> Value {
    json!({
        "image": image.tag,
        "placement": { "mode": "Spread" },
        "triggers": [{ "name": "main", "run": { "restartPolicy": policy } }],
        "args": args,
    })
}

async fn publish(tenant: &Tenant, tag: &str) -> Result<Image> {
    let wasm = e2e::guest::copy(WORKER.to_vec(), &format!("{}-{tag}", tenant.name))?;
    let image = tenant.push_bytes("worker", tag, wasm).await?;
    tenant.suite.signer.sign(&image).await?;
    Ok(image)
}

/// What nodes say of its replicas.
async fn runs(tenant: &Tenant) -> Result<Vec<RunStatus>> {
    let placements = tenant.placements().await?;
    let told = placements.into_iter().filter_map(|of| of.status?.run);
    Ok(told.collect())
}

/// Waits until the component is Ready because of `reason`; its condition's message.
async fn available(tenant: &Tenant, reason: &str) -> Result<(WasmComponent, String)> {
    eventually(reason, PATIENCE, async || {
        let component = tenant.ready("worker").await?;
        let available = condition(&component, "Available")?;
        ensure!(available.reason == reason, "{available:?}");
        Ok((component, available.message))
    })
    .await
}

#[test]
fn a_job_completes_has_no_address_and_is_not_run_again() -> Result<()> {
    shared("run-job", async |tenant| {
        let image = publish(tenant, "1").await?;
        let job = spec(&image, "OnFailure", &["print=done"]);
        tenant.component("worker", job).await?;
        let (component, message) = available(tenant, "RunCompleted").await?;
        ensure!(message == "1 of 1 replicas have completed", "{message}");
        let status = component.status.context("no status")?;
        ensure!(
            status.url.is_none() && status.triggers.is_empty(),
            "{status:?}"
        );
        ensure!(status.ready_replicas == 1, "{status:?}");
        let services = tenant.kubectl(&["get", "services", "-o", "name"]).await?;
        ensure!(services.is_empty(), "{services}");
        let shown = lm(tenant, &["status", "worker"])?;
        ensure!(said(&shown).contains(&message), "{}", said(&shown));

        // Nothing of it changes any more.
        let before = component.metadata.resource_version;
        throughout(
            "nothing to be written",
            Duration::from_secs(5),
            async || {
                let now = tenant.get("worker").await?.resource_version();
                ensure!(now == before, "{now:?}");
                Ok(())
            },
        )
        .await
    })
}

#[test]
fn a_worker_that_crashes_is_started_again_after_a_pause_and_says_why() -> Result<()> {
    shared("run-crash", async |tenant| {
        let image = publish(tenant, "1").await?;
        let crash = spec(&image, "Always", &["sleep=500", "exit=3"]);
        tenant.component("worker", crash).await?;
        let message = tenant.refused("worker", "RunRestarting").await?;
        ensure!(message.contains("exited with code 3"), "{message}");
        ensure!(message.contains("0 of 1 replicas run"), "{message}");
        let why = lm(tenant, &["why", "worker"])?;
        ensure!(said(&why).contains("exited with code 3"), "{}", said(&why));

        let waiting = async |wanted: i32| {
            eventually("the next state", LONGER, async || {
                let runs = runs(tenant).await?;
                let waiting: i32 = runs.iter().map(|run| run.waiting).sum();
                ensure!(waiting == wanted, "{runs:?}");
                Ok(Instant::now())
            })
            .await
        };
        let ended = waiting(1).await?;
        let again = waiting(0).await?;
        ensure!(again - ended > FIRST_PAUSE / 3, "{:?}", again - ended);
        waiting(1).await?;
        Ok(())
    })
}

#[test]
fn a_job_that_is_never_started_again_has_failed_until_it_is_changed() -> Result<()> {
    shared("run-failed", async |tenant| {
        let image = publish(tenant, "1").await?;
        let failing = spec(&image, "Never", &["trap"]);
        tenant.component("worker", failing).await?;
        let message = tenant.refused("worker", "RunFailed").await?;
        ensure!(message.contains("ended with Trapped"), "{message}");
        let component = tenant.get("worker").await?;
        ensure!(condition(&component, "Stalled")?.status == "True");

        let mended = spec(&image, "Never", &["print=done"]);
        tenant.component("worker", mended).await?;
        available(tenant, "RunCompleted").await?;
        Ok(())
    })
}

#[test]
fn replicas_follow_scale_and_a_version_takes_over_or_is_undone() -> Result<()> {
    shared("run-update", async |tenant| {
        let one = publish(tenant, "1").await?;
        let ticking = spec(&one, "Always", &["tick=100"]);
        tenant.component("worker", ticking).await?;
        available(tenant, "Running").await?;
        let scaled = async |replicas: i32| {
            let replicas_flag = format!("--replicas={replicas}");
            tenant
                .kubectl(&["scale", "wc/worker", &replicas_flag])
                .await?;
            eventually("the replicas", PATIENCE, async || {
                let running: i32 = runs(tenant).await?.iter().map(|run| run.running).sum();
                ensure!(running == replicas, "{running} run");
                let status = tenant.get("worker").await?.status.unwrap_or_default();
                ensure!(status.ready_replicas == replicas, "{status:?}");
                Ok(())
            })
            .await
        };
        for replicas in [4, 0, 2] {
            scaled(replicas).await?;
        }

        let two = publish(tenant, "2").await?;
        let mut next = spec(&two, "Always", &["tick=100"]);
        next["replicas"] = json!(2);
        tenant.component("worker", next).await?;
        tenant.alone_everywhere(&two).await?;
        let (component, _) = available(tenant, "Running").await?;
        let current = component.status.and_then(|status| status.current);
        ensure!(current.is_some_and(|current| current.digest == two.digest.to_string()));

        let bad = publish(tenant, "3").await?;
        let mut crashing = spec(&bad, "Always", &["sleep=300", "exit=7"]);
        crashing["replicas"] = json!(2);
        crashing["rollout"] = json!({ "minReadySeconds": 3 });
        tenant.component("worker", crashing).await?;
        let message = tenant.refused("worker", "RolledBack").await?;
        ensure!(message.contains("exited with code 7"), "{message}");
        tenant.alone_everywhere(&two).await?;
        eventually("the old one to run", PATIENCE, async || {
            let running: i32 = runs(tenant).await?.iter().map(|run| run.running).sum();
            ensure!(running == 2, "{running} run");
            Ok(())
        })
        .await
    })
}

#[test]
fn what_the_platform_ends_runs_again_and_a_job_that_had_completed_does_not() -> Result<()> {
    alone("run-killed", async |tenant| {
        let image = publish(tenant, "1").await?;
        let mut ticking = spec(&image, "Never", &["tick=100"]);
        ticking["placement"] = json!({ "mode": "EveryNode" });
        tenant.component("worker", ticking).await?;
        available(tenant, "Running").await?;
        let agent = tenant.suite.agent(1)?;
        let worker = agent.worker().await?;
        process::kill(worker)?;
        tenant.refused("worker", "RunRestarting").await?;
        available(tenant, "Running").await?;

        let done = spec(&image, "OnFailure", &["print=done once"]);
        tenant.component("worker", done).await?;
        available(tenant, "RunCompleted").await?;
        let lines = || -> Result<usize> {
            let log = tenant.suite.logs()?;
            Ok(log.matches("\"done once\"").count())
        };
        let before = lines()?;
        for agent in (1..=3).map(|number| tenant.suite.agent(number)) {
            let agent = agent?;
            agent.stop().await?;
            agent.start().await?;
        }
        eventually("all agents to be heard", PATIENCE, async || {
            available(tenant, "RunCompleted").await
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        ensure!(lines()? <= before, "it ran {} times", lines()?);
        Ok(())
    })
}
