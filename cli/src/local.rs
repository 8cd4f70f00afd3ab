//! A cluster in one process: the operator's steps and the node's agent, with files for an API server.
//!
//! observe -> admit -> plan -> apply -> report, over and over. The same code judges and
//! runs as in a cluster; nothing here decides what may run. Called by `run`,
//! `quickstart` and `demo`, which are told what happens as `Event`s.

mod admit;
mod alone;
mod cluster;
mod observe;
mod plan;
mod port;
mod recording;
mod report;
mod shelf;
mod values;
mod workshop;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use node_agent::args::SpawnArgs;
use node_agent::config::{Config, Program};
use node_agent::control::restart::BackOff;
use node_agent::network::Network;
use node_agent::{Desired, run_local};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::args::{Access, Local};
use crate::failure::Failure;
use cluster::Cluster;
use recording::Recording;
use shelf::{Shelf, Statuses};

pub(crate) use alone::verified;
pub(crate) use report::Event;

/// What to run and how.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The YAML.
    pub(crate) files: Vec<PathBuf>,
    /// Local builds in place of images.
    pub(crate) builds: Vec<Local>,
    /// Their manifests.
    pub(crate) manifests: Vec<Local>,
    /// The first port to try.
    pub(crate) port: u16,
    /// How often files and tags are looked at.
    pub(crate) poll: Duration,
    /// Whether WASI 0.3 is on.
    pub(crate) p3: bool,
    /// How registries are reached.
    pub(crate) access: Access,
    /// Where the agent keeps what it compiled, and scratch volumes.
    pub(crate) state: PathBuf,
    /// Directories of this machine that volumes may be in.
    pub(crate) host_paths: Vec<PathBuf>,
    /// Executables of this machine that components may start.
    pub(crate) spawns: SpawnArgs,
    /// Where every use and denial is recorded.
    pub(crate) observe: Option<PathBuf>,
}

/// Who is told what happens.
pub(crate) type Report = Arc<dyn Fn(Event) + Send + Sync>;

/// The namespace of a document that names none, as with `kubectl apply`.
const DEFAULT_NAMESPACE: &str = "default";
/// What all guests may hold together. A developer's machine has other work to do.
const GUEST_MEMORY: u64 = 1 << 30;
/// Content and machine code on disk before the least recently used goes.
const CACHE_BYTES: u64 = 1 << 30;
/// Where the agent writes audit records, below its state directory.
const AUDIT_LOG: &str = "audit/audit.jsonl";
/// Statuses on their way to the loop; the agent waits when they are not taken.
const STATUSES: usize = 64;

/// Runs until `stop`; drains; returns.
///
/// The first look must succeed as a whole, so that a mistake ends the command with
/// its reason. Later ones report what they refuse, and what runs goes on.
pub(crate) async fn run(
    settings: Settings,
    report: Report,
    stop: CancellationToken,
) -> Result<(), Failure> {
    log();
    let shelf = Arc::new(Shelf::default());
    let (desired, wanted) = watch::channel(Desired::default());
    let (sender, mut statuses) = mpsc::channel(STATUSES);
    let (config, poll) = (agent(&settings)?, settings.poll);
    let log = settings.state.join(AUDIT_LOG);
    let mut recording = settings
        .observe
        .as_deref()
        .map(|copy| Recording::start(log, copy))
        .transpose()?;
    let sink = Statuses {
        statuses: sender,
        report: Arc::clone(&report),
    };
    let mut cluster = Cluster::new(settings, Arc::clone(&shelf), desired, report).await?;
    cluster.start().await?;

    // Its own token: the loop ends first, then the agent drains.
    let drain = CancellationToken::new();
    let output = runtime::Output::to_writer(std::io::stderr())
        .map_err(|error| Failure::unavailable(error, ""))?;
    // What it is given was judged by `cluster`, which looks again at every change.
    let (_unchanging, trust_changes) = watch::channel(0);
    let agent = run_local(
        config,
        wanted,
        shelf,
        trust_changes,
        Arc::new(sink),
        output,
        drain.clone(),
    );
    let mut agent = tokio::spawn(agent);
    let mut timer = tokio::time::interval(poll);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let outcome = loop {
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            ended = &mut agent => return finished(ended),
            Some((placement, status)) = statuses.recv() => {
                if let Err(failure) = cluster.hear(&placement, &status) {
                    break Err(failure);
                }
            }
            _ = timer.tick() => {
                cluster.look_again().await;
                if let Some(Err(failure)) = recording.as_mut().map(Recording::catch_up) {
                    break Err(failure);
                }
            }
        }
    };
    drain.cancel();
    let drained = loop {
        tokio::select! {
            ended = &mut agent => break finished(ended),
            // The last statuses of what is being drained: there is nobody left to tell.
            Some(_) = statuses.recv() => {}
        }
    };
    let recorded = recording.as_mut().map_or(Ok(()), Recording::catch_up);
    outcome.and(drained).and(recorded)
}

/// What the agent logs, on standard error; `RUST_LOG` asks for more.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    // Fails only when there is a log already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

/// This very program with another command: what compiles, and what starts executables.
pub(crate) fn again(command: &str) -> Result<Program, Failure> {
    let path = std::env::current_exe().map_err(|error| {
        Failure::unavailable(
            format!("cannot find this program again to start it as {command}: {error}"),
            "",
        )
    })?;
    Ok(Program {
        path,
        arguments: vec![OsString::from(command)],
    })
}

/// The agent of this machine.
fn agent(settings: &Settings) -> Result<Config, Failure> {
    Ok(Config {
        node_name: plan::NODE.to_owned(),
        listen_address: Ipv4Addr::LOCALHOST.into(),
        state_dir: settings.state.clone(),
        guest_memory: GUEST_MEMORY,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        p3: settings.p3,
        network: Network::of_this_machine(),
        cache_bytes: CACHE_BYTES,
        // No proxy here has to notice first that an endpoint is gone.
        shutdown_delay: Duration::ZERO,
        back_off: BackOff::default(),
        admin_listen: None,
        host_paths: settings.host_paths.clone(),
        refresh_every: settings.poll,
        spawner: settings.spawns.clone().config(again("spawner")?),
        compile_program: again("compiler")?,
    })
}

fn finished(
    ended: Result<Result<(), node_agent::Error>, tokio::task::JoinError>,
) -> Result<(), Failure> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::unavailable(error, "")),
        Err(error) => Err(Failure::unavailable(
            format!("the agent ended: {error}"),
            "",
        )),
    }
}
