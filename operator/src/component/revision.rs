//! From a validated component and a digest to its revision: the document, and
//! the sealed `ControllerRevision` that carries it.
//!
//! Pure. The same component and digest give the same document, whoever asks and
//! whenever. Called by plan, apply, the hand-over and `lighterman run`.

use std::collections::BTreeMap;

use artifact::{Digest, ImageReference};
use capability::Request;
use crds::names;
use crds::revision::{ComponentIdentity, RevisionDocument, Seal};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt;

use super::{Validated, owner};
use crate::seal::{SealKey, SealPublicKey};

/// A revision that the API server has, with a seal that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownRevision {
    /// Name of the ControllerRevision.
    pub name: String,
    /// Its number: higher is later.
    pub number: i64,
    /// What it says.
    pub document: RevisionDocument,
    /// That the operator said so.
    pub seal: Seal,
}

/// Why a ControllerRevision is not taken for one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// It has no document, or one that cannot be read.
    #[error("its data is no revision document")]
    Unreadable,
    /// It has no seal, or one that does not hold.
    #[error("its seal is missing or does not hold")]
    Unsealed,
    /// It speaks of another component, or its name is not that of its content.
    #[error("it is not about the component it belongs to")]
    Misplaced,
}

impl KnownRevision {
    /// The image it was made from and its digest; `None` if it names neither.
    pub fn image(&self) -> Option<(ImageReference, Digest)> {
        let image = self.document.image.parse().ok()?;
        Some((image, self.document.digest.parse().ok()?))
    }
}

/// What is to be run of `validated`, with the bytes of `digest`, whose manifests ask for
/// `requests`, in whatever order.
pub fn revision(validated: &Validated, digest: &Digest, requests: &[Request]) -> RevisionDocument {
    RevisionDocument {
        version: RevisionDocument::VERSION,
        component: ComponentIdentity {
            namespace: validated.key.namespace.clone(),
            name: validated.key.name.clone(),
            uid: validated.uid.clone(),
        },
        image: validated.image.without_tag().to_string(),
        digest: digest.to_string(),
        args: validated.args.clone(),
        env: validated.env.clone(),
        env_from: validated.env_from.clone(),
        config: validated.config.clone(),
        volumes: validated.volumes.clone(),
        capabilities: validated.capabilities.clone(),
        audit: validated.audit,
        requests: in_order(requests),
        triggers: validated.triggers.iter().map(Into::into).collect(),
        limits: validated.limits.clone(),
        health: validated.health.clone(),
        termination_grace_period_seconds: validated.rollout.termination_grace_period_seconds,
    }
}

/// Requests in an order that does not depend on who sent them when.
fn in_order(requests: &[Request]) -> Vec<Request> {
    let mut ordered = requests.to_vec();
    ordered.sort_by_cached_key(|request| serde_json::to_string(request).unwrap_or_default());
    ordered
}

/// The ControllerRevision of a document, sealed for the cluster.
pub fn object(
    document: &RevisionDocument,
    number: i64,
    generation: i64,
    cluster_uid: &str,
    key: &SealKey,
) -> ControllerRevision {
    let seal = Seal::new(
        cluster_uid,
        generation,
        &key.sign(&document.seal_statement(cluster_uid, generation)),
    );
    let identity = &document.component;
    ControllerRevision {
        metadata: ObjectMeta {
            namespace: Some(identity.namespace.clone()),
            name: Some(document.revision_name()),
            labels: Some(BTreeMap::from([
                (names::COMPONENT_LABEL.to_owned(), identity.name.clone()),
                (
                    names::REVISION_HASH_LABEL.to_owned(),
                    document.hash().to_string(),
                ),
                (
                    names::MANAGED_BY_LABEL.to_owned(),
                    names::MANAGED_BY.to_owned(),
                ),
            ])),
            annotations: Some(BTreeMap::from([(
                names::SEAL_ANNOTATION.to_owned(),
                serde_json::to_string(&seal).unwrap_or_default(),
            )])),
            owner_references: Some(vec![owner(&identity.name, &identity.uid)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(document.canonical())),
        revision: number,
    }
}

/// Reads a ControllerRevision back. One that a tenant wrote by hand, or changed,
/// is not ours: it must neither run nor be gone back to.
///
/// # Errors
/// `NotOurs`.
pub fn read(
    object: &ControllerRevision,
    uid: &str,
    key: &SealPublicKey,
) -> Result<KnownRevision, NotOurs> {
    let data = object.data.as_ref().ok_or(NotOurs::Unreadable)?;
    let document: RevisionDocument =
        serde_json::from_value(data.0.clone()).map_err(|_| NotOurs::Unreadable)?;
    let seal: Seal = object
        .annotations()
        .get(names::SEAL_ANNOTATION)
        .and_then(|text| serde_json::from_str(text).ok())
        .ok_or(NotOurs::Unsealed)?;
    let statement = document.seal_statement(&seal.cluster_uid, seal.generation);
    if !seal
        .signature_bytes()
        .is_some_and(|signature| key.verifies(&statement, &signature))
    {
        return Err(NotOurs::Unsealed);
    }
    let name = object.name_any();
    let placed = document.component.uid == uid
        && Some(&document.component.namespace) == object.metadata.namespace.as_ref()
        && document.revision_name() == name;
    if !placed {
        return Err(NotOurs::Misplaced);
    }
    Ok(KnownRevision {
        name,
        number: object.revision,
        document,
        seal,
    })
}
