//! Which nodes components run on, and what becomes of them when nodes fall silent.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use crds::WasmNode;
use e2e::agent::Agent;
use e2e::eventually::{PATIENCE, eventually, throughout};
use e2e::suite::{alone, shared};
use e2e::tenant::{Endpoint, Tenant, fetch};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

/// The operator's grace period, after which the components of a silent node move.
const GRACE_PERIOD: Duration = Duration::from_secs(40);
/// DESIGN says about two seconds; the rest is for two busy cores.
const WITHDRAWN: Duration = Duration::from_secs(5);

#[test]
fn replicas_go_where_affinity_wants_them_and_more_than_nodes_share_them() -> Result<()> {
    shared("fleet-affinity", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let hostname = |operator: &str, node: &str| json!({ "matchExpressions": [{ "key": "kubernetes.io/hostname", "operator": operator, "values": [node] }] });
        let placement = json!({ "mode": "Spread", "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [hostname("NotIn", "node-1")] },
            "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 5, "preference": hostname("In", "node-3") }],
        }});
        let spec = |replicas: u32| json!({ "image": image.tag, "replicas": replicas, "placement": placement });
        tenant.component("orders", spec(1)).await?;
        tenant.ready("orders").await?;
        ensure!(
            replicas(tenant).await? == counts(&[("node-3", 1)]),
            "the preferred node"
        );
        tenant.component("orders", spec(5)).await?;
        tenant.ready("orders").await?;
        let spread = replicas(tenant).await?;
        ensure!(
            spread == counts(&[("node-2", 2), ("node-3", 3)])
                || spread == counts(&[("node-2", 3), ("node-3", 2)]),
            "five replicas are {spread:?}"
        );
        Ok(())
    })
}

#[test]
fn a_component_that_fits_nowhere_says_why_for_each_node() -> Result<()> {
    shared("fleet-refused", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let placement = json!({ "mode": "Spread", "nodeSelector": { "disk": "ssd" } });
        tenant
            .component(
                "orders",
                json!({ "image": image.tag, "placement": placement }),
            )
            .await?;
        let message = tenant.refused("orders", "NoNodeAvailable").await?;
        let wanted =
            "0/3 nodes can take one: 3 without the label disk=ssd (node-1, node-2, node-3)";
        ensure!(message.contains(wanted), "it says: {message}");
        Ok(())
    })
}

#[test]
fn a_component_goes_only_to_agents_that_know_what_it_needs() -> Result<()> {
    alone("fleet-skew", async |tenant| {
        let features = async |features: &[&str]| -> Result<()> {
            let patch = json!({ "status": { "features": features } });
            Api::<WasmNode>::all(tenant.client())
                .patch_status("node-3", &PatchParams::default(), &Patch::Merge(patch))
                .await?;
            Ok(())
        };
        // An agent of a version before http, and then one of a later version.
        features(&[]).await?;
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let spread = json!({ "mode": "Spread" });
        let spec = json!({ "image": image.tag, "replicas": 3, "placement": spread });
        tenant.component("orders", spec).await?;
        let outcome = async {
            tenant.answers("orders", 2, "1.0.0").await?;
            let now = replicas(tenant).await?;
            ensure!(!now.contains_key("node-3"), "they are {now:?}");
            features(&["http", "of-tomorrow"]).await?;
            tenant.answers("orders", 3, "1.0.0").await
        }
        .await;
        features(&["http"]).await?;
        outcome.map(drop)
    })
}

#[test]
fn the_endpoint_of_a_node_that_is_not_ready_is_withdrawn_and_nothing_moves() -> Result<()> {
    alone("fleet-not-ready", async |tenant| {
        let (_, used) = placed(tenant).await?;
        let before = versions(tenant).await?;
        let node = &used.first().context("no endpoint")?.node;
        node_ready(tenant, node, false).await?;
        eventually("its endpoint to be withdrawn", WITHDRAWN, async || {
            let ready = tenant.endpoints("orders").await?;
            ensure!(
                !ready.iter().any(|endpoint| endpoint.node == *node),
                "{ready:?}"
            );
            Ok(())
        })
        .await?;
        let now = versions(tenant).await?;
        ensure!(
            now.keys().eq(before.keys()),
            "before {before:?}, now {now:?}"
        );
        node_ready(tenant, node, true).await?;
        tenant.answers("orders", 2, "1.0.0").await?;
        Ok(())
    })
}

#[test]
fn replicas_move_from_a_silent_node_and_it_stops_what_is_no_longer_its_own() -> Result<()> {
    alone("fleet-lost", async |tenant| {
        let (_, used) = placed(tenant).await?;
        let before = versions(tenant).await?;
        let lost = used.first().context("no endpoint")?;
        let agent = agent(tenant, &lost.node)?;
        agent.kill().await?;
        agent.report(false).await?;
        throughout(
            "the placements in the grace period",
            GRACE_PERIOD / 2,
            async || {
                let now = versions(tenant).await?;
                ensure!(
                    now.keys().eq(before.keys()),
                    "before {before:?}, now {now:?}"
                );
                Ok(())
            },
        )
        .await?;
        eventually("its replica to move", PATIENCE, async || {
            let now = replicas(tenant).await?;
            ensure!(
                now.len() == 2 && !now.contains_key(&lost.node),
                "they are on {now:?}"
            );
            Ok(())
        })
        .await?;
        tenant.answers("orders", 2, "1.0.0").await?;

        agent.start().await?;
        eventually("the node to stop what has moved", PATIENCE, async || {
            let answer = fetch(&lost.url("/")).await;
            ensure!(answer.is_err(), "it answered {answer:?}");
            Ok(())
        })
        .await?;
        let now = replicas(tenant).await?;
        ensure!(
            !now.contains_key(&lost.node),
            "a replica moved back: {now:?}"
        );
        Ok(())
    })
}

#[test]
fn when_most_nodes_fall_silent_at_once_nothing_moves() -> Result<()> {
    alone("fleet-silent", async |tenant| {
        let (_, used) = placed(tenant).await?;
        let before = versions(tenant).await?;
        // Two of three: the third is there and could take everything.
        for endpoint in &used {
            let agent = agent(tenant, &endpoint.node)?;
            agent.kill().await?;
            agent.report(false).await?;
        }
        eventually("the endpoints to be withdrawn", WITHDRAWN, async || {
            let ready = tenant.endpoints("orders").await?;
            ensure!(ready.is_empty(), "{ready:?}");
            Ok(())
        })
        .await?;
        let well_past = GRACE_PERIOD + Duration::from_secs(10);
        throughout("the placements", well_past, async || {
            let now = versions(tenant).await?;
            ensure!(
                now.keys().eq(before.keys()),
                "before {before:?}, now {now:?}"
            );
            Ok(())
        })
        .await?;
        for endpoint in &used {
            agent(tenant, &endpoint.node)?.start().await?;
        }
        tenant.answers("orders", 2, "1.0.0").await?;
        Ok(())
    })
}

/// Two replicas on two of the three nodes: their endpoints.
async fn placed(tenant: &Tenant) -> Result<(Value, Vec<Endpoint>)> {
    let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
    let spec = json!({ "image": image.tag, "replicas": 2, "placement": { "mode": "Spread" } });
    tenant.component("orders", spec.clone()).await?;
    let endpoints = tenant.answers("orders", 2, "1.0.0").await?;
    Ok((spec, endpoints))
}

fn agent<'a>(tenant: &'a Tenant, node: &str) -> Result<&'a Agent> {
    let mut agents = tenant.suite.agents.iter();
    agents
        .find(|agent| agent.node == node)
        .with_context(|| format!("no agent on {node}"))
}

/// Replicas by node.
async fn replicas(tenant: &Tenant) -> Result<BTreeMap<String, i32>> {
    let placements = tenant.placements().await?;
    Ok(placements
        .into_iter()
        .map(|of| (of.spec.node_name, of.spec.replicas))
        .collect())
}

fn counts(listed: &[(&str, i32)]) -> BTreeMap<String, i32> {
    listed
        .iter()
        .map(|(node, count)| ((*node).to_owned(), *count))
        .collect()
}

/// Placements by node and uid, with the generation of what they say.
async fn versions(tenant: &Tenant) -> Result<BTreeMap<(String, String), Option<i64>>> {
    let placements = tenant.placements().await?;
    Ok(placements
        .into_iter()
        .map(|of| {
            let uid = of.uid().unwrap_or_default();
            ((of.spec.node_name, uid), of.metadata.generation)
        })
        .collect())
}

/// What the node's kubelet, or the controller that misses it, reports.
async fn node_ready(tenant: &Tenant, node: &str, ready: bool) -> Result<()> {
    let status = if ready { "True" } else { "Unknown" };
    let patch = json!({ "status": { "conditions": [{ "type": "Ready", "status": status, "reason": "Test", "message": "" }] } });
    Api::<Node>::all(tenant.client())
        .patch_status(node, &PatchParams::default(), &Patch::Strategic(patch))
        .await?;
    Ok(())
}
