//! Trust policies: which signatures make which images runnable where. Reads
//! the `spec` of a TrustPolicy as JSON, because this crate must not know
//! Kubernetes' client types. Called by [`crate::verify`], and before any
//! contact with a registry.

mod attestation;
mod authority;
mod decide;
mod document;
mod hearing;
mod pattern;
mod report;
mod selector;
mod version;

use std::collections::{BTreeMap, BTreeSet};

use capability::ImageGlob;
use jiff::Timestamp;

use crate::root::{RootReference, Roots};
use crate::{Digest, ImageReference, Refusal};
use attestation::AttestationDemand;
use authority::Authority;
use selector::Selector;
use version::MinVersion;

pub(crate) use decide::{report_facts, weigh};
pub use report::{AttestationReport, AuthorityReport, PolicyReport};

/// All that a verdict hangs on beside the artifact itself: two judges with
/// equal values of this come to equal verdicts.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// The trust policies of the cluster, those that do not cover the image too.
    pub policies: &'a [Policy],
    /// The trusted roots that policies refer to.
    pub roots: &'a Roots,
    /// The present time: what claims to be signed later is not believed.
    pub now: Timestamp,
}

/// One trust policy, ready to judge.
#[derive(Debug, Clone)]
pub struct Policy {
    name: String,
    images: Vec<ImageGlob>,
    namespaces: Selector,
    mode: Mode,
    when_running: WhenRunning,
    demand: Result<Demand, PolicyError>,
    /// Digest of name and spec.
    fingerprint: Digest,
}

/// What is judged: an image in a namespace.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The image, as its user names it.
    pub image: &'a ImageReference,
    /// The namespace of the component.
    pub namespace: &'a str,
    /// The labels of that namespace.
    pub labels: &'a BTreeMap<String, String>,
}

/// Whether a policy decides, or only says what it would decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// It decides.
    #[default]
    Enforce,
    /// It never admits and never refuses; see [`crate::VerifiedComponent::would_refuse`].
    Audit,
}

/// What happens to what runs already when the policy no longer admits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WhenRunning {
    /// It is reported.
    #[default]
    Report,
    /// It is stopped.
    Stop,
}

/// Why the spec of a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct PolicyError {
    problem: String,
}

/// What a policy asks of the images that it covers. All of it must be met.
#[derive(Debug, Clone)]
struct Demand {
    /// Whose signatures count. With none, nothing satisfies it.
    authorities: Vec<Authority>,
    /// How many distinct keys and identities must have signed.
    minimum_matches: usize,
    attestations: Vec<AttestationDemand>,
    denied: BTreeSet<Digest>,
    min_versions: Vec<MinVersion>,
    not_before: Option<Timestamp>,
    revoked: Vec<Revocation>,
}

/// A key whose signatures count no more.
#[derive(Debug, Clone)]
struct Revocation {
    /// sha256 of the key's SPKI in DER, as hexadecimal digits.
    key_id: String,
    /// Signatures that are proven older go on counting. Absent: none does.
    after: Option<Timestamp>,
}

impl Policy {
    /// Reads the spec of a TrustPolicy. An absent `namespaceSelector` selects
    /// every namespace, as in admission webhooks; absent or empty `images` and
    /// `authorities` match and admit nothing.
    ///
    /// # Errors
    /// When a field is unknown or cannot be used. A policy must not be left
    /// out because of that, which would drop its demand: see
    /// [`Policy::closed`].
    pub fn parse(name: &str, spec: &serde_json::Value) -> Result<Self, PolicyError> {
        document::parse(name, spec)
    }

    /// The stand-in for a policy that [`Policy::parse`] refuses: covers what
    /// the policy covers as far as that can be read, otherwise everything, and
    /// admits nothing. It never stops what runs.
    #[must_use]
    pub fn closed(name: &str, spec: &serde_json::Value, error: PolicyError) -> Self {
        let (images, namespaces) = document::coverage(spec);
        Self {
            name: name.to_owned(),
            images,
            namespaces,
            mode: document::mode(spec),
            when_running: WhenRunning::Report,
            demand: Err(error),
            fingerprint: document::fingerprint(name, spec),
        }
    }

    /// The policy's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it decides.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What happens to what runs already when it no longer admits it.
    #[must_use]
    pub fn when_running(&self) -> WhenRunning {
        self.when_running
    }

    /// The ConfigMap keys that it takes trusted roots from: what [`Roots`] must
    /// hold for it to be satisfied.
    #[must_use]
    pub fn root_references(&self) -> BTreeSet<&RootReference> {
        let demand = self.demand.as_ref().ok();
        demand
            .iter()
            .flat_map(|demand| &demand.authorities)
            .filter_map(|authority| authority.signatory.root_reference())
            .collect()
    }

    /// Whether it cannot be satisfied without the public root: some authority wants a
    /// certificate or a log checked, and names no root of its own.
    #[must_use]
    pub fn needs_public_good(&self) -> bool {
        let Ok(demand) = &self.demand else {
            return false;
        };
        let needs_time = demand.not_before.is_some() || !demand.revoked.is_empty();
        demand.authorities.iter().any(|authority| {
            authority.signatory.root_reference().is_none() && authority.needs_root(needs_time)
        })
    }

    /// Whether the policy speaks about this image in this namespace.
    #[must_use]
    pub fn covers(&self, scope: &Scope<'_>) -> bool {
        let (host, repository) = (scope.image.registry(), scope.image.repository());
        self.namespaces.selects(scope.labels)
            && self
                .images
                .iter()
                .any(|glob| glob.matches(host, repository))
    }
}

impl Trust<'_> {
    /// Stands for the policies that cover `scope` and the roots they refer to:
    /// a verdict that was given under it holds for as long as it stays the same.
    #[must_use]
    pub fn fingerprint(&self, scope: &Scope<'_>) -> Digest {
        let mut parts = Vec::new();
        for policy in self.policies.iter().filter(|policy| policy.covers(scope)) {
            parts.push(policy.fingerprint.to_string());
        }
        // The order in which policies are listed changes no verdict.
        parts.sort_unstable();
        parts.push(self.roots.fingerprint().to_string());
        Digest::of(parts.join("\n").as_bytes())
    }
}

impl PolicyError {
    fn new(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
        }
    }
}

/// Whether a registry may be asked for this image at all: some policy that
/// decides has to cover it, or a user could make the operator talk to any host.
///
/// # Errors
/// When no policy does, or only policies with `mode: Audit`, which never admit.
pub fn admits_contact(policies: &[Policy], scope: &Scope<'_>) -> Result<(), Refusal> {
    let mut audits = Vec::new();
    for policy in policies.iter().filter(|policy| policy.covers(scope)) {
        match policy.mode {
            Mode::Enforce => return Ok(()),
            Mode::Audit => audits.push(policy.name.as_str()),
        }
    }
    let image = scope.image.without_tag().to_string();
    let namespace = scope.namespace.to_owned();
    audits.sort_unstable();
    Err(match audits.as_slice() {
        [] => Refusal::NoPolicyMatches { image, namespace },
        audits => Refusal::OnlyAudited {
            image,
            namespace,
            policies: audits.join(", "),
        },
    })
}
