//! One node: the core Node and the agent's Pod as the kubelet would keep them,
//! and the agent as processes with the tokens that Pod would be given. Called by
//! the suite, and by tests that stop, kill or impersonate an agent.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use crds::handover::HANDOVER_AUDIENCE;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::cluster::Cluster;
use crate::hand_over::Forwarder;
use crate::namespace::{agent_address, run_directory};
use crate::operator::{NAMESPACE, NODE_NAMESPACE};
use crate::process::{self, Process};
use crate::tools;

/// The agents' service account.
pub const SERVICE_ACCOUNT: &str = "lighterman-agent";

/// The memory an agent is told it has: room for a replica's default of 512 MiB.
const MEMORY: u64 = 1024 * 1024 * 1024;
/// Every agent has an address of its own, so all use the same port.
const ADMIN_PORT: u16 = 9090;
/// How long an agent keeps accepting after SIGTERM: more than the operator needs
/// to withdraw its endpoints and the client to see that.
const SHUTDOWN_DELAY: &str = "5s";
/// Shutdown delay, the longest drain of a test, and two busy cores.
const STOP: Duration = Duration::from_secs(60);

/// One node and its agent; running or not.
pub struct Agent {
    /// The Node's name.
    pub node: String,
    /// The agent's Pod object.
    pub pod: Pod,
    /// Its Pod's address: where components answer.
    pub address: IpAddr,
    client: Client,
    token: String,
    hand_over: SocketAddr,
    kubeconfig: PathBuf,
    token_file: PathBuf,
    state: PathBuf,
    run: PathBuf,
    logs: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Agent {
    /// Makes the Node, the Pod and the tokens; [`Agent::start`] starts the agent.
    pub async fn prepare(
        number: u8,
        cluster: &Cluster,
        hand_over: &Forwarder,
        folder: &Path,
        logs: &Path,
    ) -> Result<Agent> {
        let node = format!("node-{number}");
        let address = agent_address(number);
        make_node(&cluster.client, &node, address, &[]).await?;
        let pod = make_pod(&cluster.client, &node).await?;
        let token = cluster
            .token(NAMESPACE, SERVICE_ACCOUNT, None, Some(&pod))
            .await?;
        let hand_over_token = cluster
            .token(
                NAMESPACE,
                SERVICE_ACCOUNT,
                Some(HANDOVER_AUDIENCE),
                Some(&pod),
            )
            .await?;
        let folder = folder.join(&node);
        std::fs::create_dir_all(&folder)?;
        let token_file = folder.join("hand-over-token");
        std::fs::write(&token_file, hand_over_token)?;
        Ok(Agent {
            kubeconfig: cluster.kubeconfig_for(&node, &token)?,
            state: folder.join("state"),
            run: run_directory().join(&node),
            client: cluster.client.clone(),
            hand_over: hand_over.address,
            logs: logs.to_owned(),
            process: Mutex::new(None),
            node,
            pod,
            address,
            token,
            token_file,
        })
    }

    /// Starts the agent and, when it says that it is ready, its Pod is.
    pub async fn start(&self) -> Result<()> {
        self.start_unreported().await?;
        self.report(true).await
    }

    /// The same with more flags.
    pub async fn start_with(&self, flags: &[&str]) -> Result<()> {
        self.start_process(flags).await?;
        self.report(true).await
    }

    /// Starts the agent with nobody to tell: for tests without an API server.
    pub async fn start_unreported(&self) -> Result<()> {
        self.start_process(&[]).await
    }

    async fn start_process(&self, flags: &[&str]) -> Result<()> {
        std::fs::create_dir_all(&self.state)?;
        std::fs::create_dir_all(&self.run)?;
        let mut command = Command::new(tools::ours("lighterman-agent", "node-agent")?);
        command
            .arg("control")
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--token-file")
            .arg(&self.token_file)
            .arg("--hand-over-url")
            .arg(format!("https://{}", self.hand_over))
            .args(["--namespace", NAMESPACE, "--node-namespace", NODE_NAMESPACE])
            .args(["--node-name", &self.node])
            .args(["--pod-name", &self.pod.name_any()])
            .args(["--pod-uid", &self.pod.uid().unwrap_or_default()])
            .args(["--listen-address", &self.address.to_string()])
            .args(["--admin-listen", &self.admin().to_string()])
            .arg("--state-dir")
            .arg(&self.state)
            .arg("--run-dir")
            .arg(&self.run)
            .args(["--memory", &MEMORY.to_string()])
            .args(["--shutdown-delay", SHUTDOWN_DELAY])
            .arg("--spawn")
            .args(flags);
        let mut process = Process::start(&self.node, &self.logs, command)?;
        process.answers(async || self.get("/readyz").await).await?;
        *self.process.lock().await = Some(process);
        Ok(())
    }

    /// Starts it if it does not run, for whatever reason.
    pub async fn ensure_running(&self) -> Result<()> {
        let running = match self.process.lock().await.as_mut() {
            Some(process) => process.running().is_ok(),
            None => false,
        };
        if running {
            self.report(true).await
        } else {
            self.start().await
        }
    }

    /// Kills all processes of the agent, as a node's kernel would; its Pod is not ready.
    pub async fn kill(&self) -> Result<()> {
        if let Some(mut process) = self.process.lock().await.take() {
            let children = process::children(process.pid())?;
            process.kill()?;
            for (pid, _) in children {
                // It may have followed its parent already.
                let _gone = process::kill(pid);
            }
        }
        Ok(())
    }

    /// Kills the agent and takes what the node had in memory: nothing of it is started again.
    pub async fn reboot(&self) -> Result<()> {
        self.kill().await?;
        Ok(std::fs::remove_dir_all(&self.run)?)
    }

    /// Stops the agent as the kubelet would: the Pod is no longer ready, then SIGTERM.
    pub async fn stop(&self) -> Result<ExitStatus> {
        self.report(false).await?;
        let process = self.process.lock().await.take();
        let mut process = process.with_context(|| format!("no agent on {}", self.node))?;
        process.terminate(STOP).await
    }

    /// The process of this agent that serves requests.
    pub async fn worker(&self) -> Result<u32> {
        let process = self.process.lock().await;
        let control = process
            .as_ref()
            .with_context(|| format!("no agent on {}", self.node))?
            .pid();
        let children = process::children(control)?;
        match children
            .iter()
            .find(|(_, command)| command.contains(" worker "))
        {
            Some((pid, _)) => Ok(*pid),
            None => bail!(
                "the agent of {} has no worker among {children:?}",
                self.node
            ),
        }
    }

    /// What the kubelet reports of the Pod.
    pub async fn report(&self, ready: bool) -> Result<()> {
        report(&self.client, &self.pod.name_any(), self.address, ready).await
    }

    /// The token it shows to the API server.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The token it shows at the hand-over.
    pub fn hand_over_token(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.token_file)?)
    }

    /// A page of its admin endpoint, such as `/metrics`.
    pub async fn get(&self, path: &str) -> Result<String> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answer = client
            .get(format!("http://{}{path}", self.admin()))
            .send()
            .await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// All it has logged.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(
            self.logs.join(format!("{}.log", self.node)),
        )?)
    }

    /// The last lines of its log.
    pub fn tail(&self) -> String {
        process::tail(&self.logs.join(format!("{}.log", self.node)))
    }

    /// Where it keeps what survives a restart.
    pub fn state(&self) -> &Path {
        &self.state
    }

    fn admin(&self) -> SocketAddr {
        SocketAddr::new(self.address, ADMIN_PORT)
    }
}

/// What the kubelet reports of an agent's Pod.
pub(crate) async fn report(client: &Client, pod: &str, address: IpAddr, ready: bool) -> Result<()> {
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    let status = if ready { "True" } else { "False" };
    let conditions: Vec<Value> = ["Initialized", "PodScheduled", "ContainersReady", "Ready"]
        .iter()
        .map(|kind| json!({ "type": kind, "status": if kind.ends_with("Ready") { status } else { "True" } }))
        .collect();
    let patch = json!({ "status": {
        "phase": "Running",
        "hostIP": address,
        "podIP": address,
        "podIPs": [{ "ip": address }],
        "conditions": conditions,
    }});
    pods.patch_status(pod, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

/// A Node with these labels besides the usual ones, as its kubelet would have it.
pub(crate) async fn make_node(
    client: &Client,
    name: &str,
    address: IpAddr,
    labels: &[(&str, &str)],
) -> Result<()> {
    let nodes = Api::<Node>::all(client.clone());
    let mut all = BTreeMap::from([
        ("kubernetes.io/hostname", name),
        ("topology.kubernetes.io/zone", "zone-a"),
    ]);
    all.extend(labels.iter().copied());
    let node = serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name, "labels": all },
    }))?;
    nodes.create(&PostParams::default(), &node).await?;
    // Admission taints a new node as not ready until its kubelet has reported.
    let parameters = PatchParams::default();
    let untainted = json!({ "spec": { "taints": null } });
    nodes
        .patch(name, &parameters, &Patch::Merge(untainted))
        .await?;
    let resources = json!({ "cpu": "2", "memory": "2Gi", "pods": "110" });
    let status = json!({ "status": {
        "addresses": [{ "type": "InternalIP", "address": address }],
        "capacity": resources,
        "allocatable": resources,
        "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "" }],
    }});
    nodes
        .patch_status(name, &parameters, &Patch::Merge(status))
        .await?;
    Ok(())
}

/// The agent's Pod on a node.
pub(crate) async fn make_pod(client: &Client, node: &str) -> Result<Pod> {
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    let pod = serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("lighterman-agent-{node}"),
            "labels": { "app.kubernetes.io/name": "lighterman-agent" },
        },
        "spec": {
            "nodeName": node,
            "serviceAccountName": SERVICE_ACCOUNT,
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{ "name": "control", "image": "lighterman-agent" }],
        },
    }))?;
    Ok(pods.create(&PostParams::default(), &pod).await?)
}
