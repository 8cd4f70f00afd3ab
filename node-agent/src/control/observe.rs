//! Watches the API server: this node's placements, policies, namespaces, and what the
//! operator publishes. A list that fails, an object that cannot be read, or a server that is
//! away leaves the last good state in place; nothing is ever stopped for not being seen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use artifact::root::RootReference;
use crds::placement::ComponentPlacementSpec;
use crds::revision::ComponentIdentity;
use crds::{CapabilityPolicy, ComponentPlacement, TrustPolicy, names};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, PodStatus};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ApiResource, DynamicObject, ListParams, PartialObjectMeta};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::blocked::{Blocked, Whose};
use super::state::Store;
use super::trust::TrustBook;
use crate::desired::{Desired, DesiredPlacement, DesiredRevision, PlacementKey};

/// The name under which the last desired state is kept.
const KEPT: &str = "desired";
/// A node that loses more placements than this in one answer asks again before it believes it.
const SUSPICIOUS: usize = 10;
/// How often, and how long apart.
const CONFIRMATIONS: usize = 2;
const CONFIRM_AFTER: Duration = Duration::from_secs(60);
/// How often trusted roots are read though no policy changed: ConfigMaps are not watched, since
/// an agent may only `get` them.
const ROOTS_AGAIN: Duration = Duration::from_secs(60);
/// The same while one of them is missing: somebody is about to create it.
const MISSING_AGAIN: Duration = Duration::from_secs(10);
/// Most roots that are read: each is a request to the API server every time.
const ROOTS_MAX: usize = 64;
/// ConfigMaps that the operator writes. It must not choose whom this node trusts.
const OF_THE_OPERATOR: [&str; 2] = [names::TRUST_CONFIG_MAP, names::PORTS_CONFIG_MAP];

/// Where every API server has a Service for itself.
const API_NAMESPACE: &str = "default";
const API_SERVICE: &str = "kubernetes";
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The desired state that an earlier start kept.
pub async fn kept(store: &Store) -> Desired {
    store.load(KEPT.to_owned()).await.unwrap_or_default()
}

/// Watches the placements of one node until `desired` has no reader any more. Keeps them in
/// `documents`, and drops documents and values of revisions that are not placed here any more:
/// secrets stay on a node no longer than they are needed.
pub async fn placements(
    client: Client,
    node: String,
    documents: Store,
    values: Store,
    desired: watch::Sender<Desired>,
) {
    let api: Api<DeserializeGuard<ComponentPlacement>> = Api::all(client);
    let selector = format!("spec.nodeName={node}");
    let events = watcher(api.clone(), watcher::Config::default().fields(&selector));
    let mut events = pin!(events.default_backoff());
    let mut listed = BTreeMap::new();
    let mut is_confirmed = false;
    while let Some(event) = events.next().await {
        let mut placements = desired.borrow().placements.clone();
        let mut is_news = false;
        match event {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                read(&mut listed, &placements, object);
                continue;
            }
            Ok(Event::InitDone) => {
                let lost_all = listed.is_empty() && placements.len() > SUSPICIOUS;
                if lost_all && !confirm_empty(&api, &selector).await {
                    continue;
                }
                placements = std::mem::take(&mut listed);
                // Whoever removes what is not placed any more waits for this.
                is_news = !std::mem::replace(&mut is_confirmed, true);
            }
            Ok(Event::Apply(object)) => {
                let before = placements.clone();
                read(&mut placements, &before, object);
            }
            Ok(Event::Delete(object)) => {
                if let Some(key) = key_of(&object) {
                    placements.remove(&key);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "placements cannot be watched; what runs goes on");
                continue;
            }
        }
        let changed = desired.send_if_modified(|desired| {
            let changed = desired.placements != placements;
            desired.placements = placements;
            changed || is_news
        });
        if changed {
            let now = desired.borrow().clone();
            documents.save(KEPT.to_owned(), &now).await;
            documents
                .prune("revision-", names_of(&now, "revision-"))
                .await;
            documents
                .prune("verdict-", names_of(&now, "verdict-"))
                .await;
            let components = now.placements.values();
            let components = components.map(|of| format!("component-{}", of.component.uid));
            documents.prune("component-", components.collect()).await;
            for store in [&documents, &values] {
                store.prune("values-", names_of(&now, "values-")).await;
            }
        }
        if desired.is_closed() {
            break;
        }
    }
}

/// The names under which documents of placed revisions are kept.
fn names_of(desired: &Desired, prefix: &str) -> BTreeSet<String> {
    let placements = desired.placements.iter();
    placements
        .flat_map(|(key, placement)| {
            let namespace = &key.namespace;
            let revisions = placement.revisions.iter();
            revisions.map(move |revision| format!("{prefix}{namespace}_{}", revision.name))
        })
        .collect()
}

/// Watches the trust policies.
pub async fn trust_policies(client: Client, trust: Arc<TrustBook>) {
    let resource = ApiResource::erase::<TrustPolicy>(&());
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    // Dynamic: a policy of a later version is still a policy, and refuses if it is not understood.
    let events = watcher::watcher(api, watcher::Config::default());
    follow(events, "trust policies", |policies| {
        let policies = specs(policies);
        trust.learn(|known| known.standard.policies = policies)
    })
    .await;
}

/// Watches the capability policies.
pub async fn capability_policies(client: Client, trust: Arc<TrustBook>) {
    let resource = ApiResource::erase::<CapabilityPolicy>(&());
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    // Dynamic: one of a later version is still a ceiling, and allows nothing if it is not
    // understood.
    let events = watcher::watcher(api, watcher::Config::default());
    follow(events, "capability policies", |policies| {
        let policies = specs(policies);
        trust.learn(|known| known.standard.capability_policies = Some(policies))
    })
    .await;
}

fn specs(objects: &BTreeMap<String, DynamicObject>) -> BTreeMap<String, serde_json::Value> {
    let objects = objects.iter();
    objects
        .map(|(name, object)| {
            let spec = object.data.get("spec").cloned().unwrap_or_default();
            (name.clone(), spec)
        })
        .collect()
}

/// Watches the labels of namespaces, and the uid of the one that stands for the cluster.
pub async fn namespaces(client: Client, trust: Arc<TrustBook>) {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client);
    let events = watcher::watcher(api, watcher::Config::default());
    follow(events, "namespaces", |namespaces| {
        let uid = namespaces
            .get("kube-system")
            .and_then(|namespace| namespace.uid());
        let labels = namespaces
            .iter()
            .map(|(name, namespace)| (name.clone(), namespace.labels().clone()))
            .collect();
        trust.learn(move |known| {
            known.namespaces = labels;
            known.cluster_uid = uid.or(known.cluster_uid.take());
        })
    })
    .await;
}

/// Watches what the operator publishes: the CA of its hand-over and the key of its seals.
pub async fn operator_trust(client: Client, namespace: String, trust: Arc<TrustBook>) {
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let only = format!("metadata.name={}", names::TRUST_CONFIG_MAP);
    let events = watcher::watcher(api, watcher::Config::default().fields(&only));
    follow(events, "the operator's trust ConfigMap", |maps| {
        let data = maps
            .get(names::TRUST_CONFIG_MAP)
            .and_then(|map| map.data.clone());
        trust.learn(move |known| {
            // A ConfigMap that is gone takes nothing away: sealed revisions are on this node.
            let mut data = data.unwrap_or_default();
            known.ca_bundle = data.remove(names::TRUST_CA_KEY).or(known.ca_bundle.take());
            known.seal_key = data.remove(names::TRUST_SEAL_KEY).or(known.seal_key.take());
        })
    })
    .await;
}

/// Watches the pods of agents and operator: their addresses, and those of the nodes they run on.
pub async fn system_pods(client: Client, namespace: String, blocked: Arc<Blocked>) {
    let api: Api<Pod> = Api::namespaced(client, &namespace);
    let events = watcher::watcher(api, watcher::Config::default()).modify(|pod| {
        // Of each pod only its addresses are wanted, and there may be thousands.
        pod.metadata.managed_fields = None;
        pod.spec = None;
    });
    follow(events, "the pods of the system", |pods| {
        let statuses = pods.values().filter_map(|pod| pod.status.as_ref());
        let addresses = statuses.flat_map(addresses_of_pod).collect();
        blocked.learn(Whose::System, addresses)
    })
    .await;
}

fn addresses_of_pod(status: &PodStatus) -> BTreeSet<IpAddr> {
    let pods = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let hosts = status.host_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let first = [&status.pod_ip, &status.host_ip].into_iter().flatten();
    let all = pods.chain(hosts).chain(first.map(String::as_str));
    all.filter_map(|address| address.parse().ok()).collect()
}

/// Watches where the API server answers: behind its Service, and `at` the address that this
/// node asks.
pub async fn api_server(client: Client, at: Option<IpAddr>, blocked: Arc<Blocked>) {
    let api: Api<EndpointSlice> = Api::namespaced(client.clone(), API_NAMESPACE);
    let of_service = format!("{SERVICE_NAME_LABEL}={API_SERVICE}");
    let events = watcher::watcher(api, watcher::Config::default().labels(&of_service));
    follow(events, "the endpoints of the API server", |slices| {
        let endpoints = slices.values().flat_map(|slice| &slice.endpoints);
        let addresses = endpoints.flat_map(|endpoint| &endpoint.addresses);
        let addresses = addresses.filter_map(|address| address.parse().ok());
        let all = addresses.chain(at).collect();
        blocked.learn(Whose::ApiServer, all)
    })
    .await;
}

/// Reads the trusted roots that policies refer to, by name, from ConfigMaps in `namespace`. This
/// node reads them itself: a root that came from the operator would be its word for everything.
pub async fn trusted_roots(client: Client, namespace: String, trust: Arc<TrustBook>) {
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let mut changes = trust.changes();
    let mut read_last = BTreeSet::new();
    let mut due = Instant::now();
    loop {
        let wanted: BTreeSet<RootReference> = trust
            .rules()
            .root_references()
            .into_iter()
            .filter(|reference| !OF_THE_OPERATOR.contains(&reference.config_map.as_str()))
            .take(ROOTS_MAX)
            .collect();
        if wanted != read_last || due <= Instant::now() {
            let complete = read_roots(&api, &wanted, &trust).await;
            let pause = if complete { ROOTS_AGAIN } else { MISSING_AGAIN };
            due = Instant::now() + pause;
            read_last = wanted;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(due) => {}
        }
    }
}

/// Says whether all of them are there.
async fn read_roots(
    api: &Api<ConfigMap>,
    wanted: &BTreeSet<RootReference>,
    trust: &TrustBook,
) -> bool {
    let before = trust.known().standard.roots.clone();
    let mut roots: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let names: BTreeSet<&String> = wanted.iter().map(|of| &of.config_map).collect();
    for name in names {
        let data = match api.get_opt(name).await {
            Ok(found) => found.and_then(|map| map.data).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "a trusted root cannot be read; what was read last stays");
                before.get(name).cloned().unwrap_or_default()
            }
        };
        let keys = data.into_iter().filter(|(key, _)| {
            let mut references = wanted.iter();
            references.any(|of| of.config_map == *name && of.key == *key)
        });
        roots.insert(name.clone(), keys.collect());
    }
    let found: usize = roots.values().map(BTreeMap::len).sum();
    trust.learn(|known| known.standard.roots = roots).await;
    found == wanted.len()
}

/// Keeps all objects of a watch by name, and hands them over after every change.
async fn follow<K, F>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    what: &str,
    changed: impl Fn(&BTreeMap<String, K>) -> F,
) where
    K: ResourceExt + Clone,
    F: Future<Output = ()>,
{
    let mut events = pin!(events.default_backoff());
    let mut objects = BTreeMap::new();
    let mut listed = BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.insert(object.name_any(), object);
            }
            Ok(Event::InitDone) => {
                objects = std::mem::take(&mut listed);
                changed(&objects).await;
            }
            Ok(Event::Apply(object)) => {
                objects.insert(object.name_any(), object);
                changed(&objects).await;
            }
            Ok(Event::Delete(object)) => {
                objects.remove(&object.name_any());
                changed(&objects).await;
            }
            Err(error) => {
                tracing::warn!(%error, "{what} cannot be watched; what was read last stays");
            }
        }
    }
}

/// Puts an object among the placements. One that cannot be read keeps the state it was last
/// read with, for one bad object must stop neither itself nor others.
fn read(
    into: &mut BTreeMap<PlacementKey, DesiredPlacement>,
    before: &BTreeMap<PlacementKey, DesiredPlacement>,
    object: DeserializeGuard<ComponentPlacement>,
) {
    let Some(key) = key_of(&object) else { return };
    let placement = match object.0 {
        Ok(placement) => desired(&key, placement),
        Err(error) => Err(error.to_string()),
    };
    match placement {
        Ok(placement) => {
            into.insert(key, placement);
        }
        Err(error) => {
            tracing::error!(%key, error, "a placement cannot be read; its last state stays");
            if let Some(last) = before.get(&key) {
                into.insert(key, last.clone());
            }
        }
    }
}

fn desired(key: &PlacementKey, object: ComponentPlacement) -> Result<DesiredPlacement, String> {
    let ComponentPlacementSpec {
        component_ref,
        node_name: _,
        replicas,
        ports,
        revisions,
    } = object.spec;
    let ports = ports
        .into_iter()
        .map(|port| match u16::try_from(port.port) {
            Ok(number) if number > 0 => Ok((port.trigger, number)),
            _ => Err(format!("{} is not a port", port.port)),
        })
        .collect::<Result<_, _>>()?;
    let revisions = revisions
        .into_iter()
        .map(|revision| {
            let digest = revision
                .digest
                .parse()
                .map_err(|error| format!("{error}"))?;
            Ok(DesiredRevision {
                name: revision.name,
                digest,
                weight: revision.weight,
            })
        })
        .collect::<Result<_, String>>()?;
    Ok(DesiredPlacement {
        uid: object.metadata.uid.unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        component: ComponentIdentity {
            namespace: key.namespace.clone(),
            name: component_ref.name,
            uid: component_ref.uid,
        },
        replicas: u32::try_from(replicas).unwrap_or_default().max(1),
        ports,
        revisions,
    })
}

fn key_of<K: Resource>(object: &K) -> Option<PlacementKey> {
    let meta = object.meta();
    Some(PlacementKey {
        namespace: meta.namespace.clone()?,
        name: meta.name.clone()?,
    })
}

/// A server that lost its data answers 200 with an empty list. Everything here would stop.
async fn confirm_empty(api: &Api<DeserializeGuard<ComponentPlacement>>, selector: &str) -> bool {
    for _ in 0..CONFIRMATIONS {
        tracing::error!(
            "all placements of this node seem to be gone; asking again before stopping them"
        );
        tokio::time::sleep(CONFIRM_AFTER).await;
        match api
            .list(&ListParams::default().fields(selector).limit(1))
            .await
        {
            Ok(list) if list.items.is_empty() => {}
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests;
