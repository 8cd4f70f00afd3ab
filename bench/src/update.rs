//! What an update costs: how long one, ten and a hundred components take to change their version
//! on three agents, how long the change itself takes inside an agent, and what it weighs while
//! both versions live. Called by `main`, inside the network namespace that the agents need.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::agent::Agent;
use e2e::suite::alone;
use e2e::tenant::Tenant;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

/// How many components change at once.
const COUNTS: [usize; 3] = [1, 10, 100];
/// Components that are applied at once.
const AT_ONCE: usize = 8;
/// How often is looked whether it is done.
const LOOK: Duration = Duration::from_millis(100);
/// After this long something is wrong, and the figure would say nothing.
const PATIENCE: Duration = Duration::from_secs(300);
/// Long enough for both versions to be looked at on every node.
const HELD: u32 = 600;

/// What was seen.
pub(crate) struct Updated {
    /// Seconds from the first apply until all nodes hold only the new version, by components.
    pub(crate) seconds: Vec<(usize, f64)>,
    /// Milliseconds from control's word to the worker until its answer, on average.
    pub(crate) swap_millis: f64,
    /// MiB that the worker of one agent holds with a hundred components, and with both
    /// versions of each.
    pub(crate) one_version: f64,
    pub(crate) both_versions: f64,
}

/// Starts a cluster, updates components, and ends it.
pub(crate) fn measure() -> Result<Updated> {
    let mut updated = None;
    alone("update", async |tenant| {
        let mut images = Vec::new();
        for version in ["1.0.0", "2.0.0"] {
            images.push(tenant.publish("hello", version, version).await?);
        }
        let [first, second] = images.as_slice() else {
            bail!("two images were published")
        };
        let (first, second) = (&first.tag, &second.tag);
        let mut seconds = Vec::new();
        for count in COUNTS {
            all(tenant, count, spec(first, 0)).await?;
            settled(tenant, count, 1).await?;
            let start = Instant::now();
            all(tenant, count, spec(second, 0)).await?;
            settled(tenant, count, 1).await?;
            seconds.push((count, start.elapsed().as_secs_f64()));
        }
        let agent = tenant.suite.agent(1)?;
        let swap_millis = swap_millis(agent).await?;
        let most = COUNTS.into_iter().max().unwrap_or_default();
        let one_version = resident_mib(agent).await?;
        all(tenant, most, spec(first, HELD)).await?;
        settled(tenant, most, 2).await?;
        updated = Some(Updated {
            seconds,
            swap_millis,
            one_version,
            both_versions: resident_mib(agent).await?,
        });
        Ok(())
    })?;
    updated.context("nothing was measured")
}

fn spec(image: &str, min_ready: u32) -> Value {
    json!({
        "image": image,
        "placement": { "mode": "EveryNode" },
        // A hundred of them have to fit on each of the small nodes.
        "resources": { "requests": { "memory": "2Mi" } },
        "rollout": {
            "maxParallel": "100%",
            "minReadySeconds": min_ready,
            "terminationGracePeriodSeconds": 1,
        },
    })
}

async fn all(tenant: &Tenant, count: usize, spec: Value) -> Result<()> {
    let names = (0..count).map(|number| format!("hello-{number}"));
    futures::stream::iter(names)
        .map(|name| {
            let spec = spec.clone();
            async move { tenant.component(&name, spec).await }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Waits until all nodes hold so many `versions` of `count` components, and serve the first.
async fn settled(tenant: &Tenant, count: usize, versions: usize) -> Result<()> {
    let start = Instant::now();
    let nodes = tenant.suite.agents.len();
    loop {
        let placements = tenant.placements().await?;
        let is_settled = placements.iter().all(|placement| {
            let wanted = &placement.spec.revisions;
            let serving = placement
                .status
                .as_ref()
                .filter(|status| status.ready && status.revisions.len() == versions);
            let serving = serving.and_then(|status| status.serving.as_ref());
            wanted.len() == versions && serving == wanted.first().map(|wanted| &wanted.name)
        });
        if is_settled && placements.len() == count * nodes {
            let mut current = Vec::new();
            for number in 0..count {
                current.push(tenant.get(&format!("hello-{number}")).await?);
            }
            let is_seen = current.iter().all(|component| {
                let status = component.status.as_ref();
                status.is_some_and(|status| {
                    status.observed_generation == component.metadata.generation
                })
            });
            if is_seen {
                return Ok(());
            }
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "{count} components are not on {nodes} nodes within {PATIENCE:?}"
        );
        tokio::time::sleep(LOOK).await;
    }
}

async fn swap_millis(agent: &Agent) -> Result<f64> {
    let metrics = agent.get("/metrics").await?;
    let value = |name: &str| -> Result<f64> {
        let mut lines = metrics.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = found.with_context(|| format!("the agent shows no {name}"))?;
        Ok(value.trim().parse()?)
    };
    let micros = value("lighterman_agent_swap_microseconds")?;
    Ok(micros / value("lighterman_agent_swaps")? / 1000.0)
}

/// Resident memory of the agent's worker, from `/proc` (proc_pid_status(5)).
async fn resident_mib(agent: &Agent) -> Result<f64> {
    let pid = agent.worker().await?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.context("no VmRSS in /proc/PID/status")?;
    let kib: f64 = kib.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
