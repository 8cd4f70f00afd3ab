//! Agents that run nothing: Node, Pod, heartbeat and facts like a real one's, and the word
//! that whatever is placed there serves. For the measurements of what a fleet costs the
//! API server and the operator; no test of what an agent does may use it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use crds::placement::{Phase, RevisionStatus};
use crds::wasm_node::{Capacity, PodReference, feature};
use crds::{ComponentPlacement, ComponentPlacementStatus, WasmNode, WasmNodeStatus, names};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::agent::{SERVICE_ACCOUNT, make_node, make_pod, report};
use crate::cluster::Cluster;
use crate::operator::{NAMESPACE, NODE_NAMESPACE};

/// As the real one.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The label of simulated Nodes, for `placement.nodeSelector`.
pub const LABEL: &str = "lighterman.test/simulated";
/// What one says that it can take.
const MEMORY: &str = "4Gi";

/// One simulated agent; it falls silent with this value.
pub struct Simulated(Vec<JoinHandle<()>>);

impl Simulated {
    /// Makes Node number `number`, labelled as one of `group`, and its agent's objects.
    pub async fn start(cluster: &Cluster, number: u8, group: &str) -> Result<Simulated> {
        let node = format!("simulated-{number}");
        // RFC 5737: nobody answers there, and nobody is asked.
        let address = IpAddr::V4(Ipv4Addr::new(198, 51, 100, number));
        make_node(&cluster.client, &node, address, &[(LABEL, group)]).await?;
        let pod = make_pod(&cluster.client, &node).await?;
        report(&cluster.client, &pod.name_any(), address, true).await?;
        let token = cluster
            .token(NAMESPACE, SERVICE_ACCOUNT, None, Some(&pod))
            .await?;
        let client = cluster.client_for(&token).await?;
        let beating = heartbeat(client.clone(), node.clone());
        let facts = WasmNodeStatus {
            agent_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            features: vec![feature::HTTP.to_owned()],
            pod_ref: Some(PodReference {
                name: pod.name_any(),
                uid: pod.uid().context("a Pod without uid")?,
            }),
            capacity: Some(Capacity {
                memory: MEMORY.parse()?,
                instances: 1_000,
                components: 1_000,
            }),
            ..WasmNodeStatus::default()
        };
        tell(&client, &node, facts).await?;
        Ok(Simulated(vec![
            tokio::spawn(beating),
            tokio::spawn(agree(client, node)),
        ]))
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

async fn tell(client: &Client, name: &str, status: WasmNodeStatus) -> Result<()> {
    let nodes = Api::<WasmNode>::all(client.clone());
    let mut node = WasmNode::new(name, crds::WasmNodeSpec {});
    let parameters = PatchParams::apply(names::AGENT_FIELD_MANAGER).force();
    nodes.patch(name, &parameters, &Patch::Apply(&node)).await?;
    node.status = Some(status);
    nodes
        .patch_status(name, &parameters, &Patch::Apply(&node))
        .await?;
    Ok(())
}

async fn heartbeat(client: Client, node: String) {
    let leases = Api::<Lease>::namespaced(client, NODE_NAMESPACE);
    let parameters = PatchParams::apply(names::AGENT_FIELD_MANAGER).force();
    loop {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": node },
            "spec": {
                "holderIdentity": node,
                "leaseDurationSeconds": 40,
                "renewTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
            },
        });
        // The next one comes soon, and a silent agent is what shows in the figures.
        let _ = leases.patch(&node, &parameters, &Patch::Apply(lease)).await;
        tokio::time::sleep(HEARTBEAT).await;
    }
}

/// Says of every placement of this node that its revisions serve.
async fn agree(client: Client, node: String) {
    let all = Api::<ComponentPlacement>::all(client.clone());
    let mine = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
    watcher(all, mine)
        .default_backoff()
        .applied_objects()
        .map_err(|_| ())
        .for_each_concurrent(4, async |placement| {
            if let Ok(placement) = placement {
                // What was refused comes again with the next change.
                let _ = serve(&client, placement).await;
            }
        })
        .await;
}

async fn serve(client: &Client, placement: ComponentPlacement) -> Result<()> {
    let namespace = placement
        .namespace()
        .context("a placement has a namespace")?;
    let weighed = placement.spec.revisions.iter().find(|one| one.weight > 0);
    let status = ComponentPlacementStatus {
        observed_generation: placement.metadata.generation,
        ready: weighed.is_some(),
        serving: weighed.map(|one| one.name.clone()),
        revisions: placement
            .spec
            .revisions
            .iter()
            .map(|one| RevisionStatus {
                name: one.name.clone(),
                phase: if one.weight > 0 {
                    Phase::Serving
                } else {
                    Phase::Prepared
                },
                ..RevisionStatus::default()
            })
            .collect(),
        ..ComponentPlacementStatus::default()
    };
    if placement.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let placements = Api::<ComponentPlacement>::namespaced(client.clone(), &namespace);
    let patch = Patch::Merge(json!({ "status": status }));
    placements
        .patch_status(&placement.name_any(), &PatchParams::default(), &patch)
        .await?;
    Ok(())
}
