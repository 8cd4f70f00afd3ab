//! Cordon and drain, with the real kubectl: components move first, and the drain
//! waits for them, because each used node has a guard Pod that it sees.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::eventually::{PATIENCE, eventually, throughout};
use e2e::kubelet::{GUARDS, Kubelet};
use e2e::load::Load;
use e2e::operator::NAMESPACE;
use e2e::suite::alone;
use e2e::tenant::Tenant;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};

const IMAGE: &str = "registry.example/lighterman-operator:e2e";
const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];

#[test]
fn a_drain_ends_when_the_components_have_moved_and_fails_no_request() -> Result<()> {
    guarded("guard-drain", async |tenant| {
        let used = placed(tenant).await?;
        eventually("a guard on each used node", PATIENCE, async || {
            let guards = guards(tenant).await?;
            ensure!(guards == used, "they are on {guards:?}, used are {used:?}");
            Ok(())
        })
        .await?;
        let node = used.first().context("no node is used")?;
        let load = Load::start(tenant.client(), &tenant.name, "orders", 20);
        tokio::time::sleep(Duration::from_secs(1)).await;

        drain(tenant, node, "90s").await?;
        let left = nodes(tenant).await?;
        ensure!(!left.contains(node), "the drain ended before it was left");
        tokio::time::sleep(Duration::from_secs(2)).await;
        load.stop().await?.only(&["1.0.0"])?;
        eventually(
            "the guard of the drained node to stay away",
            PATIENCE,
            async || {
                let (guards, nodes) = (guards(tenant).await?, nodes(tenant).await?);
                ensure!(
                    guards == nodes,
                    "guards are on {guards:?}, used are {nodes:?}"
                );
                Ok(())
            },
        )
        .await
    })
}

#[test]
fn a_drain_waits_for_components_that_have_nowhere_to_go() -> Result<()> {
    guarded("guard-waits", async |tenant| {
        let used = placed(tenant).await?;
        let node = used.first().context("no node is used")?;
        let mut others = NODES.iter().filter(|name| *name != node);
        let spare = others.next().context("there is one node only")?;
        for other in NODES.iter().filter(|name| *name != node) {
            kubectl(tenant, &["cordon", other]).await?;
        }
        eventually("the last node to take everything", PATIENCE, async || {
            let (guards, nodes) = (guards(tenant).await?, nodes(tenant).await?);
            let alone = BTreeSet::from([node.clone()]);
            ensure!(
                nodes == alone && guards == alone,
                "{nodes:?} are used, {guards:?} guarded"
            );
            Ok(())
        })
        .await?;
        // Two replicas of 24Mi, rounded up.
        eventually("the reservation to follow", PATIENCE, async || {
            let reserved = reserved(tenant).await?;
            ensure!(reserved == "48Mi", "it is {reserved}");
            Ok(())
        })
        .await?;
        let message = match drain(tenant, node, "6s").await {
            Ok(()) => anyhow::bail!("the drain ended although nothing could move"),
            Err(error) => format!("{error:#}"),
        };
        let waited = message.contains("error when waiting for pod \"lighterman-guard-");
        ensure!(waited, "the drain said {message}");
        // Until another node serves, the drained one does.
        tenant.answers("orders", 1, "1.0.0").await?;
        kubectl(tenant, &["uncordon", spare]).await?;
        drain(tenant, node, "90s").await?;
        ensure!(!nodes(tenant).await?.contains(node));
        tenant.answers("orders", 1, "1.0.0").await?;
        Ok(())
    })
}

#[test]
fn a_taint_of_an_autoscaler_moves_components_surging_first() -> Result<()> {
    guarded("guard-taint", async |tenant| {
        let used = placed(tenant).await?;
        let node = used.first().context("no node is used")?;
        let load = Load::start(tenant.client(), &tenant.name, "orders", 20);
        let taint = "ToBeDeletedByClusterAutoscaler=1795257600:NoSchedule";
        kubectl(tenant, &["taint", "node", node, taint]).await?;
        eventually("the node to be left", PATIENCE, async || {
            // Never fewer than two are ready on the way.
            let ready = tenant.endpoints("orders").await?;
            ensure!(ready.len() >= 2, "only {ready:?} are ready");
            ensure!(!nodes(tenant).await?.contains(node), "it is still used");
            Ok(())
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        load.stop().await?.only(&["1.0.0"])?;
        let removal = format!("{}-", taint.split('=').next().unwrap_or_default());
        kubectl(tenant, &["taint", "node", node, &removal]).await?;
        throughout(
            "the placements that have moved",
            Duration::from_secs(3),
            async || {
                ensure!(!nodes(tenant).await?.contains(node), "it came back");
                Ok(())
            },
        )
        .await
    })
}

#[test]
fn the_operators_account_can_make_guards_and_no_other_pods() -> Result<()> {
    alone("guard-rights", async |tenant| {
        let token = tenant
            .suite
            .cluster
            .token(NAMESPACE, "lighterman-operator", None, None)
            .await?;
        let client = tenant.suite.cluster.client_for(&token).await?;
        let pods = Api::<Pod>::namespaced(client, NAMESPACE);
        let attempt = async |labels: Value, spec: Value| -> Result<()> {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": { "name": "attempt", "labels": labels }, "spec": spec,
            }))?;
            let parameters = PostParams {
                dry_run: true,
                ..PostParams::default()
            };
            pods.create(&parameters, &pod).await?;
            Ok(())
        };
        let guard = || json!({ "app.kubernetes.io/name": "lighterman-guard" });
        let spec = |more: Value| {
            let mut spec = json!({
                "automountServiceAccountToken": false,
                "securityContext": { "runAsNonRoot": true, "runAsUser": 65532 },
                "containers": [{
                    "name": "guard", "image": IMAGE, "args": ["guard"],
                    "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                }],
            });
            if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
                spec.extend(more);
            }
            spec
        };
        attempt(guard(), spec(json!({}))).await.context("a guard")?;
        let refused = [
            (json!({}), spec(json!({}))),
            (guard(), spec(json!({ "hostNetwork": true }))),
            (guard(), spec(json!({ "hostPID": true }))),
            (
                guard(),
                spec(json!({ "automountServiceAccountToken": true })),
            ),
            (
                guard(),
                spec(json!({ "volumes": [{ "name": "root", "hostPath": { "path": "/" } }] })),
            ),
            (
                guard(),
                spec(json!({ "containers": [{
                    "name": "guard", "image": IMAGE, "args": ["guard"], "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "add": ["SYS_ADMIN"] } },
                }] })),
            ),
        ];
        for (labels, spec) in refused {
            let outcome = attempt(labels.clone(), spec.clone()).await;
            let error = outcome.err().map(|error| format!("{error:#}"));
            let error = error.with_context(|| format!("{labels} {spec} was let through"))?;
            ensure!(
                error.contains("lighterman-guards"),
                "refused by another: {error}"
            );
        }
        // What is not a guard it does not delete either: an agent's Pod least of all.
        let agent = tenant.suite.agent(1)?.pod.name_any();
        let deleted = pods.delete(&agent, &Default::default()).await;
        ensure!(deleted.is_err(), "it deleted {agent}");
        Ok(())
    })
}

/// Runs a test with an operator that keeps guards, and takes them away afterwards.
async fn with_guards(tenant: &Tenant, test: impl AsyncFnOnce(&Tenant) -> Result<()>) -> Result<()> {
    let operator = &tenant.suite.operator;
    let kubelet = Kubelet::start(tenant.client());
    operator.stop().await?;
    operator.start_with(&["--guard-image", IMAGE]).await?;
    let outcome = test(tenant).await;
    for node in NODES {
        kubectl(tenant, &["uncordon", node]).await?;
    }
    operator.stop().await?;
    operator.start().await?;
    eventually("all guards to be gone", PATIENCE, async || {
        let left = guards(tenant).await?;
        ensure!(left.is_empty(), "there are some on {left:?}");
        Ok(())
    })
    .await?;
    drop(kubelet);
    outcome
}

fn guarded(name: &str, test: impl AsyncFnOnce(&Tenant) -> Result<()>) -> Result<()> {
    alone(name, async |tenant| with_guards(tenant, test).await)
}

/// Two replicas on two of the three nodes, which it returns.
async fn placed(tenant: &Tenant) -> Result<BTreeSet<String>> {
    let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
    let spec = json!({
        "image": image.tag,
        "replicas": 2,
        "placement": { "mode": "Spread" },
        "resources": { "requests": { "memory": "24Mi" } },
    });
    tenant.component("orders", spec).await?;
    tenant.answers("orders", 2, "1.0.0").await?;
    nodes(tenant).await
}

/// The nodes that have a placement.
async fn nodes(tenant: &Tenant) -> Result<BTreeSet<String>> {
    let placements = tenant.placements().await?;
    Ok(placements.into_iter().map(|of| of.spec.node_name).collect())
}

/// The nodes that have a guard which has not been told to go.
async fn guards(tenant: &Tenant) -> Result<BTreeSet<String>> {
    let pods = Api::<Pod>::namespaced(tenant.client(), NAMESPACE);
    let pods = pods.list(&ListParams::default().labels(GUARDS)).await?;
    let node = |pod: Pod| pod.spec.and_then(|spec| spec.node_name);
    Ok(pods.items.into_iter().filter_map(node).collect())
}

/// What the one guard there is reserves.
async fn reserved(tenant: &Tenant) -> Result<String> {
    let selector = format!("--selector={GUARDS}");
    let path = "-o=jsonpath={.items[*].spec.containers[0].resources.requests.memory}";
    let arguments = ["get", "pods", "--namespace", NAMESPACE, &selector, path];
    tenant.suite.cluster.kubectl_ok(&arguments, None).await
}

/// Agents are bare Pods here, which a drain would refuse to lose; in a cluster they
/// belong to a DaemonSet, and it passes them over.
async fn drain(tenant: &Tenant, node: &str, timeout: &str) -> Result<()> {
    let selector = format!("--pod-selector={GUARDS}");
    let timeout = format!("--timeout={timeout}");
    kubectl(tenant, &["drain", node, &selector, &timeout]).await
}

async fn kubectl(tenant: &Tenant, arguments: &[&str]) -> Result<()> {
    tenant.suite.cluster.kubectl_ok(arguments, None).await?;
    Ok(())
}
