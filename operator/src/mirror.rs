//! What the API server has of one kind, kept in memory by a watch.
//!
//! Differs from a plain reflector in three ways that matter to us: an object
//! that cannot be decoded keeps its last good state instead of stopping the
//! rest; our own writes are visible at once, so the next plan does not repeat
//! them; objects are found by component without a scan. Reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};

use futures::StreamExt;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_api};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::component::Key;
use crate::metrics::Metrics;

/// Objects of one kind; cheap to clone, all clones are one mirror.
#[derive(Debug)]
pub struct Mirror<K> {
    state: Arc<RwLock<State<K>>>,
    synced: Arc<watch::Sender<bool>>,
    group: fn(&K) -> Option<Key>,
}

/// What changed with one object; at least one side is there.
#[derive(Debug)]
pub struct Change<K> {
    /// The object as it was.
    pub before: Option<Arc<K>>,
    /// The object as it is.
    pub after: Option<Arc<K>>,
}

/// Namespace (empty for cluster-scoped kinds) and name.
type ObjectName = (String, String);

#[derive(Debug)]
struct State<K> {
    objects: BTreeMap<ObjectName, Arc<K>>,
    /// Objects that never could be decoded.
    unreadable: BTreeSet<ObjectName>,
    groups: BTreeMap<Key, BTreeSet<ObjectName>>,
    /// A list that is still coming in.
    incoming: Option<Incoming<K>>,
}

#[derive(Debug)]
struct Incoming<K> {
    objects: BTreeMap<ObjectName, Arc<K>>,
    unreadable: BTreeSet<ObjectName>,
}

impl<K> Default for Incoming<K> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            unreadable: BTreeSet::new(),
        }
    }
}

impl<K> Clone for Mirror<K> {
    fn clone(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            synced: Arc::clone(&self.synced),
            group: self.group,
        }
    }
}

impl<K: Resource<DynamicType = ()> + Clone> Mirror<K> {
    /// An empty mirror; `group` says to which component an object belongs.
    pub fn new(group: fn(&K) -> Option<Key>) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            groups: BTreeMap::new(),
            incoming: None,
        };
        Self {
            state: Arc::new(RwLock::new(state)),
            synced: Arc::new(watch::Sender::new(false)),
            group,
        }
    }

    /// The object of that name. Cluster-scoped kinds have an empty namespace.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.read(|state| {
            state
                .objects
                .get(&(namespace.to_owned(), name.to_owned()))
                .cloned()
        })
    }

    /// All objects, by namespace and name.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.read(|state| state.objects.values().cloned().collect())
    }

    /// The objects of one component, by name.
    pub fn of(&self, component: &Key) -> Vec<Arc<K>> {
        self.read(|state| {
            let names = state.groups.get(component).into_iter().flatten();
            names
                .filter_map(|name| state.objects.get(name).cloned())
                .collect()
        })
    }

    /// Names of objects that are there and never could be decoded: whoever is
    /// restricted by objects of this kind must not take these for absent.
    pub fn unreadable(&self) -> Vec<String> {
        self.read(|state| {
            let names = state.unreadable.iter().map(|(_, name)| name);
            names.cloned().collect()
        })
    }

    /// The component that `object` belongs to.
    pub fn component(&self, object: &K) -> Option<Key> {
        (self.group)(object)
    }

    /// Whether the first list has arrived.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Returns once the first list has arrived.
    pub async fn until_synced(&self) {
        // Fails only when the sender is gone, and `self` holds it.
        drop(self.synced.subscribe().wait_for(|synced| *synced).await);
    }

    /// Takes over what a write of ours returned, ahead of the watch.
    pub fn written(&self, object: K) {
        self.apply(object);
    }

    /// Forgets an object that we deleted, ahead of the watch.
    pub fn deleted(&self, object: &K) {
        self.remove(&object_name(object));
    }

    fn read<T>(&self, read: impl FnOnce(&State<K>) -> T) -> T {
        read(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, write: impl FnOnce(&mut State<K>) -> T) -> T {
        write(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes one event of the watch in; says what changed by it.
    pub(crate) fn take(&self, event: Event<DeserializeGuard<K>>) -> Vec<Change<K>> {
        match event {
            Event::Init => self.write(|state| {
                state.incoming = Some(Incoming::default());
                Vec::new()
            }),
            Event::InitApply(guarded) => self.write(|state| {
                let name = object_name(&guarded);
                // Undecodable: what we last understood of it is the best we have.
                let object = guarded.0.ok().map(|object| Arc::new(slim(object)));
                let object = object.or_else(|| state.objects.get(&name).cloned());
                if let Some(incoming) = state.incoming.as_mut() {
                    match object {
                        Some(object) => drop(incoming.objects.insert(name, object)),
                        None => drop(incoming.unreadable.insert(name)),
                    }
                }
                Vec::new()
            }),
            Event::InitDone => {
                let Incoming {
                    objects: incoming,
                    unreadable,
                } = self
                    .write(|state| state.incoming.take())
                    .unwrap_or_default();
                self.write(|state| state.unreadable = unreadable);
                let known: BTreeSet<ObjectName> =
                    self.read(|state| state.objects.keys().cloned().collect());
                let gone = known.iter().filter(|name| !incoming.contains_key(*name));
                let mut changes: Vec<Change<K>> =
                    gone.filter_map(|name| self.remove(name)).collect();
                changes.extend(
                    incoming
                        .into_values()
                        .filter_map(|object| self.apply((*object).clone())),
                );
                self.synced.send_replace(true);
                changes
            }
            Event::Apply(guarded) => {
                let name = object_name(&guarded);
                let Ok(object) = guarded.0 else {
                    self.write(|state| {
                        if !state.objects.contains_key(&name) {
                            state.unreadable.insert(name);
                        }
                    });
                    return Vec::new();
                };
                self.apply(object).into_iter().collect()
            }
            Event::Delete(guarded) => self.gone(guarded).into_iter().collect(),
        }
    }

    /// Puts an object in unless what is there is as new or newer.
    fn apply(&self, object: K) -> Option<Change<K>> {
        let (name, after) = (object_name(&object), Arc::new(slim(object)));
        let group = (self.group)(&after);
        self.write(|state| {
            let before = state.objects.get(&name).cloned();
            if before.as_ref().is_some_and(|before| {
                before.uid() == after.uid() && version(before.as_ref()) >= version(after.as_ref())
            }) {
                return None;
            }
            state.unreadable.remove(&name);
            state.leave_group(&name, before.as_deref().and_then(self.group));
            if let Some(group) = group {
                state.groups.entry(group).or_default().insert(name.clone());
            }
            state.objects.insert(name, Arc::clone(&after));
            Some(Change {
                before,
                after: Some(after),
            })
        })
    }

    /// What the watch says is gone. An object that we deleted is forgotten already, and
    /// whoever depends on it was not told then: a status that counts it would stay.
    fn gone(&self, guarded: DeserializeGuard<K>) -> Option<Change<K>> {
        let (name, uid) = (object_name(&guarded), guarded.meta().uid.clone());
        let known = self.read(|state| state.objects.get(&name).map(|object| object.uid()));
        match known {
            // Made anew since, under the same name.
            Some(known) if known != uid => None,
            Some(_) => self.remove(&name),
            None => {
                self.write(|state| state.unreadable.remove(&name));
                guarded.0.ok().map(|object| Change {
                    before: Some(Arc::new(slim(object))),
                    after: None,
                })
            }
        }
    }

    fn remove(&self, name: &ObjectName) -> Option<Change<K>> {
        self.write(|state| {
            state.unreadable.remove(name);
            let before = state.objects.remove(name)?;
            state.leave_group(name, (self.group)(&before));
            Some(Change {
                before: Some(before),
                after: None,
            })
        })
    }
}

impl<K> State<K> {
    fn leave_group(&mut self, name: &ObjectName, group: Option<Key>) {
        let Some(group) = group else { return };
        if let Some(members) = self.groups.get_mut(&group) {
            members.remove(name);
            if members.is_empty() {
                self.groups.remove(&group);
            }
        }
    }
}

/// Keeps `mirror` as the API server has it until `shutdown`; calls `changed`
/// after each change. Errors are retried with backoff for ever: losing the API
/// server leaves the mirror as it was.
pub async fn keep<K>(
    api: Api<DeserializeGuard<K>>,
    selection: watcher::Config,
    mirror: Mirror<K>,
    metrics: Metrics,
    shutdown: CancellationToken,
    changed: impl Fn(Change<K>),
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let kind = K::kind(&());
    let events = watch_api(api, selection)
        .default_backoff()
        .take_until(shutdown.cancelled_owned());
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if let Event::Apply(DeserializeGuard(Err(invalid)))
                | Event::InitApply(DeserializeGuard(Err(invalid))) = &event
                {
                    let (namespace, name) = (&invalid.metadata.namespace, &invalid.metadata.name);
                    tracing::warn!(%kind, ?namespace, ?name, error = %invalid.error, "an object cannot be decoded; its last good state is kept");
                    metrics.undecodable();
                }
                for change in mirror.take(event) {
                    changed(change);
                }
            }
            Err(error) if is_missing(&error) => {
                tracing::warn!(%kind, "the cluster does not know this kind yet: install the lighterman-crds chart; waiting");
            }
            Err(error) => tracing::warn!(%kind, %error, "the watch failed and is started again"),
        }
    }
}

/// Whether the API server says that there is no such kind.
fn is_missing(error: &watcher::Error) -> bool {
    matches!(
        error,
        watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            if status.code == 404
    )
}

fn object_name<K: Resource>(object: &K) -> ObjectName {
    let meta = object.meta();
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

/// The parts nobody here reads, which are most of an object's size.
fn slim<K: Resource>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}

/// Resource versions of one kind can be compared as numbers (Kubernetes KEP-5504).
/// One that is not a number compares as oldest and is always replaced.
fn version<K: Resource>(object: &K) -> Option<u128> {
    object
        .meta()
        .resource_version
        .as_deref()
        .and_then(|version| version.parse().ok())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn guarded(name: &str, version: u32, data: serde_json::Value) -> DeserializeGuard<ConfigMap> {
        let metadata = json!({"namespace": "shop", "name": name, "uid": "u", "resourceVersion": version.to_string()});
        serde_json::from_value(json!({"metadata": metadata, "data": data})).unwrap()
    }

    fn listed(
        mirror: &Mirror<ConfigMap>,
        objects: Vec<DeserializeGuard<ConfigMap>>,
    ) -> Vec<Change<ConfigMap>> {
        mirror.take(Event::Init);
        for object in objects {
            mirror.take(Event::InitApply(object));
        }
        mirror.take(Event::InitDone)
    }

    fn mirror() -> Mirror<ConfigMap> {
        Mirror::new(|object| {
            Some(Key::new(
                object.namespace()?,
                object.data.as_ref()?.get("of")?,
            ))
        })
    }

    #[test]
    fn an_object_that_cannot_be_decoded_keeps_its_last_good_state() {
        let mirror = mirror();
        listed(
            &mirror,
            vec![
                guarded("a", 1, json!({"k": "good"})),
                guarded("b", 1, json!({})),
            ],
        );
        mirror.take(Event::Apply(guarded("a", 2, json!("not a map"))));
        listed(
            &mirror,
            vec![
                guarded("a", 3, json!("not a map")),
                guarded("b", 1, json!({})),
            ],
        );
        assert_eq!(
            mirror.get("shop", "a").unwrap().data.as_ref().unwrap()["k"],
            "good"
        );
        assert!(
            mirror.get("shop", "b").is_some(),
            "the rest is not stopped by it"
        );
    }

    #[test]
    fn an_object_that_never_could_be_decoded_is_named_until_it_can_be_or_is_gone() {
        let mirror = mirror();
        let bad = |version| guarded("a", version, json!("not a map"));
        listed(&mirror, vec![bad(1)]);
        assert_eq!(mirror.unreadable(), ["a"]);
        mirror.take(Event::Apply(guarded("a", 2, json!({}))));
        assert!(mirror.unreadable().is_empty());
        mirror.take(Event::Apply(bad(3)));
        assert!(
            mirror.unreadable().is_empty(),
            "its last good state is kept"
        );
        mirror.take(Event::Apply(guarded("b", 4, json!("not a map"))));
        assert_eq!(mirror.unreadable(), ["b"]);
        mirror.take(Event::Delete(guarded("b", 4, json!("not a map"))));
        assert!(mirror.unreadable().is_empty());
    }

    #[test]
    fn a_new_list_removes_what_is_not_on_it() {
        let mirror = mirror();
        assert!(!mirror.is_synced());
        listed(
            &mirror,
            vec![guarded("a", 1, json!({})), guarded("b", 1, json!({}))],
        );
        let changes = listed(&mirror, vec![guarded("b", 1, json!({}))]);
        assert!(mirror.is_synced());
        assert_eq!(changes.len(), 1, "only what changed is told");
        assert!(changes[0].after.is_none());
        assert!(mirror.get("shop", "a").is_none());
    }

    #[test]
    fn a_late_event_does_not_undo_what_we_wrote() {
        let mirror = mirror();
        mirror.written(guarded("a", 7, json!({"k": "ours"})).0.unwrap());
        assert!(
            mirror
                .take(Event::Apply(guarded("a", 6, json!({"k": "older"}))))
                .is_empty()
        );
        assert_eq!(
            mirror.get("shop", "a").unwrap().data.as_ref().unwrap()["k"],
            "ours"
        );
    }

    #[test]
    fn the_end_of_what_we_deleted_is_told_once_the_watch_says_so() {
        let mirror = mirror();
        listed(&mirror, vec![guarded("a", 1, json!({"of": "orders"}))]);
        mirror.deleted(&mirror.get("shop", "a").unwrap());
        let changes = mirror.take(Event::Delete(guarded("a", 2, json!({"of": "orders"}))));
        let [change] = changes.as_slice() else {
            unreachable!("{changes:?}")
        };
        let before = change.before.as_ref().unwrap();
        assert_eq!(mirror.component(before), Some(Key::new("shop", "orders")));
    }

    #[test]
    fn the_end_of_an_object_does_not_take_its_successor_away() {
        let mirror = mirror();
        listed(&mirror, vec![guarded("a", 1, json!({}))]);
        let mut successor = guarded("a", 3, json!({})).0.unwrap();
        successor.metadata.uid = Some("another".into());
        mirror.written(successor);
        assert!(
            mirror
                .take(Event::Delete(guarded("a", 2, json!({}))))
                .is_empty()
        );
        assert!(mirror.get("shop", "a").is_some());
    }

    #[test]
    fn objects_are_found_by_component_and_follow_it() {
        let mirror = mirror();
        listed(
            &mirror,
            vec![
                guarded("a", 1, json!({"of": "orders"})),
                guarded("b", 1, json!({"of": "math"})),
            ],
        );
        assert_eq!(mirror.of(&Key::new("shop", "orders")).len(), 1);
        mirror.take(Event::Apply(guarded("a", 2, json!({"of": "math"}))));
        assert!(mirror.of(&Key::new("shop", "orders")).is_empty());
        assert_eq!(mirror.of(&Key::new("shop", "math")).len(), 2);
        mirror.take(Event::Delete(guarded("b", 3, json!({}))));
        assert_eq!(mirror.of(&Key::new("shop", "math")).len(), 1);
    }
}
