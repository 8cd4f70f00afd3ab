//! What all tests of a run share: one control plane, one registry, one operator
//! and three agents, started by the first test. Tests run side by side, each as a
//! tenant of its own; one that stops a shared part runs alone.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, RwLock};

use crate::agent::Agent;
use crate::cluster::Cluster;
use crate::hand_over::Forwarder;
use crate::helm::Helm;
use crate::namespace::{self, AGENTS};
use crate::operator::Operator;
use crate::registry::Registry;
use crate::signing::Signer;
use crate::tenant::Tenant;

/// Operator and agents of this checkout run as processes, so the chart starts none:
/// no replica, and no node that the DaemonSet matches. All else is as installed.
const NO_PODS: [&str; 4] = [
    "--set",
    "operator.replicas=0",
    "--set",
    "agent.nodeSelector.processes=instead",
];

/// All that runs.
pub struct Suite {
    /// etcd, API server, controller manager.
    pub cluster: Cluster,
    /// The real registry.
    pub registry: Registry,
    /// Runs from the start.
    pub operator: Operator,
    /// Runs only while a test wants a second operator.
    pub standby: Operator,
    /// The address of the hand-over, whichever operator answers.
    pub hand_over: Forwarder,
    /// `node-1` to `node-3`.
    pub agents: Vec<Agent>,
    /// The key of components that are to run.
    pub signer: Signer,
    /// State and logs of this run.
    pub folder: PathBuf,
    /// Held to read by tests that share the parts, to write by one that stops some.
    turns: RwLock<()>,
    /// Held so that no other run uses the folder.
    _lock: File,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static SUITE: OnceCell<Result<Suite, String>> = OnceCell::const_new();

/// Runs a test as a tenant of its own, beside other tests. `name` becomes its namespace.
pub fn shared(name: &str, test: impl AsyncFnOnce(&Tenant) -> Result<()>) -> Result<()> {
    runtime()?.block_on(async {
        let suite = suite().await?;
        let _turn = suite.turns.read().await;
        Tenant::run(suite, name, test).await
    })
}

/// Runs a test while no other runs: it may stop shared parts, and must start them again.
pub fn alone(name: &str, test: impl AsyncFnOnce(&Tenant) -> Result<()>) -> Result<()> {
    runtime()?.block_on(async {
        let suite = suite().await?;
        let _turn = suite.turns.write().await;
        let outcome = Tenant::run(suite, name, test).await;
        suite
            .mend()
            .await
            .context("bringing back what the test stopped")?;
        outcome
    })
}

/// The runtime of all tests: the clients they share belong to it.
fn runtime() -> Result<&'static Runtime> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = Runtime::new()?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

/// The suite, or why it could not start, which is then the failure of every test.
async fn suite() -> Result<&'static Suite> {
    let started =
        SUITE.get_or_init(async || Suite::start().await.map_err(|error| format!("{error:#}")));
    started
        .await
        .as_ref()
        .map_err(|error| anyhow!("the cluster could not start: {error}"))
}

impl Suite {
    /// The agent of `node-NUMBER`.
    pub fn agent(&self, number: usize) -> Result<&Agent> {
        self.agents
            .get(number.saturating_sub(1))
            .with_context(|| format!("there is no node-{number}"))
    }

    /// The last words of all that runs, for a test that failed.
    pub fn tails(&self) -> String {
        let agents: String = self.agents.iter().map(Agent::tail).collect();
        format!("{}{agents}", self.operator.tail())
    }

    /// Everything that operator and agents have logged.
    pub fn logs(&self) -> Result<String> {
        let mut all = self.operator.log()?;
        for agent in &self.agents {
            all.push_str(&agent.log()?);
        }
        Ok(all)
    }

    async fn start() -> Result<Suite> {
        namespace::require()?;
        // Without one, a workspace with two providers panics at the first handshake.
        let _already = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (folder, lock) = run_folder()?;
        let logs = folder.join("logs");
        let cluster = Cluster::start(&folder, &logs).await?;
        let helm = Helm::new(&cluster)?;
        helm.install("lighterman-crds", &[]).await?;
        helm.install("lighterman", &NO_PODS).await?;
        let registry = Registry::prepare("registry", &folder, &logs)?;
        registry.start().await?;
        let operator = Operator::prepare("operator-a", &cluster, &folder, &logs).await?;
        let standby = Operator::prepare("operator-b", &cluster, &folder, &logs).await?;
        operator.start().await?;
        let hand_over = Forwarder::start(vec![operator.hand_over, standby.hand_over]).await?;
        let mut agents = Vec::new();
        for number in 1..=AGENTS {
            agents.push(Agent::prepare(number, &cluster, &hand_over, &folder, &logs).await?);
        }
        futures::future::try_join_all(agents.iter().map(Agent::start)).await?;
        let signer = Signer::generate()?;
        let turns = RwLock::new(());
        Ok(Suite {
            cluster,
            registry,
            operator,
            standby,
            hand_over,
            agents,
            signer,
            folder,
            turns,
            _lock: lock,
        })
    }

    /// Starts again whatever a test that ran alone has left stopped.
    async fn mend(&self) -> Result<()> {
        self.cluster.ensure_running().await?;
        self.registry.ensure_running().await?;
        self.standby.kill().await?;
        self.operator.ensure_running().await?;
        for agent in &self.agents {
            agent.ensure_running().await?;
        }
        Ok(())
    }
}

/// The root of the checkout.
pub fn repository() -> Result<PathBuf> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(tests
        .parent()
        .context("the tests are at the root of the file system")?
        .to_owned())
}

/// An empty folder of this run beside the binaries: `target/e2e`. The last run's stays until now.
fn run_folder() -> Result<(PathBuf, File)> {
    let test = std::env::current_exe()?;
    // Tests are in `target/PROFILE/deps`, the bench is in `target/PROFILE`.
    let is_test = test.parent().is_some_and(|folder| folder.ends_with("deps"));
    let target = test
        .ancestors()
        .nth(if is_test { 3 } else { 2 })
        .context("the test is not in a target folder")?;
    let lock = File::create(target.join("e2e.lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!(
            "another run of the cluster tests is under way in {}",
            target.display()
        ),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    let folder = target.join("e2e");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok((folder, lock))
}
