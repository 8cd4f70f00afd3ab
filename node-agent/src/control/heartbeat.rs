//! The sign of life of this node: a Lease of its own, renewed every ten seconds from control, so
//! that guests which take all of the worker's CPU never make the node look dead. And the facts
//! about the node, `WasmNode`, written once and on change.

use std::time::Duration;

use crds::{WasmNode, WasmNodeStatus, names};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client, Resource};
use tokio_util::sync::CancellationToken;

/// How often the Lease is renewed.
const PERIOD: Duration = Duration::from_secs(10);
/// How long the Lease says it holds: four periods, so that three lost ones are no alarm.
const LEASE_SECONDS: i32 = 40;
/// How long one write may take before the next is due.
const ANSWER: Duration = Duration::from_secs(5);

/// Renews the Lease of a node until `stop`.
pub async fn run(
    client: Client,
    namespace: String,
    node: String,
    holder: String,
    stop: CancellationToken,
) {
    let api: Api<Lease> = Api::namespaced(client, &namespace);
    let mut due = tokio::time::interval(PERIOD);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = due.tick() => {}
            () = stop.cancelled() => return,
        }
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(node.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.clone()),
                lease_duration_seconds: Some(LEASE_SECONDS),
                renew_time: Some(MicroTime(Timestamp::now())),
                ..LeaseSpec::default()
            }),
        };
        let (parameters, patch) = (parameters(), Patch::Apply(&lease));
        let written = api.patch(&node, &parameters, &patch);
        match tokio::time::timeout(ANSWER, written).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the heartbeat was refused"),
            Err(_) => tracing::warn!("the heartbeat was not answered in time"),
        }
    }
}

/// Writes the facts about this node, and again until it succeeds or `stop`.
pub async fn node(client: Client, node: String, status: WasmNodeStatus, stop: CancellationToken) {
    while let Err(error) = write_node(&client, &node, &status).await {
        tracing::warn!(%error, "the facts about this node could not be written");
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn write_node(
    client: &Client,
    name: &str,
    status: &WasmNodeStatus,
) -> Result<(), kube::Error> {
    let api: Api<WasmNode> = Api::all(client.clone());
    let mut node = WasmNode::new(name, crds::WasmNodeSpec {});
    // Goes with its Node. Without the right to read Nodes it stays behind, which is harmless.
    let owner = Api::<Node>::all(client.clone()).get(name).await.ok();
    node.metadata.owner_references = owner
        .and_then(|owner| owner.owner_ref(&()))
        .map(|owner| vec![owner]);
    api.patch(name, &parameters(), &Patch::Apply(&node)).await?;
    node.status = Some(status.clone());
    api.patch_status(name, &parameters(), &Patch::Apply(&node))
        .await?;
    Ok(())
}

fn parameters() -> PatchParams {
    PatchParams::apply(names::AGENT_FIELD_MANAGER).force()
}
