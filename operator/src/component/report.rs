//! What the status says about a plan that was carried out, and when it is written.
//!
//! `status` is pure and derives from an `Applied` plan only. `write` compares it
//! with what is there, times aside, and writes on transitions only: a component
//! at rest costs no write. Each message names the thing at fault and its mend.

mod steps;

use crds::component::{
    ActiveRevision, PinnedRevision, Problem, ResolvedImage, RolloutFailure, TriggerStatus,
    UpdatingRevision, WasmComponentStatus, WouldRefuse,
};
use crds::condition;
use crds::{WasmComponent, bound, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};

use super::apply::Applied;
use super::observe::Observed;
use super::plan::Outlook;
use super::preview;
use crate::resolver::Resolution;
use crate::rollout::State;
use crate::writer::{WriteError, Writer};

/// The status that follows from an applied plan, at `now`. Conditions whose
/// status did not change keep their times.
pub fn status(
    observed: &Observed,
    problems: &[Problem],
    applied: &Applied,
    now: Timestamp,
) -> WasmComponentStatus {
    let outlook = &applied.plan().outlook;
    let before = observed.component.status.clone().unwrap_or_default();
    let generation = observed.component.metadata.generation;
    let (namespace, name) = (
        observed.component.namespace().unwrap_or_default(),
        observed.component.name_any(),
    );
    let int = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);

    let (failed_digest, failure) = failed(observed, outlook, &before);
    let steps = steps::steps(observed, problems, applied, &before, failure.as_ref());
    let mut conditions: Vec<Condition> = steps::summary(&steps, outlook)
        .iter()
        .chain(&steps)
        .map(|step| {
            condition::condition(
                step.kind,
                step.status,
                step.reason,
                step.message.clone(),
                generation,
                now,
            )
        })
        .collect();
    condition::keep_times(&before.conditions, &mut conditions);

    let (current, updating) = revisions(outlook, &before, now);
    WasmComponentStatus {
        observed_generation: generation,
        resolved: resolved(observed, &before, now),
        url: outlook
            .has_service
            .then(|| url(observed, &name, &namespace)),
        replicas: int(outlook.placed),
        ready_replicas: int(outlook.ready),
        selector: Some(names::selector(&name)),
        current,
        updating,
        failed_digest,
        failure,
        pinned: match &outlook.spec_hash {
            Some(spec_hash) => outlook.pinned.clone().map(|revision| PinnedRevision {
                revision,
                spec_hash: spec_hash.clone(),
            }),
            None => before.pinned,
        },
        triggers: outlook
            .ports
            .iter()
            .map(|(name, port)| TriggerStatus {
                name: name.clone(),
                port: i32::from(*port),
            })
            .collect(),
        previews: preview::statuses(observed),
        capabilities: match &outlook.admission.capabilities {
            Some(known) => Some(known.clone()).filter(|known| *known != Default::default()),
            None => before.capabilities,
        },
        would_refuse: would_refuse(observed, outlook),
        conditions,
    }
}

/// That a revision waits because its rollout is paused, for people.
pub fn paused(revision: &str) -> String {
    format!(
        "revision {revision} waits, because spec.rollout.paused is true; what served before goes on, set it to false to go on with the rollout"
    )
}

/// Writes `status` unless the component already says so. Returns the component
/// as it is afterwards, or `None` if nothing was written.
///
/// # Errors
/// `WriteError`.
pub async fn write(
    client: kube::Client,
    writer: &Writer,
    component: &WasmComponent,
    status: &WasmComponentStatus,
) -> Result<Option<WasmComponent>, WriteError> {
    if component
        .status
        .as_ref()
        .is_some_and(|before| same(before, status))
    {
        return Ok(None);
    }
    let (namespace, name) = (
        component.namespace().unwrap_or_default(),
        component.name_any(),
    );
    let api: Api<WasmComponent> = Api::namespaced(client, &namespace);
    let body = serde_json::json!({
        "apiVersion": crds::API_VERSION,
        "kind": "WasmComponent",
        // The uid fences against a component made anew under the name.
        "metadata": {"namespace": namespace, "name": name, "uid": component.uid()},
        "status": status,
    });
    writer.apply_status(&api, &name, &body).await.map(Some)
}

/// Whether two statuses say the same, whenever they said it.
fn same(before: &WasmComponentStatus, after: &WasmComponentStatus) -> bool {
    let plain = |status: &WasmComponentStatus| WasmComponentStatus {
        conditions: Vec::new(),
        ..status.clone()
    };
    plain(before) == plain(after) && condition::same(&before.conditions, &after.conditions)
}

fn resolved(
    observed: &Observed,
    before: &WasmComponentStatus,
    now: Timestamp,
) -> Option<ResolvedImage> {
    let image = &observed.component.spec.image;
    match &observed.resolution {
        Resolution::Done(admitted) => {
            let digest = admitted.digest.to_string();
            let known = before
                .resolved
                .as_ref()
                .filter(|known| known.image == *image && known.digest == digest);
            let time = known.map_or(Some(Time(now)), |known| known.time.clone());
            Some(ResolvedImage {
                image: image.clone(),
                digest,
                time,
            })
        }
        _ => before.resolved.clone(),
    }
}

/// What policies in audit make of the image. While it is not known, what was said
/// before stands.
fn would_refuse(observed: &Observed, outlook: &Outlook) -> Vec<WouldRefuse> {
    let findings = match &observed.resolution {
        Resolution::Done(admitted) => &admitted.findings,
        Resolution::Failed(failure) if failure.verdict => &failure.findings,
        Resolution::Failed(_) | Resolution::Pending => {
            let before = observed.component.status.as_ref();
            return before.map_or_else(Vec::new, |before| before.would_refuse.clone());
        }
    };
    let mut refusals: Vec<WouldRefuse> = findings
        .iter()
        .filter(|finding| finding.audit)
        .filter_map(|finding| {
            let (reason, message) = finding.refusal.clone()?;
            Some(WouldRefuse {
                policy: finding.policy.clone(),
                reason,
                message: condition::bounded(message, bound::FINDING),
            })
        })
        .chain(outlook.admission.would_refuse.iter().cloned())
        .collect();
    refusals.sort_by(|one, other| one.policy.cmp(&other.policy));
    refusals.truncate(bound::WOULD_REFUSE as usize);
    refusals
}

fn url(observed: &Observed, name: &str, namespace: &str) -> String {
    let triggers = &observed.component.spec.triggers;
    let listened = triggers.iter().find_map(|trigger| {
        let run = trigger.run.as_ref()?;
        run.ports.first()
    });
    if let Some(port) = listened {
        return format!("tcp://{name}.{namespace}.svc:{}", port.port);
    }
    let http = triggers.iter().find(|trigger| trigger.http.is_some());
    let first = http.or(triggers.first());
    match first.and_then(|trigger| trigger.port()) {
        Some(80) | None => format!("http://{name}.{namespace}.svc"),
        Some(port) => format!("http://{name}.{namespace}.svc:{port}"),
    }
}

/// The image that is not tried again, and why.
fn failed(
    observed: &Observed,
    outlook: &Outlook,
    before: &WasmComponentStatus,
) -> (Option<String>, Option<RolloutFailure>) {
    let remembered = || (before.failed_digest.clone(), before.failure.clone());
    // A spec that cannot be used asks for nothing yet.
    let Some(spec_hash) = &outlook.spec_hash else {
        return remembered();
    };
    if let (Some(cause), Some(asked)) = (&outlook.cause, &outlook.asked) {
        let failure = RolloutFailure {
            revision: asked.name.clone(),
            spec_hash: spec_hash.clone(),
            reason: cause.reason(),
            message: condition::bounded(cause.to_string(), bound::FINDING),
        };
        return (Some(asked.digest.clone()), Some(failure));
    }
    let is_known = matches!(observed.resolution, Resolution::Done(_));
    let known = before.failure.as_ref();
    let is_same_spec = known.is_some_and(|failure| failure.spec_hash == *spec_hash);
    match outlook.state {
        Some(State::Rest) if is_known => (None, None),
        // While the registry is away, what serves stands in for what is asked for.
        _ if is_same_spec => remembered(),
        _ => (None, None),
    }
}

/// The revision that serves, and the one that is taking over.
fn revisions(
    outlook: &Outlook,
    before: &WasmComponentStatus,
    now: Timestamp,
) -> (Option<ActiveRevision>, Option<UpdatingRevision>) {
    let int = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let Some(target) = &outlook.target else {
        return (before.current.clone(), before.updating.clone());
    };
    let active = || ActiveRevision {
        revision: target.name.clone(),
        digest: target.digest.clone(),
        version: target.version.clone(),
        signer: target.signer.clone(),
    };
    let was_current = before
        .current
        .as_ref()
        .is_some_and(|current| current.revision == target.name);
    let is_gone_back = outlook.has_failed() && outlook.asked.as_ref() != Some(target);
    let has_taken_over = outlook.is_complete() || outlook.has_taken_over();
    let keeps_failed = outlook.has_failed() && !is_gone_back;
    if was_current || is_gone_back || (has_taken_over && !keeps_failed) {
        return (Some(active()), None);
    }
    let earlier = before
        .updating
        .as_ref()
        .filter(|updating| updating.revision == target.name);
    let progress = outlook.state.and_then(State::progress).unwrap_or_default();
    let reached = int(progress.reached);
    // Absent once there are no steps: a canary that is written later does not begin in the middle.
    let step = match outlook.share {
        Some(share) => Some(i32::try_from(share.step.saturating_sub(1)).unwrap_or(i32::MAX)),
        None if outlook.held => earlier.and_then(|earlier| earlier.step),
        None => None,
    };
    let since = match outlook.state {
        Some(State::Advancing(_)) => earlier
            .filter(|earlier| earlier.reached_nodes == reached && earlier.step == step)
            .and_then(|earlier| earlier.since.clone())
            .or(Some(Time(now))),
        _ => None,
    };
    let updating = UpdatingRevision {
        revision: target.name.clone(),
        digest: target.digest.clone(),
        version: target.version.clone(),
        signer: target.signer.clone(),
        prepared_nodes: int(outlook.progress.prepared),
        serving_nodes: int(outlook.progress.serving),
        nodes: int(outlook.progress.nodes),
        reached_nodes: reached,
        step,
        weight: outlook.share.map(|share| int(share.weight)),
        since,
    };
    let current = before.current.clone().or_else(|| {
        let (name, digest) = outlook
            .serving
            .clone()
            .filter(|(name, _)| *name != target.name)?;
        Some(ActiveRevision {
            revision: name,
            digest,
            version: None,
            signer: None,
        })
    });
    (current, Some(updating))
}
