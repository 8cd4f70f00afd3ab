//! The command line of `lighterman-agent`, and the only place of this room that reads flags or
//! the environment.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use capability::GuestPath;
use clap::{Args, Parser, Subcommand};
use crds::names;
use ipnet::IpNet;

use crate::config::{ClusterConfig, Config, Program, REFRESH_EVERY, SpawnerConfig, guest_memory};
use crate::control::restart::BackOff;
use crate::network::{self, Network};
use crate::spawner::Spawns;
use crate::spawner::launch::Launch;

/// Runs WebAssembly components on a node.
#[derive(Debug, Parser)]
#[command(name = "lighterman-agent", version)]
pub struct Cli {
    /// Which process of the agent this is.
    #[command(subcommand)]
    pub process: Process,
}

/// The processes of the agent.
#[derive(Debug, Subcommand)]
pub enum Process {
    /// Observes, fetches, verifies, and owns secrets, cache and sockets.
    Control(Box<ControlArgs>),
    /// Runs components. No token, no files.
    Worker(ProcessArgs),
    /// Compiles components, each in a child of its own.
    Compiler(ProcessArgs),
    /// Starts executables of the platform for components. No token, no network.
    Spawner(SpawnerArgs),
    /// Gives directories of the node to the user that control runs as, and ends.
    Claim(ClaimArgs),
    /// Compiles one component from standard input to standard output.
    #[command(hide = true)]
    CompileOne,
    /// Becomes an executable of the platform, confined.
    #[command(hide = true)]
    Launch(LaunchArgs),
}

/// What control is told.
#[derive(Debug, Args)]
pub struct ControlArgs {
    /// A kubeconfig; without it, the service account of the pod.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// The token for the hand-over.
    #[arg(long)]
    pub token_file: PathBuf,
    /// The hand-over of the operator, https://host:port.
    #[arg(long)]
    pub hand_over_url: String,
    /// File with the root.json of a TUF repository, of a sigstore of the platform's own: its root
    /// counts where a trust policy names none, in place of the public-good instance's.
    #[arg(long, value_name = "FILE")]
    pub tuf_root: Option<PathBuf>,
    /// The namespace of the operator.
    #[arg(long, default_value = names::SYSTEM_NAMESPACE)]
    pub namespace: String,
    /// The namespace of the heartbeat Leases.
    #[arg(long, default_value = names::NODE_NAMESPACE)]
    pub node_namespace: String,
    /// The name of this node.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: String,
    /// The name of this pod.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: String,
    /// The uid of this pod.
    #[arg(long, env = "POD_UID")]
    pub pod_uid: String,
    /// Where the ports of components are bound.
    #[arg(long, default_value = "0.0.0.0")]
    pub listen_address: IpAddr,
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long)]
    pub admin_listen: Option<SocketAddr>,
    /// Cache, machine code and the last desired state.
    #[arg(long)]
    pub state_dir: PathBuf,
    /// Sockets and values; has to be memory-backed.
    #[arg(long)]
    pub run_dir: PathBuf,
    /// Memory of the whole agent in bytes; the budget of guests is derived from it.
    #[arg(long, default_value_t = 2 << 30)]
    pub memory: u64,
    /// Content and machine code on disk, in bytes.
    #[arg(long, default_value_t = 4 << 30)]
    pub cache_bytes: u64,
    /// Directory of this node below which components may be given some, if policies allow it;
    /// repeatable.
    #[arg(long = "host-path", value_name = "DIRECTORY")]
    pub host_paths: Vec<PathBuf>,
    /// Whether WASI 0.3 components run.
    #[arg(long)]
    pub p3: bool,
    /// Server that resolves the names that guests connect to, with its port; repeatable. Without
    /// it, those of /etc/resolv.conf.
    #[arg(long = "name-server", value_name = "ADDRESS:PORT")]
    pub name_servers: Vec<SocketAddr>,
    /// The DNS domain of the cluster: below it guests find services only.
    #[arg(long, default_value = network::CLUSTER_DOMAIN)]
    pub cluster_domain: String,
    /// Network of pods or services that is made of public addresses: only grants with `reach:
    /// Private` lead there; repeatable.
    #[arg(long = "private-network", value_name = "CIDR")]
    pub private_networks: Vec<IpNet>,
    /// File with certificates, in PEM, of authorities that guests' connections trust besides
    /// those of the public web.
    #[arg(long, value_name = "FILE")]
    pub guest_roots: Option<PathBuf>,
    /// Whether components may be granted datagram sockets.
    #[arg(long)]
    pub guest_udp: bool,
    /// Start and supervise worker and compiler as children.
    #[arg(long)]
    pub spawn: bool,
    /// User id of the worker's container; processes of others are sent away from its socket.
    #[arg(long, conflicts_with = "spawn")]
    pub worker_user: Option<u32>,
    /// User id of the compiler's container, likewise.
    #[arg(long, conflicts_with = "spawn")]
    pub compiler_user: Option<u32>,
    /// User id of the spawner's container, likewise.
    #[arg(long, conflicts_with = "spawn")]
    pub spawner_user: Option<u32>,
    /// What components may be let start.
    #[command(flatten)]
    pub spawns: SpawnArgs,
    /// How long a component that is stopped goes on accepting, in Go's notation of durations.
    #[arg(long, default_value = "10s")]
    pub shutdown_delay: capability::Span,
}

/// What worker, compiler and spawner are told.
#[derive(Debug, Args)]
pub struct ProcessArgs {
    /// Where control listens.
    #[arg(long)]
    pub run_dir: PathBuf,
    /// End when control is gone, because a supervisor starts this process again.
    #[arg(long, hide = true)]
    pub supervised: bool,
    /// As the first process of a container: run in a child, and start it again whenever it ends.
    #[arg(long, conflicts_with = "supervised")]
    pub keep_alive: bool,
}

/// What components may be let start.
#[derive(Clone, Debug, Args)]
pub struct SpawnArgs {
    /// Executable that components may be granted to start, by its exact path; repeatable. Without
    /// any, there is no spawner.
    #[arg(id = "spawner-executable", long, value_name = "PATH")]
    pub executables: Vec<GuestPath>,
    /// File or directory that these executables may read, such as their libraries; repeatable.
    #[arg(id = "spawner-file", long, value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// Memory of all executables that run at once, in bytes; each may have 256 MiB.
    #[arg(id = "spawner-memory", long, value_name = "BYTES", default_value_t = SPAWNER_MEMORY)]
    pub memory: u64,
}

/// Room for seven at once.
const SPAWNER_MEMORY: u64 = 2 << 30;

impl Default for SpawnArgs {
    fn default() -> Self {
        Self {
            executables: Vec::new(),
            files: Vec::new(),
            memory: SPAWNER_MEMORY,
        }
    }
}

/// What the spawner is told.
#[derive(Debug, Args)]
pub struct SpawnerArgs {
    /// Where control listens, and how this process is kept.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// What it starts.
    #[command(flatten)]
    pub spawns: SpawnArgs,
}

/// What is launched.
#[derive(Debug, Args)]
pub struct LaunchArgs {
    /// Process id of the spawner.
    #[arg(long)]
    pub parent: u32,
    /// File or directory that it may read; repeatable.
    #[arg(long = "file")]
    pub files: Vec<PathBuf>,
    /// Variable of the executable, name=value; repeatable.
    #[arg(long = "variable")]
    pub variables: Vec<String>,
    /// The executable.
    pub executable: PathBuf,
    /// Its arguments.
    #[arg(last = false, allow_hyphen_values = true, trailing_var_arg = true)]
    pub arguments: Vec<String>,
}

/// What is claimed, and for whom.
#[derive(Debug, Args)]
pub struct ClaimArgs {
    /// The user id.
    #[arg(long)]
    pub user: u32,
    /// The directories; what is in them is left as it is.
    #[arg(required = true)]
    pub directories: Vec<PathBuf>,
}

impl SpawnArgs {
    /// The same as arguments of a process.
    pub fn arguments(&self) -> Vec<OsString> {
        let executables = self.executables.iter();
        let executables = executables
            .flat_map(|path| ["--spawner-executable".into(), OsString::from(path.as_str())]);
        let files = self.files.iter();
        let files = files.flat_map(|path| ["--spawner-file".into(), path.clone().into()]);
        let memory = ["--spawner-memory".into(), self.memory.to_string().into()];
        executables.chain(files).chain(memory).collect()
    }

    /// What they mean.
    pub fn spawns(self) -> Spawns {
        Spawns {
            executables: self.executables,
            files: self.files,
            memory: self.memory,
        }
    }

    /// The spawner of a node, if there is any; `program` is this program as one.
    pub fn config(self, mut program: Program) -> Option<SpawnerConfig> {
        if self.executables.is_empty() {
            return None;
        }
        program.arguments.extend(self.arguments());
        Some(SpawnerConfig {
            program,
            spawns: self.spawns(),
        })
    }
}

impl LaunchArgs {
    /// What they mean.
    pub fn launch(self) -> Launch {
        let variables = self.variables.into_iter();
        Launch {
            parent: self.parent,
            files: self.files,
            variables: variables
                .filter_map(|variable| {
                    let (name, value) = variable.split_once('=')?;
                    Some((name.to_owned(), value.to_owned()))
                })
                .collect(),
            executable: self.executable,
            arguments: self.arguments,
        }
    }
}

impl ControlArgs {
    /// The configuration that these flags mean.
    ///
    /// # Errors
    /// When the path of this program cannot be found, which it starts its children with, or the
    /// certificates cannot be read.
    pub fn config(self) -> std::io::Result<(Config, ClusterConfig)> {
        let Self {
            kubeconfig,
            token_file,
            hand_over_url,
            tuf_root,
            namespace,
            node_namespace,
            node_name,
            pod_name,
            pod_uid,
            listen_address,
            admin_listen,
            state_dir,
            run_dir,
            memory,
            cache_bytes,
            host_paths,
            p3,
            name_servers,
            cluster_domain,
            private_networks,
            guest_roots,
            guest_udp,
            spawn,
            worker_user,
            compiler_user,
            spawner_user,
            spawns,
            shutdown_delay,
        } = self;
        let network = Network {
            name_servers: match name_servers.is_empty() {
                true => network::machine_name_servers(),
                false => name_servers,
            },
            cluster_domain: Some(cluster_domain),
            private_networks,
            roots: guest_roots.map_or(Ok(Vec::new()), |file| network::bundle(&file))?,
            udp: guest_udp,
        };
        let config = Config {
            node_name,
            listen_address,
            state_dir,
            guest_memory: guest_memory(memory),
            cores: cores(),
            p3,
            network,
            cache_bytes,
            host_paths,
            refresh_every: REFRESH_EVERY,
            shutdown_delay: shutdown_delay.0,
            back_off: BackOff::default(),
            admin_listen,
            compile_program: compile_program()?,
            spawner: spawns.config(Program {
                path: std::env::current_exe()?,
                arguments: vec!["spawner".into()],
            }),
        };
        let cluster = ClusterConfig {
            kubeconfig,
            token_file,
            hand_over_url,
            tuf_root,
            namespace,
            node_namespace,
            pod_name,
            pod_uid,
            run_dir,
            spawn,
            worker_user,
            compiler_user,
            spawner_user,
        };
        Ok((config, cluster))
    }
}

/// This program, compiling one component.
///
/// # Errors
/// When the system does not say where this program is.
pub fn compile_program() -> std::io::Result<Program> {
    Ok(Program {
        path: std::env::current_exe()?,
        arguments: vec!["compile-one".into()],
    })
}

/// This program, launching one executable.
///
/// # Errors
/// When the system does not say where this program is.
pub fn launch_program() -> std::io::Result<Program> {
    Ok(Program {
        path: std::env::current_exe()?,
        arguments: vec!["launch".into()],
    })
}

/// Threads that run guests: as many as this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
