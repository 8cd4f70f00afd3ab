//! The two edges of the agent that differ between a cluster and a developer's machine:
//! where documents, bytes and values come from ([`Source`]), and who is told how the
//! placements are doing ([`Sink`]). The reconcile loop knows only these traits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use artifact::root::{RootReference, Roots};
use artifact::trust::Policy;
use artifact::{ImageReference, Parcel};
use capability::Ceiling;
use crds::handover::{DenialReport, ParcelIndex, TallyReport, Values};
use crds::placement::ComponentPlacementStatus;
use crds::revision::{ComponentIdentity, RevisionDocument, Seal};
use crds::{Reason, WasmComponentSpec};
use futures::future::BoxFuture;
use k8s_openapi::jiff::Timestamp;

use crate::desired::PlacementKey;

/// A revision as its source offered it; nothing of it is believed before
/// `control::validate` has seen it.
#[derive(Clone, Debug)]
pub struct Offered {
    /// What the revision says.
    pub document: RevisionDocument,
    /// The operator's signature; absent when the operator's steps ran in this very process.
    pub seal: Option<Seal>,
    /// The digests of the parcel; absent when the source holds the parcel itself.
    pub parcel: Option<ParcelIndex>,
}

/// What a node reads itself to judge a revision, so that the word of the operator is not enough.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The trust policies and roots.
    pub rules: Rules,
    /// The labels of the component's namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// `spec.image` of the component as this node reads it.
    pub image: ImageReference,
    /// The whole spec of the component as this node reads it: what its revisions may be given.
    pub spec: Box<WasmComponentSpec>,
    /// Who may have written the revision.
    pub origin: Origin,
    /// The ceilings of the namespace: what its components may be granted. None at all: nothing.
    pub ceilings: Vec<Ceiling>,
}

/// Trust policies and trusted roots, ready to judge by. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    policies: Arc<Vec<Policy>>,
    roots: Arc<Roots>,
}

/// Who may have written a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The operator of a cluster: a seal is required and checked with this key.
    Operator {
        /// The uid of the `kube-system` namespace, which the seal covers.
        cluster_uid: String,
        /// The raw Ed25519 public key of the operator.
        seal_key: Vec<u8>,
    },
    /// The operator's pure steps ran in this process: no network was crossed, no seal exists.
    SameProcess,
}

/// Why a source had nothing to offer.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nobody answered, or not in time; what runs goes on, and it is tried again.
    #[error("the hand-over cannot be reached: {0}")]
    Unreachable(String),
    /// The other side says: not yet, ask again.
    #[error("the hand-over is not ready yet: {0}")]
    NotYet(String),
    /// The other side refuses this node or does not know the thing.
    #[error("{message}")]
    Refused {
        /// The reason the other side gave.
        reason: Reason,
        /// Its words, made safe for a status.
        message: String,
    },
    /// The answer is not what was asked for.
    #[error("the hand-over answered with something else: {0}")]
    Malformed(String),
    /// The values of this revision are neither on this node nor to be had.
    #[error(
        "the secrets of this component are not on this node and the operator cannot be reached: \
         they come back with the operator"
    )]
    SecretsUnavailable,
    /// The disk of the node is full.
    #[error("the state directory has no space left: {0}")]
    NoSpace(String),
}

/// A report that did not arrive.
#[derive(Debug, thiserror::Error)]
#[error("the status of {placement} could not be written: {message}")]
pub struct ReportError {
    /// The placement whose status it was.
    pub placement: PlacementKey,
    /// What went wrong.
    pub message: String,
}

/// Where documents, bytes and values come from.
pub trait Source: Send + Sync + 'static {
    /// The document of one revision.
    fn revision<'a>(
        &'a self,
        namespace: &'a str,
        revision: &'a str,
    ) -> BoxFuture<'a, Result<Offered, SourceError>>;

    /// Manifest, config, layer and signature bundles of an offered revision.
    fn parcel<'a>(&'a self, offered: &'a Offered) -> BoxFuture<'a, Result<Parcel, SourceError>>;

    /// The resolved environment and configuration of a revision that was accepted.
    fn values<'a>(
        &'a self,
        document: &'a RevisionDocument,
    ) -> BoxFuture<'a, Result<Values, SourceError>>;

    /// What this node itself knows to judge the component by.
    fn trust<'a>(
        &'a self,
        component: &'a ComponentIdentity,
    ) -> BoxFuture<'a, Result<Trust, SourceError>>;

    /// Told that this node has admitted a revision by what is known now. A source whose
    /// policies can change keeps that, for [`Source::earlier_trust`].
    fn admitted<'a>(
        &'a self,
        _namespace: &'a str,
        _revision: &'a str,
        _trust: &'a Trust,
    ) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// What a revision that is placed here was admitted by before. With it, code that runs
    /// survives a restart after a policy was lost or tightened; it is never asked for code that
    /// this node has not admitted.
    fn earlier_trust<'a>(
        &'a self,
        _namespace: &'a str,
        _revision: &'a str,
        _now: &'a Trust,
    ) -> BoxFuture<'a, Option<Trust>> {
        Box::pin(std::future::ready(None))
    }
}

/// Who is told how a placement is doing, on transitions only, what its components were denied,
/// and what its revisions did while one takes over from another.
pub trait Sink: Send + Sync + 'static {
    /// Tells the status of one placement.
    fn report<'a>(
        &'a self,
        placement: &'a PlacementKey,
        status: &'a ComponentPlacementStatus,
    ) -> BoxFuture<'a, Result<(), ReportError>>;

    /// Tells what was denied since the last time. A sink whose reader has the audit records
    /// before him needs none of it.
    fn denials<'a>(&'a self, _report: &'a DenialReport) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Tells what revisions did that take over from each other. A sink that judges no rollouts
    /// needs none of it.
    fn tallies<'a>(&'a self, _report: &'a TallyReport) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Rules {
    /// Every `TrustPolicy`, and the roots that they refer to.
    pub fn new(policies: Vec<Policy>, roots: Roots) -> Self {
        Self {
            policies: Arc::new(policies),
            roots: Arc::new(roots),
        }
    }

    /// The policies.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The ConfigMap keys that hold the roots of these policies.
    pub fn root_references(&self) -> BTreeSet<RootReference> {
        let policies = self.policies.iter();
        policies
            .flat_map(Policy::root_references)
            .cloned()
            .collect()
    }

    /// What a judgement made now hangs on.
    pub fn trust(&self) -> artifact::trust::Trust<'_> {
        artifact::trust::Trust {
            policies: &self.policies,
            roots: &self.roots,
            now: Timestamp::now(),
        }
    }
}

impl SourceError {
    /// The reason a status shows.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreachable(_) => Reason::HandOverUnreachable,
            Self::NotYet(_) => Reason::HandOverUnreachable,
            Self::Refused { reason, .. } => *reason,
            Self::Malformed(_) => Reason::DigestMismatch,
            Self::SecretsUnavailable => Reason::SecretsUnavailable,
            Self::NoSpace(_) => Reason::NoSpace,
        }
    }
}
