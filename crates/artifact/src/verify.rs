//! The one way from bytes to something that may be compiled. Called by the
//! operator after a pull and by every node before it compiles; takes all that
//! a check needs, because a node must not take another's word for any of it.

use std::fmt;

use bytes::Bytes;
use capability::Request;
use jiff::Timestamp;

use crate::component::{self, Facts};
use crate::evidence::Evidence;
use crate::limits::BUNDLES_MAX;
use crate::manifest::{self, Descriptor};
use crate::trust::{self, Mode, PolicyReport, Scope, Trust};
use crate::{Digest, Refusal};

/// All that a check needs, and all that is handed from the operator to nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// The OCI manifest: what signatures cover.
    pub manifest: Bytes,
    /// The OCI config.
    pub config: Bytes,
    /// The component.
    pub layer: Bytes,
    /// sigstore bundles, as found beside the manifest, and signatures of cosign 2
    /// as [`crate::signature::simple_signing`] wraps them.
    pub bundles: Vec<Bytes>,
}

/// A component whose every byte hangs by digests from a manifest that the
/// trust policies admit. Only [`verify`] makes one.
#[derive(Debug, Clone)]
pub struct VerifiedComponent {
    digest: Digest,
    parcel: Parcel,
    signers: Vec<Signer>,
    would_refuse: Vec<(String, Refusal)>,
    facts: Facts,
    requests: Vec<Request>,
}

/// Who vouched for a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The trust policy that was satisfied.
    pub policy: String,
    /// Its authority that the signature is by.
    pub authority: String,
    /// What the signature was made with.
    pub by: SignedBy,
    /// When a log or a timestamp authority saw the signature; the earliest of
    /// what was verified.
    pub signed_at: Option<Timestamp>,
}

/// What a signature was made with. Two are different signers when these differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignedBy {
    /// A key that the policy names.
    Key {
        /// sha256 of the key's SPKI in DER, as hexadecimal digits.
        key_id: String,
    },
    /// A short-lived certificate for an identity.
    Identity {
        /// The OIDC issuer that vouched for the identity.
        issuer: String,
        /// The identity: the certificate's subject alternative name.
        subject: String,
    },
}

/// A verdict with all that it rests on. [`verify`] is the short form.
#[derive(Debug)]
pub struct Judgement {
    /// The component, or the first thing that is wrong.
    pub outcome: Result<VerifiedComponent, Refusal>,
    /// What each policy that covers the image made of it, those with `mode:
    /// Audit` too. Empty when the bytes themselves were refused before.
    pub policies: Vec<PolicyReport>,
}

/// Checks that `parcel` is the artifact that `digest` names, that every policy
/// which covers it is satisfied, and that it is a valid component.
///
/// # Errors
/// The first thing that is wrong. Nothing is admitted when nothing is asked:
/// no policies, or policies without authorities, refuse.
pub fn verify(
    scope: &Scope<'_>,
    digest: &Digest,
    parcel: &Parcel,
    trust: &Trust<'_>,
) -> Result<VerifiedComponent, Refusal> {
    judge(scope, digest, parcel, trust).outcome
}

/// As [`verify`], with what every policy found.
#[must_use]
pub fn judge(scope: &Scope<'_>, digest: &Digest, parcel: &Parcel, trust: &Trust<'_>) -> Judgement {
    let mut policies = Vec::new();
    let outcome = judge_into(scope, digest, parcel, trust, &mut policies);
    Judgement { outcome, policies }
}

fn judge_into(
    scope: &Scope<'_>,
    digest: &Digest,
    parcel: &Parcel,
    trust: &Trust<'_>,
    reports: &mut Vec<PolicyReport>,
) -> Result<VerifiedComponent, Refusal> {
    trust::admits_contact(trust.policies, scope)?;
    manifest::check_size(&parcel.manifest)?;
    check_digest("manifest", "the image's digest", digest, &parcel.manifest)?;
    let layout = manifest::read(&parcel.manifest)?;
    check_part("config", &layout.config, &parcel.config)?;
    check_part("wasm layer", &layout.layer, &parcel.layer)?;
    let evidence = read_evidence(&parcel.bundles)?;
    *reports = trust::weigh(trust, scope, digest, &evidence);
    // Hostile bytes are not parsed before somebody trusted has signed them.
    first_refusal(reports)?;
    let facts = component::inspect(&parcel.layer)?;
    trust::report_facts(trust, scope, &facts, reports);
    first_refusal(reports)?;
    let requests = requests(&facts, reports);
    let (mut signers, mut would_refuse) = (Vec::new(), Vec::new());
    for report in reports.iter() {
        match (report.mode, &report.outcome) {
            (Mode::Enforce, outcome) => signers.extend(outcome.iter().flatten().cloned()),
            (Mode::Audit, Err(refusal)) => {
                would_refuse.push((report.policy.clone(), refusal.clone()));
            }
            (Mode::Audit, Ok(_)) => {}
        }
    }
    Ok(VerifiedComponent {
        digest: *digest,
        parcel: parcel.clone(),
        signers,
        would_refuse,
        facts,
        requests,
    })
}

/// The component's own manifest first, and those that were attested where policies decide.
fn requests(facts: &Facts, reports: &[PolicyReport]) -> Vec<Request> {
    let deciding = reports.iter().filter(|report| report.mode == Mode::Enforce);
    let attested = deciding
        .flat_map(|report| &report.manifests)
        .filter_map(|manifest| manifest.outcome.as_ref().ok());
    let mut requests: Vec<Request> = Vec::new();
    for request in facts.request.iter().chain(attested) {
        // Several policies may name the same authority.
        if !requests.contains(request) {
            requests.push(request.clone());
        }
    }
    requests
}

fn first_refusal(reports: &[PolicyReport]) -> Result<(), Refusal> {
    let refusals = || {
        reports
            .iter()
            .filter(|report| report.mode == Mode::Enforce)
            .filter_map(|report| report.outcome.as_ref().err())
    };
    // A verdict says more than that something could not be checked.
    match refusals()
        .find(|refusal| refusal.is_verdict())
        .or_else(|| refusals().next())
    {
        Some(refusal) => Err(refusal.clone()),
        None => Ok(()),
    }
}

impl Judgement {
    /// Whether what runs already is to be stopped: a policy that decides refuses
    /// it and says `whenRunning: Stop`.
    #[must_use]
    pub fn stops_running(&self) -> bool {
        self.policies.iter().any(PolicyReport::stops_running)
    }
}

impl VerifiedComponent {
    /// The digest of the manifest: the component's identity.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The component.
    #[must_use]
    pub fn wasm(&self) -> &Bytes {
        &self.parcel.layer
    }

    /// Who vouched for it: for each policy that covers it, as many as it demands
    /// at least.
    #[must_use]
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// What policies with `mode: Audit` would refuse it for, with their names.
    #[must_use]
    pub fn would_refuse(&self) -> &[(String, Refusal)] {
        &self.would_refuse
    }

    /// What it says of itself.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What it asks for: the manifest in it, and those that authorities with `mayGrant:
    /// Manifest` attested. All of them hold together; without any, nothing is known.
    #[must_use]
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// What was checked.
    #[must_use]
    pub fn parcel(&self) -> &Parcel {
        &self.parcel
    }
}

impl fmt::Display for SignedBy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { key_id } => write!(formatter, "key {key_id}"),
            Self::Identity { issuer, subject } => {
                write!(formatter, "{subject} (vouched for by {issuer})")
            }
        }
    }
}

fn check_part(part: &'static str, descriptor: &Descriptor, content: &[u8]) -> Result<(), Refusal> {
    const NAMED_BY: &str = "the manifest";
    if content.len() as u64 != descriptor.size {
        return Err(Refusal::DigestMismatch {
            part,
            named_by: NAMED_BY,
            expected: format!("{} bytes", descriptor.size),
            actual: format!("{} bytes", content.len()),
        });
    }
    check_digest(part, NAMED_BY, &descriptor.digest, content)
}

fn check_digest(
    part: &'static str,
    named_by: &'static str,
    expected: &Digest,
    content: &[u8],
) -> Result<(), Refusal> {
    let actual = Digest::of(content);
    if actual == *expected {
        return Ok(());
    }
    Err(Refusal::DigestMismatch {
        part,
        named_by,
        expected: expected.to_string(),
        actual: actual.to_string(),
    })
}

fn read_evidence(bundles: &[Bytes]) -> Result<Vec<Evidence>, Refusal> {
    if bundles.len() > BUNDLES_MAX {
        return Err(Refusal::TooLarge {
            part: "list of signatures",
            actual: format!("{} bundles", bundles.len()),
            limit: format!("{BUNDLES_MAX} bundles"),
            mend: "remove old signatures and attestations from the repository, or push the component again and sign it once",
        });
    }
    Ok(bundles
        .iter()
        .map(|bundle| Evidence::read(bundle))
        .collect())
}
