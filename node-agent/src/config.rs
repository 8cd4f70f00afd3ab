//! Everything the agent can be told, parsed. Only `args.rs` and the embedder of
//! [`crate::run_local`] make one; nothing below reads flags or the environment.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::control::restart::BackOff;
use crate::network::Network;
use crate::spawner::Spawns;

/// What every agent needs, in a cluster and on a developer's machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of this node, which its components see in nothing but their log lines.
    pub node_name: String,
    /// Where the ports of components are bound.
    pub listen_address: IpAddr,
    /// Content cache, machine code and the last desired state. Survives restarts.
    pub state_dir: PathBuf,
    /// Memory that all guests of this node may hold together, in bytes.
    pub guest_memory: u64,
    /// Threads that run guests.
    pub cores: usize,
    /// Whether WASI 0.3 components run, on an engine of their own.
    pub p3: bool,
    /// How guests reach out.
    pub network: Network,
    /// Bytes of content and machine code on disk before the least recently used goes.
    pub cache_bytes: u64,
    /// Directories of the node below which components may be given some, if policies allow it.
    pub host_paths: Vec<PathBuf>,
    /// How often values, files and credentials of a running component are asked for again:
    /// what has changed reaches its next instances within this time.
    pub refresh_every: Duration,
    /// How long a component that is stopped goes on accepting, so that proxies notice.
    pub shutdown_delay: Duration,
    /// The pauses before a component that runs by itself is started again.
    pub back_off: BackOff,
    /// Where `/metrics`, `/healthz` and `/readyz` are served, if anywhere.
    pub admin_listen: Option<SocketAddr>,
    /// The program that compiles one component and ends.
    pub compile_program: Program,
    /// What components may be let start. None: nothing.
    pub spawner: Option<SpawnerConfig>,
}

/// The spawner of a node.
#[derive(Clone, Debug)]
pub struct SpawnerConfig {
    /// The program that is it, without what the rest here says.
    pub program: Program,
    /// What it starts.
    pub spawns: Spawns,
}

/// A program and its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// What an agent of a cluster needs besides.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// A kubeconfig; absent: the service account of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// The token for the hand-over, bound to its audience and to this pod. Read again for
    /// every connection, because kubelet renews it.
    pub token_file: PathBuf,
    /// The base of the hand-over, `https://host:port`.
    pub hand_over_url: String,
    /// The `root.json` of the TUF repository whose root counts where a trust policy names none;
    /// absent: that of sigstore's public-good instance.
    pub tuf_root: Option<PathBuf>,
    /// The namespace of the operator and its trust ConfigMap.
    pub namespace: String,
    /// The namespace of the heartbeat Leases.
    pub node_namespace: String,
    /// The pod of this agent.
    pub pod_name: String,
    /// Its uid.
    pub pod_uid: String,
    /// Memory-backed directory of sockets and values.
    pub run_dir: PathBuf,
    /// Whether this process starts and supervises its worker and compiler.
    pub spawn: bool,
    /// Who may come to the worker's socket; absent: whoever sees it.
    pub worker_user: Option<u32>,
    /// Who may come to the compiler's socket; absent: whoever sees it.
    pub compiler_user: Option<u32>,
    /// Who may come to the spawner's socket; absent: whoever sees it.
    pub spawner_user: Option<u32>,
}

/// [`Config::refresh_every`] of a cluster: with one slow answer still below a minute.
pub const REFRESH_EVERY: Duration = Duration::from_secs(45);
/// The part of a node's memory that is not for guests: the agent itself, connections, the
/// code that is mapped, and the compiler. From the table of pod sizes (2 GiB gives 800 MiB).
const GUEST_SHARE_PERCENT: u64 = 40;

/// What guests may hold when the whole agent may hold `memory` bytes.
pub fn guest_memory(memory: u64) -> u64 {
    memory / 100 * GUEST_SHARE_PERCENT
}
