//! What the status says about a plan that was carried out, and when it is written.
//!
//! `status` is pure and derives from an `Applied` plan only. `write` compares it
//! with what is there, times aside, and writes on transitions only: a component
//! at rest costs no write. Each message names the thing at fault and its mend.

mod steps;

use crds::component::{
    ActiveRevision, Problem, ResolvedImage, RolloutFailure, TriggerStatus, UpdatingRevision,
    WasmComponentStatus, WouldRefuse,
};
use crds::condition;
use crds::{WasmComponent, bound, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};

use super::apply::Applied;
use super::observe::Observed;
use super::plan::{Outlook, Pinned};
use crate::resolver::Resolution;
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

    let steps = steps::steps(observed, problems, applied, &before);
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

    let (current, updating) = revisions(outlook, &before);
    let (failed_digest, failure) = failure(outlook, &before);
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
        pinned: match &outlook.pin {
            Pinned::No => None,
            Pinned::Holds(pinned) | Pinned::Unknown(pinned) => Some(pinned.clone()),
        },
        triggers: outlook
            .ports
            .iter()
            .map(|(name, port)| TriggerStatus {
                name: name.clone(),
                port: i32::from(*port),
            })
            .collect(),
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
    let http = observed
        .component
        .spec
        .triggers
        .iter()
        .find_map(|trigger| trigger.http.as_ref());
    match http.map(|http| http.port) {
        Some(80) | None => format!("http://{name}.{namespace}.svc"),
        Some(port) => format!("http://{name}.{namespace}.svc:{port}"),
    }
}

/// The digest that failed, and how. What is not judged now stays as it was said.
fn failure(
    outlook: &Outlook,
    before: &WasmComponentStatus,
) -> (Option<String>, Option<RolloutFailure>) {
    if let Some(rollback) = &outlook.rollback {
        let failure = rollback.failure.clone();
        return (Some(rollback.digest.clone()), Some(failure));
    }
    let is_judged = outlook.target.is_some() && !outlook.is_held;
    match is_judged {
        true => (None, None),
        false => (before.failed_digest.clone(), before.failure.clone()),
    }
}

/// The revision that serves, and the one that is taking over.
fn revisions(
    outlook: &Outlook,
    before: &WasmComponentStatus,
) -> (Option<ActiveRevision>, Option<UpdatingRevision>) {
    let int = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let Some(target) = &outlook.target else {
        return (before.current.clone(), before.updating.clone());
    };
    if outlook.rollback.is_some() {
        return (before.current.clone(), None);
    }
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
    if outlook.is_complete() || was_current {
        return (Some(active()), None);
    }
    let updating = UpdatingRevision {
        revision: target.name.clone(),
        digest: target.digest.clone(),
        version: target.version.clone(),
        signer: target.signer.clone(),
        prepared_nodes: int(outlook.progress.prepared),
        serving_nodes: int(outlook.progress.serving),
        nodes: int(outlook.progress.nodes),
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
