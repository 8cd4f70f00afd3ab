//! The component driver: resolve -> verify -> admit -> revision -> plan -> apply -> report,
//! for one component after the other, while this replica leads.
//!
//! One at a time, because capacity and ports are shared: two plans at once could
//! give the same memory away twice. What takes long (registries) runs in the
//! background (`resolver`). Steps are named as in the agent: `observe` gathers,
//! `validate`, `admit` and `plan` are pure, `apply` writes, `report` says what came of it.

pub mod admit;
pub mod apply;
mod key;
pub mod observe;
mod pin;
pub mod plan;
mod preview;
pub mod report;
pub mod resolve;
pub mod revision;
pub mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use artifact::{Digest, ImageReference};
use crds::component::{Problem, Trigger};
use crds::condition::{self, ConditionType};
use crds::{WasmComponent, WasmComponentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use admit::{Admission, Decision, admit};
pub use apply::Applied;
pub use key::Key;
pub use pin::{Pinned, pinned};
pub use plan::{Changes, Plan, plan, plan_unusable};
pub use resolve::{ResolveError, Resolved};
pub use revision::revision;
pub use validate::{Validated, validate};

use crate::caches::Caches;
use crate::capability_policy::Objections;
use crate::event::Events;
use crate::leader::Gate;
use crate::metrics::Metrics;
use crate::network_policy::{self, sweep};
use crate::node::Nodes;
use crate::port::{Holder, NoPortFree};
use crate::ports::{Ports, PortsError};
use crate::queue::Queue;
use crate::reader::{ReadError, Reader};
use crate::resolver::{Looked, Request, Resolver};
use crate::seal::SealKey;
use crate::tallies::Tallies;
use crate::trust::TrustBook;
use crate::values::References;
use crate::writer::{WriteError, Writer};
use observe::{Steadiness, StepCalls};

/// Pause after a step failed for a reason of the API server's.
const RETRY: Duration = Duration::from_secs(2);
/// How often a component that refers to Secrets or ConfigMaps is looked at
/// again: nothing else tells that one of them was deleted. Reads only.
const REVALIDATE: Duration = Duration::from_secs(60);
/// How soon a component is looked at again whose values are missing, or that does not
/// fit beside the others of its namespace.
const RECHECK: Duration = Duration::from_secs(10);

/// What the driver works with.
pub struct Context {
    /// For the typed APIs of report and Events; writes go through `writer`.
    pub client: Client,
    /// Reads by name.
    pub reader: Reader,
    /// Writes as the leader.
    pub writer: Writer,
    /// What the API server has.
    pub caches: Caches,
    /// The nodes; `None` until they are known, and nothing is driven before.
    pub nodes: watch::Receiver<Option<Nodes>>,
    /// Images.
    pub resolver: Resolver,
    /// What they are judged by.
    pub trust: TrustBook,
    /// Which capability policies refuse which component.
    pub objections: Objections,
    /// What revisions did that take over from each other.
    pub tallies: Tallies,
    /// Components to look at.
    pub queue: Arc<Queue>,
    /// Where NetworkPolicies over the agents' ports are.
    pub network_policies: network_policy::Home,
    /// What is counted.
    pub metrics: Metrics,
    /// Seals revisions.
    pub seal: SealKey,
    /// UID of the namespace `kube-system`, which stands for the cluster.
    pub cluster_uid: String,
    /// Where the ledger of ports is kept.
    pub ports: Ports,
    /// Name of this replica, for Events.
    pub identity: String,
}

/// Why a component could not be brought further just now.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("could not observe")]
    Observe(#[source] ReadError),
    #[error("could not keep the ledger of ports")]
    Ports(#[source] PortsError),
    #[error("could not apply the plan")]
    Apply(#[source] WriteError),
    #[error("could not write the status")]
    Report(#[source] WriteError),
}

/// What the leader remembers between two looks.
struct Memory {
    steadiness: Steadiness,
    step_calls: StepCalls,
    /// When the EndpointSlices of each component were last written.
    slices: BTreeMap<Key, Instant>,
    /// When a wave of each component was stopped last, by uid.
    stops: BTreeMap<String, Instant>,
    events: Events,
}

/// Drives all components until `shutdown`.
///
/// Expected flow: wait for the lead and for caches that have seen everything,
/// then take components from the queue as they become due. Losing the lead stops
/// it at the next write; a new term starts with an empty memory.
pub async fn run(mut context: Context, shutdown: CancellationToken) {
    let gate = context.writer.gate().clone();
    while wait_for_lead(&gate, &context, &shutdown).await {
        let Ok(term) = gate.term(Instant::now()) else {
            continue;
        };
        tracing::info!(
            term = term.number,
            "leading: components are driven from here"
        );
        let mut memory = Memory {
            steadiness: Steadiness::default(),
            step_calls: StepCalls::default(),
            slices: BTreeMap::new(),
            stops: BTreeMap::new(),
            events: Events::new(&context.client, &context.identity),
        };
        if let Err(error) = context
            .ports
            .rebuild(&context.caches, &context.reader)
            .await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the ledger of ports cannot be read; trying again"
            );
            tokio::time::sleep(RETRY).await;
            continue;
        }
        let mut nodes = context.nodes.borrow_and_update().clone();
        context.caches.wake_all(&context.queue);
        while gate
            .term(Instant::now())
            .is_ok_and(|now| now.number == term.number)
        {
            // Each arm may be dropped: the queue keeps what it did not give out.
            tokio::select! {
                key = context.queue.next() => look(&mut context, &mut memory, key).await,
                changed = context.nodes.changed() => {
                    if changed.is_err() { return }
                    let now = context.nodes.borrow_and_update().clone();
                    wake(&context, nodes.as_ref(), now.as_ref());
                    nodes = now;
                }
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = shutdown.cancelled() => return,
            }
        }
        tracing::warn!("not leading any more");
    }
}

/// True once this replica leads and has seen everything; false on shutdown.
async fn wait_for_lead(gate: &Gate, context: &Context, shutdown: &CancellationToken) -> bool {
    loop {
        if gate.term(Instant::now()).is_ok()
            && context.caches.synced()
            && context.nodes.borrow().is_some()
        {
            return !shutdown.is_cancelled();
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
            () = shutdown.cancelled() => return false,
        }
    }
}

/// Looks at every component because of a change of nodes; first at those on the
/// nodes that changed: an endpoint may have to be withdrawn, and that is not to wait
/// for a thousand components that are not concerned.
fn wake(context: &Context, before: Option<&Nodes>, now: Option<&Nodes>) {
    let get = |nodes: Option<&'_ Nodes>, name: &str| nodes.and_then(|of| of.get(name)).cloned();
    for placement in context.caches.placements.all() {
        let name = &placement.spec.node_name;
        if get(before, name) != get(now, name) {
            let namespace = placement.namespace().unwrap_or_default();
            let key = Key::new(namespace, &placement.spec.component_ref.name);
            context.queue.add(key, Duration::ZERO);
        }
    }
    context.caches.wake_all(&context.queue);
}

/// One look at one component; what failed is tried again.
async fn look(context: &mut Context, memory: &mut Memory, key: Key) {
    let started = Instant::now();
    let Some(component) = context.caches.components.get(&key.namespace, &key.name) else {
        forget(context, memory).await;
        return;
    };
    if component.metadata.deletion_timestamp.is_some() {
        return;
    }
    let again = match reconcile(context, memory, &key, component).await {
        Ok(again) => again,
        Err(
            Error::Apply(WriteError::Conflict)
            | Error::Report(WriteError::Conflict | WriteError::NotFound),
        ) => Some(crate::queue::SETTLE),
        Err(error) => {
            tracing::warn!(component = %key, error = &error as &dyn std::error::Error, "a component could not be brought further; trying again");
            context.metrics.failed();
            Some(RETRY)
        }
    };
    context.metrics.reconciled(started.elapsed());
    if let Some(again) = again {
        context.queue.add(key, again);
    }
}

/// Expected flow: validate, observe, plan, apply, report. Returns when to look
/// again though nothing changes.
async fn reconcile(
    context: &mut Context,
    memory: &mut Memory,
    key: &Key,
    component: Arc<WasmComponent>,
) -> Result<Option<Duration>, Error> {
    let Some(nodes) = context.nodes.borrow().clone() else {
        return Ok(Some(RETRY));
    };
    let checked = validate(&component);
    let mut observed = observe::observe(
        component,
        &context.caches,
        &context.reader,
        &context.seal.public(),
        &nodes,
        &mut memory.steadiness,
        checked.as_ref().ok(),
    )
    .await
    .map_err(Error::Observe)?;
    let home = &context.network_policies;
    let policy = crds::names::network_policy_name(&key.namespace, &key.name);
    let existing = context
        .caches
        .network_policies
        .get(&home.namespace, &policy);
    observed.network_policy = Some(network_policy::Standing {
        home: home.clone(),
        existing: existing.map(|policy| Box::new((*policy).clone())),
    });
    let now = Instant::now();
    let status = observed.component.status.as_ref();
    let uid = observed.component.uid().unwrap_or_default();
    observed.calls = (memory.step_calls).observe(key, &uid, status, &context.tallies);
    observed.since_slices = memory
        .slices
        .get(key)
        .map(|written| now.saturating_duration_since(*written));

    let (plan, problems, next_look) = match &checked {
        Ok(validated) => {
            let request = Request::new(&context.caches, &context.trust, validated.clone());
            let Looked {
                resolution,
                reviews,
                again: next_look,
            } = context
                .resolver
                .look(request.running(running(&observed, validated)));
            (observed.resolution, observed.reviews) = (resolution, reviews);
            let stopped = memory.stops.get(&validated.uid);
            observed.since_stop = stopped.map(Instant::elapsed);
            let admission = admit(&observed, validated);
            context.objections.note(key, &admission);
            if may_have_ports(&observed, &admission) {
                observed.ports = allocate(context, validated).await?;
            }
            // Nothing tells that others of the namespace have made room.
            let next_look = soonest([next_look, admission.is_full().then_some(RECHECK)]);
            (plan(&observed, validated, admission), Vec::new(), next_look)
        }
        Err(problems) => (plan_unusable(&observed), problems.clone(), None),
    };
    let again = soonest([
        plan.again,
        next_look,
        revalidate(&observed, checked.as_ref().ok()),
    ]);
    if plan.stopped > 0 {
        // Before it is carried out: a wave that failed half-way was a wave.
        memory.stops.insert(uid, Instant::now());
        let placements = plan.stopped;
        tracing::warn!(component = %key, placements, "stopped by a trust policy with whenRunning: Stop");
    }
    if !plan.slices.is_empty() {
        memory.slices.insert(key.clone(), now);
    }
    let applied = apply::apply(
        plan,
        &observed,
        &context.writer,
        &context.caches,
        &context.seal,
        &context.cluster_uid,
    )
    .await
    .map_err(Error::Apply)?;
    let blocked = applied.blocked().map(|_| RECHECK);
    report(context, memory, key, &observed, &problems, &applied).await?;
    Ok(soonest([again, blocked]))
}

async fn report(
    context: &Context,
    memory: &mut Memory,
    key: &Key,
    observed: &observe::Observed,
    problems: &[Problem],
    applied: &Applied,
) -> Result<(), Error> {
    let status = report::status(observed, problems, applied, Timestamp::now());
    let component = &observed.component;
    let written = report::write(context.client.clone(), &context.writer, component, &status)
        .await
        .map_err(Error::Report)?;
    let Some(written) = written else {
        return Ok(());
    };
    context.caches.components.written(written);
    // Which says how its previews are.
    if let Some(of) = component.preview_of() {
        let of = Key::new(&key.namespace, of);
        context.queue.add(of, crate::queue::SETTLE);
    }
    let before = component.status.as_ref();
    let ready = |status: &WasmComponentStatus| {
        let found = condition::find(&status.conditions, ConditionType::Ready);
        found.map(|found| found.reason.clone())
    };
    // One bad version may follow another, with the same word for both.
    let failed = |status: &WasmComponentStatus| {
        let failure = status.failure.as_ref();
        failure.map(|failure| failure.revision.clone())
    };
    let is_news = before.and_then(ready) != ready(&status)
        || failed(&status).is_some_and(|now| before.and_then(failed) != Some(now));
    if let Some(now) = condition::find(&status.conditions, ConditionType::Ready)
        && is_news
    {
        memory
            .events
            .transition(
                &context.writer,
                key,
                component,
                now,
                failed(&status).as_deref(),
            )
            .await;
    }
    Ok(())
}

/// The images that placements hold, from revisions whose seal holds; that of the current
/// revision, which they would be given again though a policy has stopped it; and what is pinned.
fn running(observed: &observe::Observed, validated: &Validated) -> Vec<(ImageReference, Digest)> {
    let status = observed.component.status.as_ref();
    let current = status.and_then(|status| status.current.as_ref());
    let held: BTreeSet<&str> = observed
        .placements
        .iter()
        .flat_map(|placed| &placed.object.spec.revisions)
        .map(|revision| revision.name.as_str())
        .chain(current.map(|current| current.revision.as_str()))
        .chain(pinned(observed, validated).name())
        .collect();
    let revisions = observed.revisions.iter();
    revisions
        .filter(|revision| held.contains(revision.name.as_str()))
        .filter_map(|revision| revision.image())
        .collect()
}

/// Whether the component is, or ever was, admitted: images that nobody signed, and what
/// no policy admits, must not use up the cluster's ports.
fn may_have_ports(observed: &observe::Observed, admission: &Admission) -> bool {
    let status = observed.component.status.as_ref();
    let resolved_before = status.is_some_and(|status| status.resolved.is_some());
    let refused_before = status.is_some_and(|status| {
        let admitted = condition::find(&status.conditions, ConditionType::Admitted);
        admitted.is_some_and(|admitted| admitted.status == "False")
    });
    let is_admitted = match admission.decision {
        Decision::Admitted { .. } => true,
        Decision::Waiting => resolved_before && !refused_before,
        Decision::Refused(_) => false,
    };
    is_admitted || !observed.revisions.is_empty() || !observed.placements.is_empty()
}

/// The port of each network trigger, allocated and persisted before any
/// placement names it.
async fn allocate(
    context: &mut Context,
    validated: &Validated,
) -> Result<Result<BTreeMap<String, u16>, NoPortFree>, Error> {
    let triggers: Vec<String> = validated
        .triggers
        .iter()
        .flat_map(Trigger::ports)
        .map(|(name, _)| name.to_owned())
        .collect();
    let holder = |trigger: &String| Holder {
        component: validated.key.clone(),
        uid: validated.uid.clone(),
        trigger: trigger.clone(),
    };
    let holders: Vec<Holder> = triggers.iter().map(holder).collect();
    let ports = context.ports.hold(&holders, &context.writer).await;
    match ports {
        Ok(ports) => Ok(Ok(triggers.into_iter().zip(ports).collect())),
        Err(PortsError::NoPortFree(error)) => Ok(Err(error)),
        Err(error) => Err(Error::Ports(error)),
    }
}

/// Lets go of what components held that no longer exist.
async fn forget(context: &mut Context, memory: &mut Memory) {
    let components = context.caches.components.all();
    let keys: BTreeSet<Key> = components
        .iter()
        .map(|component| {
            Key::new(
                component.namespace().unwrap_or_default(),
                component.name_any(),
            )
        })
        .collect();
    let uids: BTreeSet<String> = components
        .iter()
        .filter_map(|component| component.uid())
        .collect();
    let placements: BTreeSet<String> = context
        .caches
        .placements
        .all()
        .iter()
        .filter_map(|placement| placement.uid())
        .collect();
    context.resolver.retain(|key| keys.contains(key));
    context.objections.retain(|key| keys.contains(key));
    memory.steadiness.retain(|uid| placements.contains(uid));
    memory.step_calls.retain(|key| keys.contains(key));
    context.tallies.retain(|key| keys.contains(key));
    memory.events.retain(|key| keys.contains(key));
    memory.slices.retain(|key, _| keys.contains(key));
    memory.stops.retain(|uid, _| uids.contains(uid));
    if let Err(error) = context
        .ports
        .release(|holder| uids.contains(&holder.uid), &context.writer)
        .await
    {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "freed ports could not be written down; they stay held until the next look"
        );
    }
    let unfinished = sweep::sweep(
        &context.caches.network_policies,
        |uid| uids.contains(uid),
        &context.reader,
        &context.writer,
    )
    .await;
    for key in unfinished {
        context.queue.add(key, RETRY);
    }
}

fn revalidate(observed: &observe::Observed, validated: Option<&Validated>) -> Option<Duration> {
    let validated = validated?;
    match observed.values {
        Err(_) => Some(RECHECK),
        Ok(()) => References::from(validated).refer().then_some(REVALIDATE),
    }
}

fn soonest<const N: usize>(times: [Option<Duration>; N]) -> Option<Duration> {
    times.into_iter().flatten().min()
}

/// The controller reference that makes an object follow its component: garbage
/// collection takes it along, and no finalizer is needed.
pub(crate) fn owner(name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: crds::API_VERSION.to_owned(),
        kind: "WasmComponent".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(false),
    }
}

/// The uid of an object's controller.
pub(crate) fn owned_by(metadata: &ObjectMeta) -> Option<&str> {
    let references = metadata.owner_references.as_ref()?;
    references
        .iter()
        .find(|reference| reference.controller == Some(true))
        .map(|reference| reference.uid.as_str())
}

/// Whether the object's controller is the one with this uid: a later component
/// of the same name is another.
pub(crate) fn is_owned_by(metadata: &ObjectMeta, uid: &str) -> bool {
    !uid.is_empty() && owned_by(metadata) == Some(uid)
}
