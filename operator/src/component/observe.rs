//! Everything a plan looks at, gathered once: the only step before apply that
//! holds caches and a client.
//!
//! What is gathered is plain data with no clock in it, so that `plan` is a
//! function of this value alone and a test can write it down.

mod step_calls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use capability::Bytes;
use crds::{ComponentPlacement, Reason, WasmComponent};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::Instant;

use super::revision::{self, KnownRevision};
use super::{Key, Pinned, Validated, is_owned_by, pinned};
use crate::caches::Caches;
use crate::ceilings::{Policies, Usage};
use crate::network_policy;
use crate::node::Nodes;
use crate::port::NoPortFree;
use crate::reader::{ReadError, Reader};
use crate::resolver::{Resolution, Review};
use crate::rollout::Calls;
use crate::seal::SealPublicKey;
use crate::service::Standing;
use crate::values::{self, References, ValuesError};

pub use step_calls::StepCalls;

/// A component and everything around it.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The component as it is.
    pub component: Arc<WasmComponent>,
    /// What its image came to.
    pub resolution: Resolution,
    /// What the policies of today say of what runs.
    pub reviews: Vec<Review>,
    /// The capability policies that cover its namespace.
    pub policies: Policies,
    /// What the other components of its namespace take.
    pub usage: Usage,
    /// How long ago a wave of it was stopped last, by the operator's clock.
    pub since_stop: Option<Duration>,
    /// How long ago the rollout last got on, by the operator's clock and its status.
    pub since_progress: Option<Duration>,
    /// What it and the revision that it replaces have answered since its step began.
    pub calls: Calls,
    /// Whether all values it refers to are there.
    pub values: Result<(), Blocked>,
    /// The nodes, with what other components reserve on them.
    pub nodes: Nodes,
    /// Its placements, and how long each has served what it is to serve.
    pub placements: Vec<Placed>,
    /// Its revisions with a seal that holds, oldest first.
    pub revisions: Vec<KnownRevision>,
    /// The number for the next revision.
    pub next_revision: i64,
    /// What stands under its Service's name.
    pub service: Standing,
    /// The EndpointSlices behind it.
    pub slices: Vec<EndpointSlice>,
    /// How long ago they were last written, by the operator's clock; `None` if not
    /// by this leader.
    pub since_slices: Option<Duration>,
    /// What stands under its NetworkPolicy's name; `None` where there are no such policies.
    pub network_policy: Option<network_policy::Standing>,
    /// The port of each trigger, as the ledger has it.
    pub ports: Result<BTreeMap<String, u16>, NoPortFree>,
    /// What calls itself a preview of it, or stands under the name of one.
    pub previews: Vec<Arc<WasmComponent>>,
}

/// A placement of the component.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// The placement as it is.
    pub object: ComponentPlacement,
    /// How long its node has served the first of its revisions without a break,
    /// by the operator's clock; `None` while it does not.
    pub steady: Option<Duration>,
}

/// Something outside that has to change first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// Why.
    pub reason: Reason,
    /// Why, for people, with the mend.
    pub message: String,
}

/// Since when each placement serves what it is to serve. The leader's memory; a
/// new leader starts to count anew, which makes a wave longer, never shorter.
#[derive(Debug, Default)]
pub struct Steadiness {
    since: BTreeMap<String, (String, Instant)>,
}

impl Steadiness {
    /// How long `placement` has served the first of its revisions at `now`.
    pub fn observe(&mut self, placement: &ComponentPlacement, now: Instant) -> Option<Duration> {
        let uid = placement.uid().unwrap_or_default();
        let wanted = placement
            .spec
            .revisions
            .first()
            .map(|revision| &revision.name);
        let serving = placement
            .status
            .as_ref()
            .filter(|status| status.ready)
            .and_then(|status| status.serving.as_ref());
        let Some(serving) = serving.filter(|serving| Some(*serving) == wanted) else {
            self.since.remove(&uid);
            return None;
        };
        let entry = self
            .since
            .entry(uid)
            .or_insert_with(|| (serving.clone(), now));
        if entry.0 != *serving {
            *entry = (serving.clone(), now);
        }
        Some(now.saturating_duration_since(entry.1))
    }

    /// Forgets placements that no longer exist.
    pub fn retain(&mut self, exists: impl Fn(&str) -> bool) {
        self.since.retain(|uid, _| exists(uid));
    }
}

/// Gathers what there is about `component`, except what only the leader has:
/// resolution and ports come from the driver.
///
/// # Errors
/// When the API server could not be asked whether a Service is in the way.
pub async fn observe(
    component: Arc<WasmComponent>,
    caches: &Caches,
    reader: &Reader,
    seal: &SealPublicKey,
    nodes: &Nodes,
    steadiness: &mut Steadiness,
    validated: Option<&Validated>,
) -> Result<Observed, ReadError> {
    let key = Key::new(
        component.namespace().unwrap_or_default(),
        component.name_any(),
    );
    let uid = component.uid().unwrap_or_default();
    let now = Instant::now();

    let placements: Vec<Placed> = caches
        .placements
        .of(&key)
        .into_iter()
        .filter(|placement| is_owned_by(&placement.metadata, &uid))
        .map(|placement| Placed {
            steady: steadiness.observe(&placement, now),
            object: (*placement).clone(),
        })
        .collect();

    let written = caches.revisions.of(&key);
    let next_revision = written
        .iter()
        .map(|revision| revision.revision)
        .max()
        .unwrap_or_default()
        .saturating_add(1);
    let mut revisions: Vec<KnownRevision> = written
        .iter()
        .filter(|revision| is_owned_by(&revision.metadata, &uid))
        .filter_map(|object| revision::read(object, &uid, seal).ok())
        .collect();
    revisions.sort_by_key(|revision| revision.number);

    let service = match caches
        .services
        .get(&key.namespace, &crds::names::service_name(&key.name))
    {
        Some(service) if is_owned_by(&service.metadata, &uid) => {
            Standing::Ours(Box::new((*service).clone()))
        }
        Some(_) => Standing::Foreign,
        // Not among those with our label: only a live look tells a free name from
        // a stranger's Service.
        None => match reader
            .get::<Service>(
                "Service",
                &key.namespace,
                &crds::names::service_name(&key.name),
            )
            .await?
        {
            Some(service) if is_owned_by(&service.metadata, &uid) => {
                Standing::Ours(Box::new(service))
            }
            Some(_) => Standing::Foreign,
            None => Standing::Absent,
        },
    };
    let slices = match &service {
        Standing::Ours(service) => {
            let service_uid = service.uid().unwrap_or_default();
            let all = caches.slices.of(&key).into_iter();
            all.filter(|slice| is_owned_by(&slice.metadata, &service_uid))
                .map(|slice| (*slice).clone())
                .collect()
        }
        Standing::Absent | Standing::Foreign => Vec::new(),
    };
    let mut previews = caches.components.of(&key);
    previews.retain(|known| known.name_any() != key.name);
    for preview in &component.spec.previews {
        let name = crds::names::preview_name(&key.name, &preview.name);
        let known = caches.components.get(&key.namespace, &name);
        let unlabelled = known.filter(|known| known.preview_of() != Some(&key.name));
        previews.extend(unlabelled);
    }
    let mut observed = Observed {
        since_progress: since_progress(&component, Timestamp::now()),
        calls: Calls::default(),
        component,
        resolution: Resolution::Pending,
        reviews: Vec::new(),
        policies: Policies::of(&key.namespace, caches),
        usage: Usage::of_others(&key, caches),
        since_stop: None,
        values: Ok(()),
        nodes: with_reservations(nodes, caches, &key),
        placements,
        revisions,
        next_revision,
        service,
        slices,
        network_policy: None,
        since_slices: None,
        ports: Ok(BTreeMap::new()),
        previews,
    };
    if let Some(validated) = validated {
        let references = match pinned(&observed, validated) {
            Pinned::Kept(known) => References::from(&known.document),
            Pinned::Nothing | Pinned::Gone(_) => validated.into(),
        };
        observed.values = check_values(reader, &key.namespace, references).await?;
    }
    Ok(observed)
}

/// Kept in the status and not in memory: a rollout must end, however often operators do.
fn since_progress(component: &WasmComponent, now: Timestamp) -> Option<Duration> {
    let updating = component.status.as_ref()?.updating.as_ref()?;
    let since = updating.since.as_ref()?.0;
    // A clock that was set back stops nothing.
    Some(Duration::try_from(now.duration_since(since)).unwrap_or_default())
}

/// Whether every value is there now. The values themselves are dropped again:
/// they only leave over the hand-over.
async fn check_values(
    reader: &Reader,
    namespace: &str,
    references: References<'_>,
) -> Result<Result<(), Blocked>, ReadError> {
    match values::resolve(reader, namespace, references).await {
        Ok(_) => Ok(Ok(())),
        Err(ValuesError::Read(error @ (ReadError::Timeout | ReadError::Api(_)))) => Err(error),
        Err(error) => Ok(Err(Blocked {
            reason: error.reason(),
            message: error.to_string(),
        })),
    }
}

/// The nodes with what every other component has reserved on them.
fn with_reservations(nodes: &Nodes, caches: &Caches, key: &Key) -> Nodes {
    let mut nodes = nodes.clone();
    let components: BTreeMap<Key, Bytes> = caches
        .components
        .all()
        .into_iter()
        .map(|component| {
            let of = Key::new(
                component.namespace().unwrap_or_default(),
                component.name_any(),
            );
            (of, component.spec.resources.requests.memory)
        })
        .collect();
    for placement in caches.placements.all() {
        let of = Key::new(
            placement.namespace().unwrap_or_default(),
            &placement.spec.component_ref.name,
        );
        let (Some(fact), Some(memory)) = (
            nodes.get_mut(&placement.spec.node_name),
            components.get(&of),
        ) else {
            continue;
        };
        if of != *key && !placement.has_completed() {
            let replicas = u64::try_from(placement.spec.replicas).unwrap_or_default();
            let reserved = fact
                .planned
                .reserved
                .0
                .saturating_add(memory.0.saturating_mul(replicas));
            fact.planned.reserved = Bytes(reserved);
        }
    }
    nodes
}
