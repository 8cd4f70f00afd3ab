//! Carrying out a plan: every write in its order, through the leader's gate.
//!
//! Order and why: the revision first, because placements name it; the
//! NetworkPolicy before anybody listens or is sent there; the Service before its
//! slices, because they belong to it; slices before placements go,
//! so that proxies learn of it while the agent still accepts; previews after what
//! they are beside, and expired revisions last. It makes no choices. A conflict means that somebody wrote meanwhile:
//! the plan is dropped and made anew from what is there then.

use crds::Reason;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt;

use super::observe::{Blocked, Observed};
use super::plan::{Changes, NewRevision, Plan};
use super::revision;
use crate::caches::Caches;
use crate::seal::SealKey;
use crate::writer::{WriteError, Writer};

/// A plan that was carried out: the only thing a status derives from.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    plan: Plan,
    blocked: Option<Blocked>,
}

impl Applied {
    /// Says that `plan` was carried out, as far as nothing `blocked` it. For
    /// whoever did so: `apply` below, and `lighterman run` with its files.
    pub fn new(plan: Plan, blocked: Option<Blocked>) -> Self {
        Self { plan, blocked }
    }

    /// What was carried out.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the API server did not let us write.
    pub fn blocked(&self) -> Option<&Blocked> {
        self.blocked.as_ref()
    }
}

/// Carries out `plan`.
///
/// # Errors
/// `WriteError`, except refusals that the component's owner can mend: those end
/// up in `Applied::blocked`, and what does not depend on them is still done.
pub async fn apply(
    plan: Plan,
    observed: &Observed,
    writer: &Writer,
    caches: &Caches,
    seal: &SealKey,
    cluster_uid: &str,
) -> Result<Applied, WriteError> {
    // Without `..`: a new kind of change that nobody applies must not compile.
    let Plan {
        revision: new_revision,
        service,
        slices,
        network_policies,
        placements,
        previews,
        expired_revisions,
        outlook: _,
        stopped: _,
        again: _,
    } = &plan;
    let mut blocked = None;

    if let Some(new) = new_revision
        && let Err(reason) =
            create_revision(new, observed, writer, caches, seal, cluster_uid).await?
    {
        return Ok(Applied::new(plan, Some(reason)));
    }
    let Changes {
        create,
        update,
        delete,
    } = network_policies;
    for policy in create {
        let written = writer.create(policy).await?;
        caches.network_policies.written(written);
    }
    for policy in update {
        let written = writer.replace(policy).await?;
        caches.network_policies.written(written);
    }
    for policy in delete {
        writer.delete(policy).await?;
        caches.network_policies.deleted(policy);
    }
    if let Some(service) = service {
        let written = if service.metadata.uid.is_some() {
            writer.apply(service).await
        } else {
            writer.create(service).await
        };
        match written {
            Ok(service) => caches.services.written(service),
            Err(error) => blocked = Some(mendable(error, "Service", &service.name_any())?),
        }
    }
    let Changes {
        create,
        update,
        delete,
    } = slices;
    for slice in create {
        match writer.create(slice).await {
            Ok(slice) => caches.slices.written(slice),
            Err(error) => blocked = Some(mendable(error, "EndpointSlice", &slice.name_any())?),
        }
    }
    for slice in update {
        caches.slices.written(writer.replace(slice).await?);
    }
    for slice in delete {
        writer.delete(slice).await?;
        caches.slices.deleted(slice);
    }
    let Changes {
        create,
        update,
        delete,
    } = placements;
    for placement in create {
        match writer.create(placement).await {
            Ok(placement) => caches.placements.written(placement),
            Err(error) => {
                blocked = Some(mendable(
                    error,
                    "ComponentPlacement",
                    &placement.name_any(),
                )?)
            }
        }
    }
    for placement in update {
        caches.placements.written(writer.replace(placement).await?);
    }
    for placement in delete {
        writer.delete(placement).await?;
        caches.placements.deleted(placement);
    }
    let Changes {
        create,
        update,
        delete,
    } = previews;
    // Not put into the mirror ahead of the watch: its event is what has them looked at.
    for preview in create {
        if let Err(error) = writer.create(preview).await {
            blocked = Some(mendable(error, "WasmComponent", &preview.name_any())?);
        }
    }
    for preview in update {
        writer.replace(preview).await?;
    }
    for preview in delete {
        writer.delete(preview).await?;
    }
    let namespace = observed.component.namespace().unwrap_or_default();
    for name in expired_revisions {
        if let Some(revision) = caches.revisions.get(&namespace, name) {
            writer.delete(&*revision).await?;
            caches.revisions.deleted(&revision);
        }
    }
    Ok(Applied::new(plan, blocked))
}

/// Seals and writes a revision. One of that name that is not ours was put there
/// by somebody else: it is said, and never run.
async fn create_revision(
    new: &NewRevision,
    observed: &Observed,
    writer: &Writer,
    caches: &Caches,
    seal: &SealKey,
    cluster_uid: &str,
) -> Result<Result<(), Blocked>, WriteError> {
    let object: ControllerRevision =
        revision::object(&new.document, new.number, new.generation, cluster_uid, seal);
    let name = object.name_any();
    match writer.create(&object).await {
        Ok(written) => {
            caches.revisions.written(written);
            Ok(Ok(()))
        }
        Err(WriteError::Conflict) => {
            let namespace = observed.component.namespace().unwrap_or_default();
            let ours = caches
                .revisions
                .get(&namespace, &name)
                .is_some_and(|known| {
                    revision::read(&known, &new.document.component.uid, &seal.public()).is_ok()
                });
            if ours {
                return Ok(Ok(()));
            }
            let message = format!(
                "ControllerRevision {name} exists and was not written by the operator: delete it with `kubectl delete controllerrevision -n {namespace} {name}`"
            );
            Ok(Err(Blocked {
                reason: Reason::RevisionForged,
                message,
            }))
        }
        Err(error) => Ok(Err(mendable(error, "ControllerRevision", &name)?)),
    }
}

/// Refusals that are about the namespace and not about us.
fn mendable(error: WriteError, kind: &str, name: &str) -> Result<Blocked, WriteError> {
    match error {
        WriteError::Forbidden(message) if message.contains("quota") => Ok(Blocked {
            reason: Reason::QuotaExceeded,
            message: format!(
                "{kind} {name} does not fit the namespace's ResourceQuota: raise it or remove objects"
            ),
        }),
        WriteError::Conflict if kind == "Service" => Ok(Blocked {
            reason: Reason::ServiceConflict,
            message: format!(
                "Service {name} exists and is not this component's; delete it, or give the component another metadata.name"
            ),
        }),
        WriteError::Forbidden(_) => Ok(Blocked {
            reason: Reason::ServiceRefused,
            message: format!(
                "the API server refuses {kind} {name}: an admission policy or a missing right; ask the platform team"
            ),
        }),
        error => Err(error),
    }
}
