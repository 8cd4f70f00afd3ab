//! The operator as a process under its own service account, whose rights are
//! those the chart gives it. Called by the suite, and by tests that stop it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::Mutex;

use crate::cluster::Cluster;
use crate::namespace::free_port;
use crate::process::Process;
use crate::tools;

/// The namespace of operator and agents.
pub const NAMESPACE: &str = "lighterman-system";
/// The namespace of the heartbeat Leases.
pub const NODE_NAMESPACE: &str = "lighterman-nodes";
/// The operator's service account in [`NAMESPACE`].
pub const SERVICE_ACCOUNT: &str = "lighterman-operator";

/// It lets go of its Lease, and ends its requests.
const STOP: Duration = Duration::from_secs(20);

/// One replica of the operator; running or not.
pub struct Operator {
    /// Its `--identity`: what the Lease names when it leads.
    pub identity: String,
    /// Where its hand-over listens.
    pub hand_over: SocketAddr,
    admin: SocketAddr,
    folder: PathBuf,
    logs: PathBuf,
    kubeconfig: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Operator {
    /// Prepares a replica; [`Operator::start`] starts it.
    pub async fn prepare(
        identity: &str,
        cluster: &Cluster,
        folder: &Path,
        logs: &Path,
    ) -> Result<Operator> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let token = cluster
            .token(NAMESPACE, SERVICE_ACCOUNT, None, None)
            .await?;
        Ok(Operator {
            identity: identity.to_owned(),
            hand_over: SocketAddr::new(loopback, free_port(loopback)?),
            admin: SocketAddr::new(loopback, free_port(loopback)?),
            folder: folder.join(identity),
            logs: logs.to_owned(),
            kubeconfig: cluster.kubeconfig_for(identity, &token)?,
            process: Mutex::new(None),
        })
    }

    /// Starts it and waits until it answers `/healthz`.
    pub async fn start(&self) -> Result<()> {
        self.start_with(&[]).await
    }

    /// The same with more flags.
    pub async fn start_with(&self, flags: &[&str]) -> Result<()> {
        let state = self.folder.join("state");
        std::fs::create_dir_all(&state)?;
        let mut command = Command::new(tools::ours("lighterman-operator", "operator")?);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--namespace", NAMESPACE, "--node-namespace", NODE_NAMESPACE])
            .args(["--identity", &self.identity])
            .args(["--hand-over-listen", &self.hand_over.to_string()])
            .args(["--hand-over-name", "127.0.0.1"])
            .args(["--admin-listen", &self.admin.to_string()])
            .args(["--port-range", "20000-29999"])
            .args(["--registry-private", "127.0.0.0/8"])
            .args([
                "--agent-service-account",
                "lighterman-system/lighterman-agent",
            ])
            .arg("--state-dir")
            .arg(&state)
            .args(flags);
        let mut process = Process::start(&self.identity, &self.logs, command)?;
        process.answers(async || self.get("/healthz").await).await?;
        *self.process.lock().await = Some(process);
        Ok(())
    }

    /// Takes its content cache away, while it does not run.
    pub fn forget(&self) -> Result<()> {
        Ok(std::fs::remove_dir_all(self.folder.join("state"))?)
    }

    /// Starts it if it does not run, for whatever reason.
    pub async fn ensure_running(&self) -> Result<()> {
        if self.running().await.is_ok() {
            Ok(())
        } else {
            self.start().await
        }
    }

    /// Kills it, as a crash would: its Lease stays behind.
    pub async fn kill(&self) -> Result<()> {
        match self.process.lock().await.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Stops it as a Deployment would.
    pub async fn stop(&self) -> Result<ExitStatus> {
        let mut process = self
            .process
            .lock()
            .await
            .take()
            .with_context(|| format!("{} does not run", self.identity))?;
        process.terminate(STOP).await
    }

    /// `Ok` while it runs.
    pub async fn running(&self) -> Result<()> {
        match self.process.lock().await.as_mut() {
            Some(process) => process.running(),
            None => anyhow::bail!("{} does not run", self.identity),
        }
    }

    /// The most memory it has had resident so far, in MiB (proc_pid_status(5)).
    pub async fn memory(&self) -> Result<f64> {
        let pid = match self.process.lock().await.as_ref() {
            Some(process) => process.pid(),
            None => anyhow::bail!("{} does not run", self.identity),
        };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: f64 = high
            .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok())
            .context("no VmHWM in /proc/PID/status")?;
        Ok(kib / 1024.0)
    }

    /// A page of its admin endpoint, such as `/metrics`.
    pub async fn get(&self, path: &str) -> Result<String> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answer = client
            .get(format!("http://{}{path}", self.admin))
            .send()
            .await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// What `/readyz` says, with its status.
    pub async fn readiness(&self) -> Result<(u16, String)> {
        crate::tenant::fetch(&format!("http://{}/readyz", self.admin)).await
    }

    /// All it has logged.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(
            self.logs.join(format!("{}.log", self.identity)),
        )?)
    }

    /// The last lines of its log.
    pub fn tail(&self) -> String {
        crate::process::tail(&self.logs.join(format!("{}.log", self.identity)))
    }
}
