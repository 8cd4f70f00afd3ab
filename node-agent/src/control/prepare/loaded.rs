//! What control remembers of a revision that it has handed to the worker. Made by `prepare`, kept by
//! the loop.

use std::collections::BTreeSet;
use std::sync::Arc;

use artifact::{Digest, VerifiedComponent};
use capability::Effective;
use crds::revision::RevisionDocument;
use jiff::Timestamp;

/// What control remembers of a revision that it has handed to the worker.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it is.
    pub document: Arc<RevisionDocument>,
    /// Who has signed it.
    pub signers: String,
    /// The trust policies and their authorities that admitted it.
    pub authorities: BTreeSet<(String, String)>,
    /// When: what it does is counted from then on.
    pub since: Timestamp,
    /// What it may do.
    pub effective: Effective,
    /// Stands for what it was given last.
    pub given: Digest,
}

impl Loaded {
    /// How long its requests may take to end, once it has to go.
    pub fn grace_seconds(&self) -> u32 {
        self.document.termination_grace_period_seconds
    }

    /// Whether one and the same authority has admitted both.
    pub fn shares_authority(&self, other: &Self) -> bool {
        !self.authorities.is_disjoint(&other.authorities)
    }
}

/// The trust policies and their authorities that have admitted it.
pub(super) fn authorities(component: &VerifiedComponent) -> BTreeSet<(String, String)> {
    let signers = component.signers().iter();
    signers
        .map(|signer| (signer.policy.clone(), signer.authority.clone()))
        .collect()
}
