//! What control remembers of a revision that it has handed to the worker. Made by `prepare`, kept by
//! the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use artifact::{Digest, VerifiedComponent};
use capability::Effective;
use crds::revision::RevisionDocument;
use jiff::Timestamp;

/// How long a revision without a health check may take to instantiate, in seconds.
const START_TIMEOUT_SECONDS: u32 = 10;

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

    /// The ports that it listens on, if it runs by itself: their names and numbers.
    pub fn listens(&self) -> BTreeMap<String, u16> {
        let run = self.document.run();
        let ports = run.iter().flat_map(|(_, run)| &run.ports);
        ports
            .filter_map(|one| Some((one.name.clone(), u16::try_from(one.port).ok()?)))
            .collect()
    }

    /// How long it may take to start.
    pub fn start_timeout_seconds(&self) -> u32 {
        start_timeout(&self.document)
    }

    /// Whether one and the same authority has admitted both.
    pub fn shares_authority(&self, other: &Self) -> bool {
        !self.authorities.is_disjoint(&other.authorities)
    }
}

/// How long a revision may take to be healthy, in seconds.
pub(super) fn start_timeout(document: &RevisionDocument) -> u32 {
    let seconds = document
        .health
        .as_ref()
        .map(|health| health.start_timeout.0.as_secs().max(1));
    seconds
        .and_then(|seconds| u32::try_from(seconds).ok())
        .unwrap_or(START_TIMEOUT_SECONDS)
}

/// The trust policies and their authorities that have admitted it.
pub(super) fn authorities(component: &VerifiedComponent) -> BTreeSet<(String, String)> {
    let signers = component.signers().iter();
    signers
        .map(|signer| (signer.policy.clone(), signer.authority.clone()))
        .collect()
}
