//! Builds the processes of the agent and lists their tasks: every task is spawned here and in
//! `process`, except those that belong to one request, one preparation or one connection.
//!
//! | task | takes | gives |
//! |---|---|---|
//! | `observe::*` | watches of the API server | `desired` (watch), the trust book, blocked addresses (watch) |
//! | `PublicRoot::keep` | the hand-over | the trust book |
//! | `worker_link::accept` (2) | unix sockets | links (mpsc, 1) |
//! | `worker_link::accept_spawners` | a unix socket | connections (mpsc, 1) |
//! | `supervisor::keep` (3, `--spawn`) | – | – |
//! | `control::run` | `desired`, trust changes, worker links, questions (mpsc, 16) | messages, `statuses` (watch) |
//! | `CompileQueueTask::run` | orders (mpsc, 256), compiler links | machine code |
//! | `report::run` | `statuses` | status writes |
//! | `heartbeat::run`, `heartbeat::node` | – | Lease, WasmNode |
//! | `audit::log::Writer::run` | audit records | files |
//! | `audit::denials::run` | denials (mpsc, 1024) | reports to the operator |
//! | `tallies::run` | `desired` | questions; reports to the operator |
//! | `admin::run` | HTTP | questions |
//! | `worker::serve` | messages | messages, responses |
//! | `compiler::serve` | orders | machine code |

mod process;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crds::WasmNodeStatus;
use crds::wasm_node::{Capacity, PodReference, feature};
use runtime::{EngineClass, Output};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{ClusterConfig, Config, Program};
use crate::control::admin::{self, Admin};
use crate::control::audit::{Auditor, denials, log};
use crate::control::blocked::Blocked;
use crate::control::cache::{Cache, CacheError, Key, make_directory};
use crate::control::cluster::Cluster;
use crate::control::compile_queue::{self, CompileQueueTask};
use crate::control::fetch::HandOver;
use crate::control::prepare::Preparer;
use crate::control::public_root::{PublicRoot, Start, StartError};
use crate::control::report::{self, Statuses};
use crate::control::secrets::{self, SecretsError};
use crate::control::state::Store;
use crate::control::trust::TrustBook;
use crate::control::volumes::Volumes;
use crate::control::worker_link::{self, Peers};
use crate::control::{self, Inputs, heartbeat, observe, tallies};
use crate::desired::Desired;
use crate::message::{CompileOrder, Compiled, FromWorker, ToWorker, WorkerSize};
use crate::sandbox::SandboxError;
use crate::source::{Sink, Source};
use crate::supervisor::{self, Child};
use crate::transport::socket::TransportError;
use crate::transport::{self, Link};
use crate::{compiler, engine_class, worker};
pub use process::{Greeted, run_compiler, run_spawner, run_worker, wait_for_control};

/// Documents that survive a restart, in bytes: a thousand revisions of a few kilobytes.
const STATE_BYTES: u64 = 256 * 1024 * 1024;
/// Scrapes that may wait.
const QUESTIONS: usize = 16;
/// Links that may wait: there is one process of a kind.
const LINKS: usize = 1;
/// Components whose code the worker maps at once.
const MAPPED_COMPONENTS: u32 = 1_024;

/// Why a process of the agent could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file, socket or directory.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The state directory.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The place of secrets.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The file of `--tuf-root`.
    #[error(transparent)]
    TufRoot(#[from] StartError),
    /// The cluster cannot be found.
    #[error("the API server cannot be found: {0}")]
    Cluster(String),
    /// The worker cannot serve.
    #[error(transparent)]
    Worker(#[from] worker::WorkerError),
    /// The spawner cannot be confined.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Control cannot be understood.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// Runs control and worker in this process, as `lighterman run` does. `trust_changes` tells
/// when `source` judges by other policies than before. Ends when `stop` is cancelled and
/// everything has drained.
///
/// # Errors
/// When the state directory cannot be used or the runtime cannot be made.
pub async fn run_local(
    config: Config,
    desired: watch::Receiver<Desired>,
    source: Arc<dyn Source>,
    trust_changes: watch::Receiver<u64>,
    sink: Arc<dyn Sink>,
    output: Output,
    stop: CancellationToken,
) -> Result<(), Error> {
    // A developer's values come from files beside this one.
    let node = Node::open(&config, &config.state_dir.join("contents"))?;
    let blocked = Blocked::open(node.documents.clone()).await;
    let (to_worker, of_worker) = transport::pair();
    let (to_compiler, of_compiler) = transport::pair();
    let (worker_links, workers) = mpsc::channel(LINKS);
    let (compiler_links, compilers) = mpsc::channel(LINKS);
    // Both channels are empty and have room for one.
    let _ = worker_links.try_send(to_worker);
    let _ = compiler_links.try_send(to_compiler);

    let tasks = TaskTracker::new();
    let end = CancellationToken::new();
    let spawners = spawners(&config, &config.state_dir, Peers::Own)?;
    if let Some(spawner) = &config.spawner {
        let child = child(spawner.program.clone(), "spawner", &config.state_dir);
        tasks.spawn(supervisor::keep(child, end.clone()));
    }
    tasks.spawn(compiler::serve(of_compiler, config.compile_program.clone()));
    let worker = tokio::spawn(worker::serve(output, of_worker));
    let ended_early = worker.abort_handle();
    let control = node.run(
        &config,
        Sides {
            desired,
            trust_changes,
            blocked: blocked.all(),
            workers,
            compilers,
            spawners,
            source,
            sink,
        },
        &tasks,
        stop,
    );
    // A worker that cannot serve ends this process too: there is no other to wait for.
    let mut worker = std::pin::pin!(worker);
    let result = tokio::select! {
        result = control => result,
        ended = worker.as_mut() => return Ok(ended.map_err(lost)??),
    };
    end.cancel();
    drop((worker_links, compiler_links));
    let served = worker.await;
    ended_early.abort();
    tasks.close();
    tasks.wait().await;
    result?;
    Ok(served.map_err(lost)??)
}

/// Control of a node of a cluster. Ends after SIGTERM or SIGINT, when everything has drained.
///
/// # Errors
/// When the state directory cannot be used or a socket cannot be bound.
pub async fn run_cluster(
    config: Config,
    cluster: ClusterConfig,
    stop: CancellationToken,
) -> Result<(), Error> {
    let node = Node::open(&config, &secrets::contents(&cluster.run_dir))?;
    let blocked = Arc::new(Blocked::open(node.documents.clone()).await);
    let values = secrets::open(&cluster.run_dir, node.key.clone())?;
    let trust = Arc::new(TrustBook::open(node.documents.clone()).await);
    let (client, api_server) = client(&cluster).await?;

    let peers = |user: Option<u32>| match user {
        _ if cluster.spawn => Peers::Own,
        Some(user) => Peers::User(user),
        None => Peers::Pod,
    };
    let socket = worker_link::worker_socket(&cluster.run_dir);
    let workers = listen(&socket, peers(cluster.worker_user))?;
    let socket = worker_link::compiler_socket(&cluster.run_dir);
    let compilers = listen(&socket, peers(cluster.compiler_user))?;
    let spawners = spawners(&config, &cluster.run_dir, peers(cluster.spawner_user))?;
    let tasks = TaskTracker::new();
    // What ends only after everything has drained.
    let end = CancellationToken::new();
    let background = |task| spawn_until(&tasks, &end, task);

    if cluster.spawn {
        for name in ["worker", "compiler"] {
            let program = Program {
                path: config.compile_program.path.clone(),
                arguments: vec![name.into()],
            };
            let child = child(program, name, &cluster.run_dir);
            tasks.spawn(supervisor::keep(child, end.clone()));
        }
        if let Some(spawner) = &config.spawner {
            let child = child(spawner.program.clone(), "spawner", &cluster.run_dir);
            tasks.spawn(supervisor::keep(child, end.clone()));
        }
    }
    let (desired_sender, desired) = watch::channel(observe::kept(&node.documents).await);
    background(Box::pin(observe::placements(
        client.clone(),
        config.node_name.clone(),
        node.documents.clone(),
        values.clone(),
        desired_sender,
    )));
    background(Box::pin(observe::trust_policies(
        client.clone(),
        Arc::clone(&trust),
    )));
    background(Box::pin(observe::capability_policies(
        client.clone(),
        Arc::clone(&trust),
    )));
    background(Box::pin(observe::system_pods(
        client.clone(),
        cluster.namespace.clone(),
        Arc::clone(&blocked),
    )));
    background(Box::pin(observe::api_server(
        client.clone(),
        api_server,
        Arc::clone(&blocked),
    )));
    background(Box::pin(observe::namespaces(
        client.clone(),
        Arc::clone(&trust),
    )));
    background(Box::pin(observe::trusted_roots(
        client.clone(),
        cluster.namespace.clone(),
        Arc::clone(&trust),
    )));
    background(Box::pin(observe::operator_trust(
        client.clone(),
        cluster.namespace.clone(),
        Arc::clone(&trust),
    )));
    tasks.spawn(heartbeat::run(
        client.clone(),
        cluster.node_namespace.clone(),
        config.node_name.clone(),
        cluster.pod_uid.clone(),
        end.clone(),
    ));
    tasks.spawn(heartbeat::node(
        client.clone(),
        config.node_name.clone(),
        facts(&config, &cluster),
        end.clone(),
    ));

    let hand_over = Arc::new(HandOver::new(
        cluster.hand_over_url.clone(),
        cluster.token_file.clone(),
        Arc::clone(&trust),
        Arc::clone(&node.cache),
        node.documents.clone(),
        values,
    ));
    let public_root = PublicRoot::open(
        Arc::clone(&hand_over),
        Arc::clone(&trust),
        Start::of(cluster.tuf_root.as_deref())?,
        Arc::clone(&node.public_root_stale),
    );
    let public_root = Arc::new(public_root.await);
    background(Box::pin(Arc::clone(&public_root).keep()));
    let trust_changes = trust.changes();
    let cluster = Arc::new(Cluster::new(
        client,
        hand_over,
        public_root,
        trust,
        node.documents.clone(),
    ));
    let sides = Sides {
        desired,
        trust_changes,
        blocked: blocked.all(),
        workers,
        compilers,
        spawners,
        source: Arc::clone(&cluster) as Arc<dyn Source>,
        sink: cluster,
    };
    let result = node.run(&config, sides, &tasks, stop).await;
    end.cancel();
    tasks.close();
    tasks.wait().await;
    result
}

/// What is on this node's disk.
struct Node {
    key: Key,
    cache: Arc<Cache>,
    documents: Store,
    volumes: Arc<Volumes>,
    public_root_stale: Arc<AtomicBool>,
}

/// Everything that differs between a cluster and a developer's machine.
struct Sides {
    desired: watch::Receiver<Desired>,
    trust_changes: watch::Receiver<u64>,
    blocked: watch::Receiver<BTreeSet<IpAddr>>,
    workers: mpsc::Receiver<Link<ToWorker, FromWorker>>,
    compilers: mpsc::Receiver<Link<CompileOrder, Compiled>>,
    spawners: mpsc::Receiver<OwnedFd>,
    source: Arc<dyn Source>,
    sink: Arc<dyn Sink>,
}

impl Node {
    /// `contents` is where the files of ConfigMaps and Secrets are kept.
    fn open(config: &Config, contents: &Path) -> Result<Self, Error> {
        let directory = &config.state_dir;
        make_directory(directory).map_err(io("the state directory cannot be made", directory))?;
        let key = Key::of_node(directory)?;
        let cache = Cache::open(&directory.join("cache"), key.clone(), config.cache_bytes)?;
        let documents = Cache::open(&directory.join("documents"), key.clone(), STATE_BYTES)?;
        let volumes = Volumes::open(directory, contents, &config.host_paths).map_err(io(
            "volumes cannot be made in the state directory",
            directory,
        ))?;
        Ok(Self {
            key,
            cache: Arc::new(cache),
            documents: Store::new(documents),
            volumes: Arc::new(volumes),
            public_root_stale: Arc::default(),
        })
    }

    /// Runs the loop and what belongs to it, until everything has drained after `stop`.
    async fn run(
        &self,
        config: &Config,
        sides: Sides,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let Sides {
            desired,
            trust_changes,
            blocked,
            workers,
            compilers,
            spawners,
            source,
            sink,
        } = sides;
        let (compile, queue) = compile_queue::queue();
        let (statuses, reported) = watch::channel(Statuses::new());
        let (ask, questions) = mpsc::channel(QUESTIONS);
        let ready = Arc::new(AtomicBool::new(false));
        let end = CancellationToken::new();
        if let Some(address) = config.admin_listen {
            let listener = TcpListener::bind(address)
                .await
                .map_err(|source| Error::Io {
                    doing: format!("cannot listen on {address}"),
                    source,
                })?;
            let admin = Admin {
                questions: ask.clone(),
                ready: Arc::clone(&ready),
                cache: Arc::clone(&self.cache),
                public_root_stale: Arc::clone(&self.public_root_stale),
            };
            tasks.spawn(admin::run(listener, admin, end.clone()));
        }
        spawn_queue(tasks, queue, compilers, &end);
        let (denied, denials) = mpsc::channel(denials::WAITING);
        let (log, writer) = log::log(config.state_dir.join("audit"));
        tasks.spawn(denials::run(denials, Arc::clone(&sink), end.clone()));
        tasks.spawn(tallies::run(
            desired.clone(),
            ask,
            Arc::clone(&sink),
            end.clone(),
        ));
        tasks.spawn(writer.run(end.clone()));
        let reporter = tokio::spawn(report::run(reported, sink, end.clone()));
        let preparer = Preparer::new(
            config.node_name.clone(),
            config.p3,
            config
                .spawner
                .as_ref()
                .map(|spawner| spawner.spawns.executables.clone()),
            source,
            Arc::clone(&self.cache),
            Arc::clone(&self.volumes),
            compile,
        );
        control::run(Inputs {
            desired,
            trust_changes,
            blocked,
            workers,
            spawners,
            questions,
            preparer: Arc::new(preparer),
            documents: self.documents.clone(),
            volumes: Arc::clone(&self.volumes),
            auditor: Auditor::new(config.node_name.clone(), log, denied),
            refresh_every: config.refresh_every,
            back_off: config.back_off,
            statuses,
            ready,
            worker_size: WorkerSize {
                guest_memory: config.guest_memory,
                cores: config.cores,
                p3: config.p3,
            },
            network: config.network.clone(),
            listen_address: config.listen_address,
            shutdown_delay: config.shutdown_delay,
            stop,
        })
        .await;
        end.cancel();
        // The last reports are worth a moment, not a hang.
        let _ = tokio::time::timeout(report::LAST_WORDS, reporter).await;
        Ok(())
    }
}

fn spawn_queue(
    tasks: &TaskTracker,
    queue: CompileQueueTask,
    compilers: mpsc::Receiver<Link<CompileOrder, Compiled>>,
    end: &CancellationToken,
) {
    let end = end.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = queue.run(compilers) => {}
            () = end.cancelled() => {}
        }
    });
}

fn spawn_until(
    tasks: &TaskTracker,
    end: &CancellationToken,
    task: futures::future::BoxFuture<'static, ()>,
) {
    let end = end.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = task => {}
            () = end.cancelled() => {}
        }
    });
}

/// Binds a socket and accepts on it in a task that ends with the receiver.
fn listen<Out, In>(path: &Path, peers: Peers) -> Result<mpsc::Receiver<Link<Out, In>>, Error>
where
    Out: serde::Serialize + Send + Sync + 'static,
    In: serde::de::DeserializeOwned + Send + 'static,
{
    let listener =
        worker_link::bind(path, peers).map_err(io("cannot listen on the socket", path))?;
    let (links, receiver) = mpsc::channel(LINKS);
    tokio::spawn(worker_link::accept(listener, peers, links));
    Ok(receiver)
}

/// A client of the API server, and the server's address if it is asked by that.
async fn client(cluster: &ClusterConfig) -> Result<(kube::Client, Option<IpAddr>), Error> {
    let config = match &cluster.kubeconfig {
        Some(path) => {
            let file = kube::config::Kubeconfig::read_from(path)
                .map_err(|error| Error::Cluster(error.to_string()))?;
            kube::Config::from_custom_kubeconfig(file, &Default::default())
                .await
                .map_err(|error| Error::Cluster(error.to_string()))?
        }
        None => kube::Config::incluster().map_err(|error| Error::Cluster(error.to_string()))?,
    };
    let host = config.cluster_url.host();
    let address = host.and_then(|host| host.trim_matches(['[', ']']).parse().ok());
    let client = kube::Client::try_from(config);
    let client = client.map_err(|error| Error::Cluster(error.to_string()))?;
    Ok((client, address))
}

/// Where a spawner comes to, if there is to be one; else nobody ever does.
fn spawners(
    config: &Config,
    run_dir: &Path,
    peers: Peers,
) -> Result<mpsc::Receiver<OwnedFd>, Error> {
    let (connections, receiver) = mpsc::channel(LINKS);
    if config.spawner.is_some() {
        let path = worker_link::spawner_socket(run_dir);
        let listener =
            worker_link::bind(&path, peers).map_err(io("cannot listen on the socket", &path))?;
        tokio::spawn(worker_link::accept_spawners(listener, peers, connections));
    }
    Ok(receiver)
}

fn child(program: Program, name: &'static str, run_dir: &Path) -> Child {
    let Program {
        path,
        mut arguments,
    } = program;
    arguments.extend(["--supervised".into(), "--run-dir".into(), run_dir.into()]);
    Child {
        name,
        program: path,
        arguments,
    }
}

fn facts(config: &Config, cluster: &ClusterConfig) -> WasmNodeStatus {
    let sizes = runtime::Config::for_budget(config.guest_memory, config.cores);
    let always = [
        feature::HTTP,
        feature::RUN,
        feature::RUN_PORTS,
        feature::INVOKE,
        feature::CAPABILITIES,
    ];
    let mut features: Vec<String> = always.map(str::to_owned).into();
    if config.p3 {
        features.push(feature::P3.to_owned());
    }
    if config.spawner.is_some() {
        features.push(feature::PROCESS.to_owned());
    }
    WasmNodeStatus {
        agent_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        wasmtime_version: Some(runtime::WASMTIME_VERSION.to_owned()),
        engine_hash: Some(engine_class::hash(EngineClass::SMALL)),
        features,
        pod_ref: Some(PodReference {
            name: cluster.pod_name.clone(),
            uid: cluster.pod_uid.clone(),
        }),
        capacity: Some(Capacity {
            memory: capability::Bytes(config.guest_memory),
            instances: sizes.live_stores,
            components: MAPPED_COMPONENTS,
        }),
    }
}

fn io<'a>(doing: &'a str, path: &'a Path) -> impl Fn(std::io::Error) -> Error + 'a {
    move |source| Error::Io {
        doing: format!("{doing} ({})", path.display()),
        source,
    }
}

fn lost(error: tokio::task::JoinError) -> Error {
    Error::Io {
        doing: "the worker was lost".to_owned(),
        source: std::io::Error::other(error),
    }
}
