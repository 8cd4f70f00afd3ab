//! What a fleet costs: simulated agents, real operator, API server and registry.
//!
//! Two questions. How long does a component that belongs on every node take to follow as
//! nodes come: one, three, fifty? And how long do a thousand components take to be ready on
//! twenty nodes, at what price for the API server and the operator? Called by `main`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use crds::WasmComponent;
use e2e::simulated::{LABEL, Simulated};
use e2e::suite::alone;
use e2e::tenant::Tenant;
use e2e::writes::writes;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

/// Nodes of the first question, and how many there are at each step.
const STEPS: [u8; 3] = [1, 3, 50];
/// Nodes and components of the second.
const NODES: u8 = 20;
const COMPONENTS: usize = 1_000;
/// Components that are applied at once.
const AT_ONCE: usize = 8;
/// How often is looked whether it is done.
const LOOK: Duration = Duration::from_millis(500);
/// After this long something is wrong, and the figure would say nothing.
const PATIENCE: Duration = Duration::from_secs(600);

/// What was seen.
pub(crate) struct Fleet {
    /// Seconds until a component that belongs on every node serves on all, per step.
    pub(crate) every_node: Vec<(u8, f64)>,
    /// Seconds from the first apply to the last `Ready`.
    pub(crate) converge: f64,
    /// Writes to the API server per second meanwhile, heartbeats included.
    pub(crate) writes_per_second: f64,
    /// The most memory the operator had resident, in MiB.
    pub(crate) operator_mib: f64,
}

/// Starts a cluster with simulated agents, and measures both.
pub(crate) fn measure() -> Result<Fleet> {
    let mut fleet = None;
    alone("fleet", async |tenant| {
        let every_node = every_node(tenant).await?;
        let client = tenant.client();
        let before: f64 = writes(&client).await?.values().sum();
        let start = Instant::now();
        converge(tenant).await?;
        let converge = start.elapsed().as_secs_f64();
        let after: f64 = writes(&client).await?.values().sum();
        fleet = Some(Fleet {
            every_node,
            converge,
            writes_per_second: (after - before) / converge,
            operator_mib: tenant.suite.operator.memory().await?,
        });
        Ok(())
    })?;
    fleet.ok_or_else(|| anyhow::anyhow!("nothing was measured"))
}

async fn every_node(tenant: &Tenant) -> Result<Vec<(u8, f64)>> {
    let image = tenant.publish("everywhere", "1.0.0", "1.0.0").await?;
    tenant
        .component(
            "everywhere",
            json!({ "image": image.tag, "placement": {
                "mode": "EveryNode", "nodeSelector": { LABEL: "all" },
            }}),
        )
        .await?;
    let mut agents = Vec::new();
    let mut seen = Vec::new();
    for nodes in STEPS {
        let start = Instant::now();
        let come = u8::try_from(agents.len())? + 1..=nodes;
        let started: Vec<_> = futures::stream::iter(come)
            .map(|number| Simulated::start(&tenant.suite.cluster, number, "all"))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        agents.extend(started);
        until(async || Ok(tenant.endpoints("everywhere").await?.len() == usize::from(nodes)))
            .await?;
        seen.push((nodes, start.elapsed().as_secs_f64()));
    }
    tenant.kubectl(&["delete", "wc", "everywhere"]).await?;
    Ok(seen)
}

async fn converge(tenant: &Tenant) -> Result<()> {
    // Numbers that the first question has not used.
    let numbers = 100..100 + NODES;
    let _agents: Vec<_> = futures::stream::iter(numbers)
        .map(|number| Simulated::start(&tenant.suite.cluster, number, "twenty"))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let image = tenant.publish("thousand", "1.0.0", "1.0.0").await?;
    let components = Api::<WasmComponent>::namespaced(tenant.client(), &tenant.name);
    let parameters = PatchParams::apply("bench").force();
    futures::stream::iter(0..COMPONENTS)
        .map(Ok)
        .try_for_each_concurrent(AT_ONCE, async |number| {
            let name = format!("thousand-{number}");
            let component = json!({
                "apiVersion": "lighterman.dev/v1alpha1",
                "kind": "WasmComponent",
                "metadata": { "name": name },
                "spec": {
                    "image": image.tag,
                    "replicas": 1,
                    "placement": { "mode": "Spread", "nodeSelector": { LABEL: "twenty" } },
                    "triggers": [{ "name": "web", "http": { "port": 80 } }],
                },
            });
            components
                .patch(&name, &parameters, &Patch::Apply(component))
                .await
                .map(drop)
        })
        .await?;
    until(async || {
        let all = components.list(&ListParams::default()).await?;
        let ready = all.iter().filter(|component| is_ready(component)).count();
        Ok(ready == COMPONENTS)
    })
    .await
}

fn is_ready(component: &WasmComponent) -> bool {
    let status = component.status.as_ref();
    component.name_any().starts_with("thousand-")
        && status.is_some_and(|status| {
            let ready = status.conditions.iter().find(|one| one.type_ == "Ready");
            ready.is_some_and(|ready| ready.status == "True")
        })
}

async fn until(mut done: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !done().await? {
        ensure!(
            start.elapsed() < PATIENCE,
            "it is not done within {PATIENCE:?}"
        );
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
