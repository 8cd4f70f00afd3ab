//! Parcels judged by the policies of the moment, and verdicts remembered for as long
//! as what they hang on stays the same.
//!
//! A verdict hangs on the repository and the digest, the signatures beside it, the
//! namespace, and the fingerprint of policies and roots. So a changed policy has
//! everything that it covers judged again without asking any registry, and a
//! hundred components of one image are judged once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use artifact::trust::Scope;
use artifact::{Digest, ImageReference, Parcel};
use crds::Reason;

use super::request::Request;
use super::verdict::{Admitted, Failure, verdict};
use crate::content::{ContentStore, ParcelName};

/// Most verdicts that are remembered: two for each parcel of a full cache.
const MOST: usize = 20_000;

/// What a verdict hangs on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    pub(super) parcel: ParcelName,
    /// Of the digests of its signatures.
    signatures: Digest,
    namespace: String,
    trust: Digest,
}

/// Verdicts by what they hang on.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    verdicts: BTreeMap<Question, (u64, Verdict)>,
    uses: u64,
}

pub(super) type Verdict = Result<Admitted, Failure>;

impl Question {
    /// What `request` asks about a parcel that is here; `None` if it is not.
    pub(super) fn new(
        request: &Request,
        image: &ImageReference,
        digest: &Digest,
        content: &ContentStore,
    ) -> Option<Self> {
        let parcel = ParcelName::new(image, digest);
        let signatures = content.listing(&parcel)?.bundles.join("\n");
        let trust = request.rules.trust();
        Some(Self {
            parcel,
            signatures: Digest::of(signatures.as_bytes()),
            namespace: request.validated.key.namespace.clone(),
            trust: trust.fingerprint(&request.scope_of(image)),
        })
    }
}

impl Verdicts {
    /// The verdict, if it is known.
    pub(super) fn get(&self, question: &Question) -> Option<Verdict> {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.uses = shelf.uses.saturating_add(1);
        let uses = shelf.uses;
        let (used, verdict) = shelf.verdicts.get_mut(question)?;
        *used = uses;
        Some(verdict.clone())
    }

    /// Remembers a verdict; beyond the bound the one goes that was asked for least
    /// recently.
    pub(super) fn remember(&self, question: Question, verdict: Verdict) {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.uses = shelf.uses.saturating_add(1);
        let uses = shelf.uses;
        shelf.verdicts.insert(question, (uses, verdict));
        while shelf.verdicts.len() > MOST {
            let oldest = shelf.verdicts.iter().min_by_key(|(_, (used, _))| *used);
            let Some(oldest) = oldest.map(|(question, _)| question.clone()) else {
                return;
            };
            shelf.verdicts.remove(&oldest);
        }
    }
}

/// Judges `parcel` as the bytes of `image` at `digest`, away from the threads that
/// serve: hashing and validating a large component takes a while.
pub(super) async fn judge(
    request: &Request,
    image: &ImageReference,
    digest: &Digest,
    parcel: Parcel,
) -> Verdict {
    let (image, digest, rules) = (image.clone(), *digest, request.rules.clone());
    let (namespace, labels) = (
        request.validated.key.namespace.clone(),
        request.labels.clone(),
    );
    let judged = tokio::task::spawn_blocking(move || {
        let scope = Scope {
            image: &image,
            namespace: &namespace,
            labels: &labels,
        };
        let judgement = artifact::judge(&scope, &digest, &parcel, &rules.trust());
        verdict(&digest, judgement)
    });
    judged.await.unwrap_or_else(|error| {
        tracing::error!(%digest, %error, "an image could not be judged");
        Err(Failure::waiting(
            Reason::Verifying,
            "the check of the image was interrupted; look at the operator's log".to_owned(),
        ))
    })
}
