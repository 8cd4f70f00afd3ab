//! Everything the operator watches, in one place.
//!
//! Mirrors only: no decisions. `start` names each watch, its selection and what
//! its changes set going. Every replica keeps them, the leader to plan, all to
//! answer the hand-over.

use std::fmt::Debug;
use std::sync::Arc;

use crds::{CapabilityPolicy, ComponentPlacement, TrustPolicy, WasmComponent, WasmNode, names};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Config;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::component::Key;
use crate::metrics::Metrics;
use crate::mirror::{self, Change, Mirror};
use crate::network_policy;
use crate::queue::{Queue, SETTLE};

/// What the API server has of everything that matters here.
#[derive(Debug, Clone)]
pub struct Caches {
    /// All components.
    pub components: Mirror<WasmComponent>,
    /// All placements.
    pub placements: Mirror<ComponentPlacement>,
    /// ControllerRevisions with our label.
    pub revisions: Mirror<ControllerRevision>,
    /// Services with our label.
    pub services: Mirror<Service>,
    /// EndpointSlices that we manage.
    pub slices: Mirror<EndpointSlice>,
    /// Our NetworkPolicies over the agents' ports.
    pub network_policies: Mirror<NetworkPolicy>,
    /// All trust policies.
    pub policies: Mirror<TrustPolicy>,
    /// All capability policies.
    pub capability_policies: Mirror<CapabilityPolicy>,
    /// All namespaces, for their labels.
    pub namespaces: Mirror<Namespace>,
    /// All core Nodes.
    pub nodes: Mirror<Node>,
    /// Agent Pods.
    pub agents: Mirror<Pod>,
    /// Guard Pods.
    pub guards: Mirror<Pod>,
    /// Heartbeats of the agents.
    pub leases: Mirror<Lease>,
    /// Facts that the agents give.
    pub wasm_nodes: Mirror<WasmNode>,
}

/// Where the watched objects are.
#[derive(Debug, Clone)]
pub struct Places {
    /// Namespace of operator and agents.
    pub system: String,
    /// Namespace of the heartbeat Leases.
    pub nodes: String,
}

/// What changes set going.
#[derive(Debug, Clone)]
pub struct Signals {
    /// Components to look at.
    pub queue: Arc<Queue>,
    /// Something about a node changed.
    pub nodes: Arc<Notify>,
    /// A guard, or what guards follow, changed.
    pub guards: Arc<Notify>,
    /// A trust policy changed.
    pub policies: Arc<Notify>,
    /// A capability policy changed.
    pub capability_policies: Arc<Notify>,
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            // A preview stands with the component that it is one of.
            components: Mirror::new(|component| {
                let name = component.name_any();
                Some(Key::new(
                    component.namespace().unwrap_or_default(),
                    component.preview_of().unwrap_or(&name),
                ))
            }),
            placements: Mirror::new(|placement| {
                Some(Key::new(
                    placement.namespace().unwrap_or_default(),
                    &placement.spec.component_ref.name,
                ))
            }),
            revisions: Mirror::new(labelled),
            services: Mirror::new(labelled),
            slices: Mirror::new(labelled),
            network_policies: Mirror::new(network_policy::sweep::component),
            policies: Mirror::new(|_| None),
            capability_policies: Mirror::new(|_| None),
            namespaces: Mirror::new(|_| None),
            nodes: Mirror::new(|_| None),
            agents: Mirror::new(|_| None),
            guards: Mirror::new(|_| None),
            leases: Mirror::new(|_| None),
            wasm_nodes: Mirror::new(|_| None),
        }
    }
}

impl Caches {
    /// Whether everything has been listed once. Before, nothing is planned: what
    /// has not been seen yet must not look like what is gone.
    pub fn synced(&self) -> bool {
        self.missing().is_empty()
    }

    /// The kinds that have not been listed yet.
    pub fn missing(&self) -> Vec<&'static str> {
        let all = [
            ("WasmComponent", self.components.is_synced()),
            ("ComponentPlacement", self.placements.is_synced()),
            ("ControllerRevision", self.revisions.is_synced()),
            ("Service", self.services.is_synced()),
            ("EndpointSlice", self.slices.is_synced()),
            ("NetworkPolicy", self.network_policies.is_synced()),
            ("TrustPolicy", self.policies.is_synced()),
            ("CapabilityPolicy", self.capability_policies.is_synced()),
            ("Namespace", self.namespaces.is_synced()),
            ("Node", self.nodes.is_synced()),
            ("Pod", self.agents.is_synced() && self.guards.is_synced()),
            ("Lease", self.leases.is_synced()),
            ("WasmNode", self.wasm_nodes.is_synced()),
        ];
        all.into_iter()
            .filter(|(_, synced)| !synced)
            .map(|(kind, _)| kind)
            .collect()
    }

    /// Returns once everything about nodes has been listed.
    pub async fn until_nodes_synced(&self) {
        self.nodes.until_synced().await;
        self.agents.until_synced().await;
        self.guards.until_synced().await;
        self.leases.until_synced().await;
        self.wasm_nodes.until_synced().await;
    }

    /// Looks at every component within the settling time.
    pub fn wake_all(&self, queue: &Queue) {
        for component in self.components.all() {
            queue.add(
                Key::new(
                    component.namespace().unwrap_or_default(),
                    component.name_any(),
                ),
                SETTLE,
            );
        }
    }

    /// Starts one watch per mirror in `tasks`.
    pub fn start(
        &self,
        client: &Client,
        places: &Places,
        signals: &Signals,
        metrics: &Metrics,
        shutdown: &CancellationToken,
        tasks: &mut JoinSet<()>,
    ) {
        let everything = Config::default;
        let labelled = || Config::default().labels(names::COMPONENT_LABEL);
        let slices = || {
            let selector = format!(
                "{}={}",
                names::ENDPOINT_SLICE_MANAGED_BY_LABEL,
                names::ENDPOINT_SLICE_MANAGED_BY
            );
            Config::default().labels(&selector)
        };
        let pods = |name: &str| Config::default().labels(&format!("{}={name}", names::NAME_LABEL));
        let mut watch = Watches {
            client,
            metrics,
            shutdown,
            tasks,
        };

        watch.all(everything(), &self.components, signals.component());
        watch.all(
            everything(),
            &self.placements,
            signals.component_and_guards_of(&self.placements),
        );
        watch.all(
            labelled(),
            &self.revisions,
            signals.component_of(&self.revisions),
        );
        watch.all(
            labelled(),
            &self.services,
            signals.component_of(&self.services),
        );
        watch.all(slices(), &self.slices, signals.component_of(&self.slices));
        watch.within(
            &places.system,
            labelled(),
            &self.network_policies,
            signals.component_of(&self.network_policies),
        );
        watch.all(
            everything(),
            &self.policies,
            signals.everything(self, Some(&signals.policies)),
        );
        watch.all(
            everything(),
            &self.capability_policies,
            signals.everything(self, Some(&signals.capability_policies)),
        );
        watch.all(
            everything(),
            &self.namespaces,
            signals.everything_of_namespace(self),
        );
        watch.all(everything(), &self.nodes, signals.node());
        watch.within(
            &places.system,
            pods(names::AGENT_NAME),
            &self.agents,
            signals.node(),
        );
        watch.within(
            &places.system,
            pods(names::GUARD_NAME),
            &self.guards,
            signals.guard(),
        );
        watch.within(&places.nodes, everything(), &self.leases, |_| {});
        watch.all(everything(), &self.wasm_nodes, signals.node());
    }
}

/// The component that an object with our label belongs to.
fn labelled<K: Resource>(object: &K) -> Option<Key> {
    let name = object.labels().get(names::COMPONENT_LABEL)?;
    Some(Key::new(object.namespace().unwrap_or_default(), name))
}

struct Watches<'a> {
    client: &'a Client,
    metrics: &'a Metrics,
    shutdown: &'a CancellationToken,
    tasks: &'a mut JoinSet<()>,
}

impl Watches<'_> {
    fn all<K>(
        &mut self,
        selection: Config,
        mirror: &Mirror<K>,
        changed: impl Fn(Change<K>) + Send + Sync + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let api: Api<DeserializeGuard<K>> = Api::all(self.client.clone());
        self.spawn(api, selection, mirror, changed);
    }

    fn within<K>(
        &mut self,
        namespace: &str,
        selection: Config,
        mirror: &Mirror<K>,
        changed: impl Fn(Change<K>) + Send + Sync + 'static,
    ) where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static,
    {
        let api: Api<DeserializeGuard<K>> = Api::namespaced(self.client.clone(), namespace);
        self.spawn(api, selection, mirror, changed);
    }

    fn spawn<K>(
        &mut self,
        api: Api<DeserializeGuard<K>>,
        selection: Config,
        mirror: &Mirror<K>,
        changed: impl Fn(Change<K>) + Send + Sync + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        self.tasks.spawn(mirror::keep(
            api,
            selection,
            mirror.clone(),
            self.metrics.clone(),
            self.shutdown.clone(),
            changed,
        ));
    }
}

impl Signals {
    /// A component changed: look at it, unless only its status did, and at the one that it is a
    /// preview of.
    fn component(&self) -> impl Fn(Change<WasmComponent>) + Send + Sync + 'static {
        let queue = Arc::clone(&self.queue);
        move |change| {
            let status_only = matches!(
                (&change.before, &change.after),
                (Some(before), Some(after))
                    if before.uid() == after.uid()
                        && before.metadata.generation == after.metadata.generation
                        && before.status.is_some() == after.status.is_some()
            );
            let Some(component) = change.after.or(change.before).filter(|_| !status_only) else {
                return;
            };
            let namespace = component.namespace().unwrap_or_default();
            if let Some(of) = component.preview_of() {
                queue.add(Key::new(&namespace, of), SETTLE);
            }
            queue.add(Key::new(namespace, component.name_any()), SETTLE);
        }
    }

    /// Something of a component changed.
    fn component_of<K>(&self, mirror: &Mirror<K>) -> impl Fn(Change<K>) + Send + Sync + 'static
    where
        K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        let (queue, mirror) = (Arc::clone(&self.queue), mirror.clone());
        move |change| {
            if let Some(key) = change
                .after
                .or(change.before)
                .and_then(|object| mirror.component(&object))
            {
                queue.add(key, SETTLE);
            }
        }
    }

    /// A placement changed: its component is looked at, and its node's reservation.
    fn component_and_guards_of<K>(
        &self,
        mirror: &Mirror<K>,
    ) -> impl Fn(Change<K>) + Send + Sync + 'static
    where
        K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        let (component, guards) = (self.component_of(mirror), Arc::clone(&self.guards));
        move |change| {
            guards.notify_one();
            component(change);
        }
    }

    /// A guard changed; its eviction speaks of its node.
    fn guard<K>(&self) -> impl Fn(Change<K>) + Send + Sync + 'static {
        let (nodes, guards) = (Arc::clone(&self.nodes), Arc::clone(&self.guards));
        move |_| {
            nodes.notify_one();
            guards.notify_one();
        }
    }

    /// Something that concerns every component changed.
    fn everything<K>(
        &self,
        caches: &Caches,
        also: Option<&Arc<Notify>>,
    ) -> impl Fn(Change<K>) + Send + Sync + 'static
    where
        K: Resource<DynamicType = ()> + Send + Sync + 'static,
    {
        let (queue, caches, also) = (Arc::clone(&self.queue), caches.clone(), also.cloned());
        move |change| {
            // A status that we wrote changes nothing for anybody.
            let generation = |object: &Option<Arc<K>>| {
                let meta = object.as_ref()?.meta();
                Some((meta.uid.clone(), meta.generation))
            };
            let (before, after) = (generation(&change.before), generation(&change.after));
            if before == after && before.is_some_and(|(_, generation)| generation.is_some()) {
                return;
            }
            caches.wake_all(&queue);
            if let Some(also) = &also {
                also.notify_one();
            }
        }
    }

    /// A namespace changed: its labels decide which policies cover it.
    fn everything_of_namespace(
        &self,
        caches: &Caches,
    ) -> impl Fn(Change<Namespace>) + Send + Sync + 'static {
        let (queue, components) = (Arc::clone(&self.queue), caches.components.clone());
        move |change| {
            let Some(name) = change
                .after
                .or(change.before)
                .map(|namespace| namespace.name_any())
            else {
                return;
            };
            for component in components.all() {
                if component.namespace().as_deref() == Some(&name) {
                    queue.add(Key::new(&name, component.name_any()), SETTLE);
                }
            }
        }
    }

    /// Something about a node changed; `crate::node` says whether it matters.
    fn node<K>(&self) -> impl Fn(Change<K>) + Send + Sync + 'static {
        let nodes = Arc::clone(&self.nodes);
        move |_| nodes.notify_one()
    }
}
