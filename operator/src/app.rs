//! The operator put together: every long-lived task, its inputs and its outputs.
//!
//! | task | from | to |
//! |---|---|---|
//! | watches (`caches`) | API server | mirrors; queue, node and policy signals |
//! | `leader::run` | Lease | gate |
//! | `node::run` | mirrors, node signal | node facts |
//! | `guard::run` | mirrors, node facts, guard signal | API server, through the gate |
//! | `keys::Custody::keep` | Secrets of the CAs | API server, through the gate; the hand-over's certificate |
//! | `component::run` | queue, mirrors, node facts, resolver | API server, through the gate |
//! | `public_root::Keeper::run` | TUF repository, mirrors | trust book, relay, queue |
//! | `trust_policy::run` | mirrors, policy signal, roots by name | trust book; API server, through the gate |
//! | `capability_policy::run` | mirrors, policy signal, what the driver noted | API server, through the gate |
//! | `denials::Denials::tell` | what agents tell the hand-over | Events |
//! | resolver jobs | registries, Secrets by name | resolver's memory, content cache, queue |
//! | `handover::server::serve` | agents | bytes, revisions, values; what agents tell: denials, tallies |
//! | `admin::serve` | scrapers, probes | numbers |

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, ResourceExt};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::account;
use crate::admin::{self, Admin};
use crate::args::Args;
use crate::caches::{Caches, Places, Signals};
use crate::capability_policy::{self, Objections};
use crate::component::{self, Context};
use crate::content::{ContentError, ContentStore};
use crate::denials::Denials;
use crate::guard;
use crate::handover::authority::Authority;
use crate::handover::identity::Reviewer;
use crate::handover::rotation::Rotation;
use crate::handover::server::{self, HandOver};
use crate::handover::tls::{LEAF_LIFE, Leaf, TlsError};
use crate::inspector::Inspector;
use crate::keys::{self, Custody, KeysError};
use crate::leader::{self, Gate};
use crate::metrics::Metrics;
use crate::network_policy::Home;
use crate::node::{self, Nodes};
use crate::ports::Ports;
use crate::prerequisites::{self, Missing};
use crate::public_root::{self, Keeper, PublicRootError, Relay};
use crate::queue::Queue;
use crate::reader::Reader;
use crate::registries::{self, RegistriesError};
use crate::resolver::{Keyring, Resolver};
use crate::tallies::Tallies;
use crate::trust::TrustBook;
use crate::trust_policy;
use crate::writer::Writer;

/// Pause between two attempts to reach the API server at the start.
const RETRY: Duration = Duration::from_secs(2);
/// Connection timeout of the Kubernetes client.
const CONNECT: Duration = Duration::from_secs(5);
/// How long tasks may take to end.
const FAREWELL: Duration = Duration::from_secs(10);
/// Stands for the cluster: it is never deleted, and its uid never changes.
const CLUSTER_NAMESPACE: &str = "kube-system";

/// Why the operator does not start. What may mend itself is waited for instead.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kubeconfig cannot be used.
    #[error("the kubeconfig cannot be used; check --kubeconfig")]
    Kubeconfig(#[from] KubeconfigError),
    /// There is no kubeconfig and no service account.
    #[error("no --kubeconfig was given, and this is no Pod with a service account")]
    InCluster(#[source] kube::config::InClusterError),
    /// The Kubernetes client cannot be built.
    #[error("the Kubernetes client cannot be built")]
    Client(#[source] kube::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}; is another process there?")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The settings for registries cannot be used.
    #[error(transparent)]
    Registries(#[from] RegistriesError),
    /// The flags for the public root cannot be used.
    #[error(transparent)]
    PublicRoot(#[from] PublicRootError),
    /// The system does not say where this program is, which it starts children of.
    #[error("this program cannot find itself to start a child")]
    Program(#[source] std::io::Error),
    /// The content cache cannot be used.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The operator's keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The hand-over's certificate cannot be made.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The metrics contradict each other.
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// Runs the operator until `shutdown`.
///
/// # Errors
/// `StartError`; once it has started, it ends on shutdown only.
pub async fn run(args: Args, shutdown: CancellationToken) -> Result<(), StartError> {
    // Without `..`: a flag that nobody uses must not compile.
    let Args {
        kubeconfig,
        namespace,
        node_namespace,
        hand_over_listen,
        hand_over_names,
        admin_listen,
        state_dir,
        port_range,
        identity,
        registries,
        tuf,
        agent_service_account,
        guard_image,
        ca_rotation,
        ca_overlap,
    } = args;

    let client = client(kubeconfig).await?;
    let hand_over_listener = listen(hand_over_listen).await?;
    let admin_listener = listen(admin_listen).await?;
    let content = ContentStore::open(&state_dir).await?;
    let public_root = Keeper::open(tuf, &registries.registry_ca, &state_dir).await?;
    let (registry, providers) = registries::open(registries).await?;

    let metrics = Metrics::new()?;
    let (gate, reader) = (Gate::closed(), Reader::new(client.clone()));
    let writer = Writer::new(client.clone(), gate.clone());
    let (caches, queue) = (Caches::default(), Arc::new(Queue::default()));
    let signals = Signals {
        queue: Arc::clone(&queue),
        nodes: Arc::new(Notify::new()),
        guards: Arc::new(Notify::new()),
        policies: Arc::new(Notify::new()),
        capability_policies: Arc::new(Notify::new()),
    };
    let resolver = Resolver::new(
        registry,
        Keyring::new(reader.clone(), providers),
        content.clone(),
        Arc::clone(&queue),
        metrics.clone(),
        Inspector::of_this_program().map_err(StartError::Program)?,
    );
    let (trust, relay) = (TrustBook::default(), Relay::default());
    let (serving, is_serving) = watch::channel(false);
    let (prerequisites, are_met) = watch::channel(Err(Missing::Unknown));

    // Tasks end in this order: first those that write, then the Lease, so that a
    // successor never meets a write of ours.
    let election = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let mut elections = JoinSet::new();
    let admin = Admin {
        prerequisites: are_met,
        caches: caches.clone(),
        gate: gate.clone(),
        metrics: metrics.clone(),
        serving: is_serving,
    };
    tasks.spawn(admin::serve(admin_listener, admin, shutdown.clone()));
    let places = Places {
        system: namespace.clone(),
        nodes: node_namespace,
    };
    caches.start(&client, &places, &signals, &metrics, &shutdown, &mut tasks);
    elections.spawn(leader::run(
        client.clone(),
        namespace.clone(),
        identity.clone(),
        gate.clone(),
        election.clone(),
    ));
    // `None` until the nodes were listed: whoever plans without them would take
    // every endpoint for gone.
    let (nodes, node_facts) = watch::channel(None::<Nodes>);
    tasks.spawn(node::run(
        caches.clone(),
        Arc::clone(&signals.nodes),
        nodes,
        shutdown.clone(),
    ));
    let guard_image = guard_image.map(|name| guard::Image {
        name,
        namespace: namespace.clone(),
        owner: None,
        operator: hand_over_names.first().cloned(),
    });
    tasks.spawn(guard::run(
        guard_image,
        reader.clone(),
        caches.clone(),
        writer.clone(),
        node_facts.clone(),
        Arc::clone(&signals.guards),
        shutdown.clone(),
    ));
    let public = public_root::Context {
        caches: caches.clone(),
        book: trust.clone(),
        queue: Arc::clone(&queue),
        relay: relay.clone(),
        metrics: metrics.clone(),
    };
    tasks.spawn(public_root.run(public, shutdown.clone()));
    let policies = trust_policy::Context {
        client: client.clone(),
        reader: reader.clone(),
        writer: writer.clone(),
        caches: caches.clone(),
        book: trust.clone(),
        resolver: resolver.clone(),
        queue: Arc::clone(&queue),
        namespace: namespace.clone(),
    };
    tasks.spawn(trust_policy::run(
        policies,
        Arc::clone(&signals.policies),
        shutdown.clone(),
    ));

    let objections = Objections::default();
    let ceilings = capability_policy::Context {
        client: client.clone(),
        writer: writer.clone(),
        caches: caches.clone(),
        objections: objections.clone(),
        queue: Arc::clone(&queue),
    };
    tasks.spawn(capability_policy::run(
        ceilings,
        Arc::clone(&signals.capability_policies),
        shutdown.clone(),
    ));
    let denials = Denials::default();
    tasks.spawn(denials.clone().tell(
        client.clone(),
        identity.clone(),
        caches.clone(),
        writer.clone(),
        shutdown.clone(),
    ));

    let started = async {
        prerequisites::met(&client, &prerequisites).await;
        let keys = keys::establish(&reader, &writer, &namespace).await?;
        let owner = account::known_owner(&reader, &namespace).await;
        Ok::<_, StartError>((keys, owner, cluster_uid(&client).await))
    };
    let started = tokio::select! {
        started = started => Some(started?),
        () = shutdown.cancelled() => None,
    };
    if let Some((keys, owner, cluster_uid)) = started {
        let rotation = Rotation {
            every: ca_rotation.0,
            overlap: ca_overlap.0,
            leaf: LEAF_LIFE,
        };
        let now = Timestamp::now();
        let issuer = keys.authorities.issuer(&rotation, now)?;
        let leaf = Leaf::new(issuer, hand_over_names, now)?;
        let acceptor = TlsAcceptor::from(Arc::new(leaf.server_config()?));
        let tallies = Tallies::default();
        let hand_over = HandOver {
            reviewer: Reviewer::new(client.clone(), agent_service_account),
            authority: Authority::new(caches.clone(), keys.seal.public()),
            content,
            reader: reader.clone(),
            caches: caches.clone(),
            trust: trust.clone(),
            relay,
            resolver: resolver.clone(),
            denials,
            tallies: tallies.clone(),
            gate,
            metrics: metrics.clone(),
            transfers: HandOver::transfers(),
        };
        tasks.spawn(server::serve(
            hand_over_listener,
            acceptor,
            hand_over.router(),
            shutdown.clone(),
        ));
        serving.send_replace(true);
        let context = Context {
            client: client.clone(),
            reader: reader.clone(),
            writer: writer.clone(),
            caches,
            nodes: node_facts,
            resolver,
            trust,
            objections,
            tallies,
            queue,
            metrics,
            seal: keys.seal.clone(),
            cluster_uid,
            ports: Ports::new(namespace.clone(), port_range),
            network_policies: Home {
                namespace: namespace.clone(),
                owner,
            },
            identity,
        };
        tasks.spawn(component::run(context, shutdown.clone()));
        let custody = Custody {
            reader,
            writer,
            namespace,
            rotation,
            seal: keys.seal,
            leaf,
        };
        tasks.spawn(custody.keep(shutdown.clone()));
        shutdown.cancelled().await;
    }
    drop(
        tokio::time::timeout(FAREWELL, async {
            while tasks.join_next().await.is_some() {}
        })
        .await,
    );
    election.cancel();
    drop(
        tokio::time::timeout(FAREWELL, async {
            while elections.join_next().await.is_some() {}
        })
        .await,
    );
    Ok(())
}

async fn client(kubeconfig: Option<std::path::PathBuf>) -> Result<Client, StartError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
        None => kube::Config::incluster().map_err(StartError::InCluster)?,
    };
    config.connect_timeout = Some(CONNECT);
    Client::try_from(config).map_err(StartError::Client)
}

async fn listen(address: std::net::SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })
}

/// Asked for until it is known: without it no seal can say for which cluster it is.
async fn cluster_uid(client: &Client) -> String {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    loop {
        match namespaces.get(CLUSTER_NAMESPACE).await {
            Ok(namespace) => {
                if let Some(uid) = namespace.uid() {
                    return uid;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the namespace kube-system cannot be read; trying again")
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}
