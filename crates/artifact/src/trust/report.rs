//! What each policy made of an artifact, for people: which authority vouches,
//! and why another does not. Filled in by [`super::decide`], printed by
//! `lighterman verify`, and the source of `status.wouldRefuse`.

use capability::Request;

use super::{Mode, WhenRunning};
use crate::{Refusal, RefusalCode, Signer};

/// One policy's verdict, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyReport {
    /// The policy's name.
    pub policy: String,
    /// Whether it decides.
    pub mode: Mode,
    /// What happens to what runs already when `outcome` is a refusal.
    pub when_running: WhenRunning,
    /// Who vouches to this policy's satisfaction, or why it is not satisfied.
    pub outcome: Result<Vec<Signer>, Refusal>,
    /// What was found for each of its authorities, in the policy's order.
    pub authorities: Vec<AuthorityReport>,
    /// What was found for each of its attestations, in the policy's order.
    pub attestations: Vec<AttestationReport>,
    /// The manifests that its authorities with `mayGrant: Manifest` attested.
    pub manifests: Vec<ManifestReport>,
}

/// What was found for one authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityReport {
    /// The authority's name.
    pub authority: String,
    /// Its signatures that count, each signer once.
    pub signers: Vec<Signer>,
    /// Why other bundles do not count, each reason once.
    pub faults: Vec<String>,
}

/// What was found for one demanded attestation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationReport {
    /// The predicate type that is demanded.
    pub predicate_type: String,
    /// Who attested it with all conditions met.
    pub signer: Option<Signer>,
    /// Why attestations of that type do not count, each reason once.
    pub faults: Vec<String>,
}

/// An attested manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestReport {
    /// Who attested it.
    pub signer: Signer,
    /// What it asks for, or why it cannot be read.
    pub outcome: Result<Request, Refusal>,
}

impl PolicyReport {
    /// Whether this policy is one that stops what runs, now that it refuses it.
    /// What could not be checked, and a policy that cannot be read, never stop anything.
    #[must_use]
    pub fn stops_running(&self) -> bool {
        let refused = self.outcome.as_ref().err().is_some_and(|refusal| {
            refusal.is_verdict() && refusal.code() != RefusalCode::PolicyUnusable
        });
        refused && self.mode == Mode::Enforce && self.when_running == WhenRunning::Stop
    }
}
