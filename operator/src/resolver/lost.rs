//! What runs though its bytes are in the content cache no more. A policy that stops what
//! runs must reach it, too: its repository is asked once more, and what the policies make
//! of the answer is remembered here, because a refused parcel is kept nowhere else.
//!
//! Only where some policy says `whenRunning: Stop`: everything else about old revisions
//! is worth no pull. Bounded in number and, by the pause, in how often a registry is asked.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use artifact::trust::{Mode, Policy, WhenRunning};
use artifact::{Digest, ImageReference};
use tokio::time::Instant;

use super::request::Request;
use super::verdict::Failure;
use crate::content::ParcelName;

/// How long an answer holds, and how long a registry that gave none is left alone.
const AGAIN: Duration = Duration::from_secs(600);
/// Most that is remembered; what was asked for first goes first.
const MOST: usize = 4_096;

/// What an answer hangs on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Case {
    parcel: ParcelName,
    namespace: String,
    trust: Digest,
}

/// Answers, and questions that are under way.
#[derive(Debug, Default)]
pub(super) struct Lost {
    shelf: Mutex<BTreeMap<Case, (Instant, Option<Failure>)>>,
}

/// What is known of something lost.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing, and nobody asks: the caller has to.
    Ask(Case),
    /// Nothing yet, or nothing that would stop it.
    Nothing,
    /// The policies refuse it.
    Refused(Failure),
}

impl Lost {
    /// What is known of `digest`; nothing where no policy would stop it.
    pub(super) fn look(&self, request: &Request, image: &ImageReference, digest: &Digest) -> Found {
        let scope = request.scope_of(image);
        let stops = |policy: &Policy| {
            policy.mode() == Mode::Enforce
                && policy.when_running() == WhenRunning::Stop
                && policy.covers(&scope)
        };
        if !request.rules.policies().iter().any(stops) {
            return Found::Nothing;
        }
        let case = Case {
            parcel: ParcelName::new(image, digest),
            namespace: request.validated.key.namespace.clone(),
            trust: request.rules.trust().fingerprint(&scope),
        };
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, answer)) = shelf.get(&case)
            && asked.elapsed() < AGAIN
        {
            return answer.clone().map_or(Found::Nothing, Found::Refused);
        }
        if shelf.len() >= MOST {
            let oldest = shelf.iter().min_by_key(|(_, (asked, _))| *asked);
            if let Some(oldest) = oldest.map(|(case, _)| case.clone()) {
                shelf.remove(&oldest);
            }
        }
        // Whoever looks meanwhile need not ask, too.
        shelf.insert(case.clone(), (Instant::now(), None));
        Found::Ask(case)
    }

    /// Remembers that the policies refuse it.
    pub(super) fn refused(&self, case: Case, failure: Failure) {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.insert(case, (Instant::now(), Some(failure)));
    }
}
