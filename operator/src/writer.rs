//! The only door to the API server for writes.
//!
//! Each call asks the leader's gate first and ends before the gate's deadline,
//! so a replica that lost the Lease cannot finish a plan it began. Writes are
//! paced: a node that falls over must not become a storm at the API server. Only
//! Events of what agents tell need no lead. Callers are apply, report, the policies,
//! the denials and the operator's own keys.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, ValidationDirective};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::leader::{Gate, NotLeader};

/// Name under which the operator's fields are kept by the API server.
pub const FIELD_MANAGER: &str = crds::names::OPERATOR_FIELD_MANAGER;

/// Writes a second once the burst is used up.
const WRITES_PER_SECOND: u32 = 100;
/// Writes that may follow each other without a pause.
const BURST: u32 = 200;
/// Longest wait for an Event that needs no lead to be taken: a lost one is no error.
const TELL_PATIENCE: Duration = Duration::from_secs(10);

/// Writes as the leader; cheap to clone, all clones share gate and pace.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    gate: Gate,
    pace: Arc<Pace>,
}

/// An object of a namespace that can be written and read back.
pub trait Namespaced:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + DeserializeOwned
    + Debug
    + Serialize
{
}

impl<K> Namespaced for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Serialize
{
}

/// Why a write did not happen, or may not have.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Another replica leads.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// The gate's deadline came before the answer.
    #[error("the API server did not answer before this replica's lead ran out")]
    Deadline,
    /// The object was changed or made by somebody else in the meantime.
    #[error("the object was changed by somebody else in the meantime")]
    Conflict,
    /// The object is not there (any more).
    #[error("the object does not exist")]
    NotFound,
    /// A quota or a missing right.
    #[error("refused by the API server: {0}")]
    Forbidden(String),
    /// Anything else the API server said.
    #[error("the API server refused or could not be asked")]
    Api(#[source] Box<kube::Error>),
}

#[derive(Debug)]
struct Pace {
    next: Mutex<Instant>,
}

impl Writer {
    /// Writes with the identity of `client` while `gate` is open.
    pub fn new(client: Client, gate: Gate) -> Self {
        Self {
            client,
            gate,
            pace: Arc::new(Pace {
                next: Mutex::new(Instant::now()),
            }),
        }
    }

    /// The gate this writer asks.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Creates a namespaced object; one that is already there is a `Conflict`.
    ///
    /// # Errors
    /// `WriteError`.
    pub async fn create<K: Namespaced>(&self, object: &K) -> Result<K, WriteError> {
        let api = self.api::<K>(object);
        self.write(api.create(&post_parameters(), object)).await
    }

    /// Replaces a namespaced object; its `resourceVersion` must still be the
    /// one on the server, which fences a planner that looked at old state.
    ///
    /// # Errors
    /// `WriteError`.
    pub async fn replace<K: Namespaced>(&self, object: &K) -> Result<K, WriteError> {
        let api = self.api::<K>(object);
        self.write(api.replace(&object.name_any(), &post_parameters(), object))
            .await
    }

    /// Applies our fields of a namespaced object that others write too (server-side apply).
    ///
    /// # Errors
    /// `WriteError`.
    pub async fn apply<K: Namespaced>(&self, object: &K) -> Result<K, WriteError> {
        let api = self.api::<K>(object);
        self.write(api.patch(
            &object.name_any(),
            &apply_parameters(),
            &Patch::Apply(object),
        ))
        .await
    }

    /// Applies the status subresource: fields that we leave out disappear.
    ///
    /// # Errors
    /// `WriteError`.
    pub async fn apply_status<K>(
        &self,
        api: &Api<K>,
        name: &str,
        body: &serde_json::Value,
    ) -> Result<K, WriteError>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        self.write(api.patch_status(name, &apply_parameters(), &Patch::Apply(body)))
            .await
    }

    /// Deletes exactly this object: not one made anew under its name.
    ///
    /// # Errors
    /// `WriteError`; an object that is already gone is no error.
    pub async fn delete<K: Namespaced>(&self, object: &K) -> Result<(), WriteError> {
        let api = self.api::<K>(object);
        let parameters = DeleteParams::background().preconditions(Preconditions {
            uid: object.uid(),
            resource_version: None,
        });
        match self
            .write(api.delete(&object.name_any(), &parameters))
            .await
        {
            Ok(_) | Err(WriteError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Ends a Pod after `seconds`, also one that was given longer by somebody else.
    ///
    /// # Errors
    /// `WriteError`; a Pod that is already gone is no error.
    pub async fn end(&self, pod: &Pod, seconds: u32) -> Result<(), WriteError> {
        let parameters =
            DeleteParams::default()
                .grace_period(seconds)
                .preconditions(Preconditions {
                    uid: pod.uid(),
                    resource_version: None,
                });
        let api = self.api::<Pod>(pod);
        match self.write(api.delete(&pod.name_any(), &parameters)).await {
            Ok(_) | Err(WriteError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives the containers of a running Pod the resources that `pod` says.
    ///
    /// # Errors
    /// `WriteError`; `NotFound` also from an API server that cannot resize Pods.
    pub async fn resize(&self, pod: &Pod) -> Result<Pod, WriteError> {
        let containers: Vec<serde_json::Value> = pod
            .spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .map(|container| json!({ "name": container.name, "resources": container.resources }))
            .collect();
        let patch = Patch::Strategic(json!({ "spec": { "containers": containers } }));
        let (api, name) = (self.api::<Pod>(pod), pod.name_any());
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.write(api.patch_resize(&name, &parameters, &patch))
            .await
    }

    /// Publishes through `publish` if this replica leads (Events only).
    ///
    /// # Errors
    /// `WriteError`.
    pub async fn publish<T>(
        &self,
        publish: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, WriteError> {
        self.write(publish).await
    }

    /// Publishes an Event of what this replica was told, leader or not: nothing is
    /// decided by it, and who tells does not know who leads. Paced as all writes.
    ///
    /// # Errors
    /// When the API server refuses or does not answer.
    pub async fn tell<T>(
        &self,
        publish: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, WriteError> {
        self.pace.turn().await;
        match tokio::time::timeout(TELL_PATIENCE, publish).await {
            Err(_) => Err(WriteError::Deadline),
            Ok(published) => published.map_err(|error| WriteError::Api(Box::new(error))),
        }
    }

    fn api<K: Namespaced>(&self, object: &K) -> Api<K> {
        match object.namespace() {
            Some(namespace) => Api::namespaced(self.client.clone(), &namespace),
            None => Api::default_namespaced(self.client.clone()),
        }
    }

    async fn write<T>(
        &self,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, WriteError> {
        self.pace.turn().await;
        let term = self.gate.term(Instant::now())?;
        match tokio::time::timeout_at(term.deadline, request).await {
            Err(_) => Err(WriteError::Deadline),
            Ok(Ok(written)) => Ok(written),
            Ok(Err(kube::Error::Api(status)))
                if status.is_conflict() || status.is_already_exists() =>
            {
                Err(WriteError::Conflict)
            }
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Err(WriteError::NotFound),
            Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => {
                Err(WriteError::Forbidden(status.message))
            }
            Ok(Err(error)) => Err(WriteError::Api(Box::new(error))),
        }
    }
}

impl Pace {
    /// Waits for this writer's turn.
    async fn turn(&self) {
        let step = Duration::from_secs(1) / WRITES_PER_SECOND;
        let at = {
            let mut next = self.next.lock().await;
            let earliest = Instant::now()
                .checked_sub(step * BURST)
                .unwrap_or_else(Instant::now);
            *next = (*next).max(earliest) + step;
            *next
        };
        tokio::time::sleep_until(at).await;
    }
}

fn post_parameters() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn apply_parameters() -> PatchParams {
    PatchParams {
        // A schema on the server that lacks our fields must be an error, not silent pruning.
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply(FIELD_MANAGER).force()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn writes_after_the_burst_are_paced() {
        tokio::time::advance(Duration::from_secs(10)).await;
        let pace = Pace {
            next: Mutex::new(Instant::now() - Duration::from_secs(5)),
        };
        let start = Instant::now();
        for _ in 0..BURST {
            pace.turn().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO, "the burst does not wait");
        for _ in 0..WRITES_PER_SECOND {
            pace.turn().await;
        }
        assert!(
            start.elapsed() >= Duration::from_millis(990),
            "then one step each"
        );
    }
}
