//! What an image came to: admitted, refused, or not to be had, and what each trust
//! policy made of it. Plain values, from a judgement of `artifact` or an error.

use std::time::Duration;

use artifact::component::Facts;
use artifact::trust::Mode;
use artifact::{Digest, Judgement, SignedBy, Signer};
use capability::Request;
use crds::{Reason, bound};

use crate::component::{ResolveError, resolve};

/// What an image came to.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each component, and nearly all of them are the largest"
)]
pub enum Resolution {
    /// Not known yet; a job is under way.
    Pending,
    /// Its bytes are here and admitted.
    Done(Admitted),
    /// It cannot be run, or could not be looked at.
    Failed(Failure),
}

/// An image that may run. The bytes are in the content cache.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Who vouched for it, for each policy that covers it.
    pub signers: Vec<Signer>,
    /// What it says of itself.
    pub facts: Facts,
    /// What its manifests ask for; all of them hold together.
    pub requests: Vec<Request>,
    /// What each policy that covers it made of it.
    pub findings: Vec<Finding>,
}

/// Why an image cannot be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// Why, for people, with the mend.
    pub message: String,
    /// Whether it was judged; otherwise it could not be looked at.
    pub verdict: bool,
    /// The digest that was judged, if it came so far.
    pub digest: Option<Digest>,
    /// How long the registry asked to wait.
    pub retry_after: Option<Duration>,
    /// What each policy that covers it made of it, if it came so far.
    pub findings: Vec<Finding>,
    /// Whether what runs of it is to be stopped: a policy that decides refuses it
    /// and says `whenRunning: Stop`.
    pub stops: bool,
}

/// What one policy made of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The policy.
    pub policy: String,
    /// Whether it only says what it would do.
    pub audit: bool,
    /// Why it refuses, if it does.
    pub refusal: Option<(Reason, String)>,
}

impl Admitted {
    /// The version it names, else the tag.
    pub fn version(&self, tag: Option<&str>) -> Option<String> {
        self.facts
            .version
            .clone()
            .or_else(|| tag.map(str::to_owned))
    }

    /// Who vouched for it, for people: with the identity, where one signed.
    pub fn vouchers(&self) -> String {
        let mut named: Vec<String> = self
            .signers
            .iter()
            .map(|signer| match &signer.by {
                SignedBy::Key { .. } => format!("{}/{}", signer.policy, signer.authority),
                SignedBy::Identity { subject, .. } => {
                    format!("{}/{} as {subject}", signer.policy, signer.authority)
                }
            })
            .collect();
        named.dedup();
        named.join(", ")
    }

    /// Who vouched for it, as `policy/authority`, each once.
    pub fn signer(&self) -> Option<String> {
        let mut named: Vec<String> = self
            .signers
            .iter()
            .map(|signer| format!("{}/{}", signer.policy, signer.authority))
            .collect();
        named.dedup();
        // As many as the status has room for; the condition's message has them all.
        while named.join(", ").len() > bound::IMAGE as usize {
            named.pop();
        }
        (!named.is_empty()).then(|| named.join(", "))
    }
}

impl Failure {
    /// Of an error; nothing is known of single policies.
    pub(super) fn new(error: &ResolveError, digest: Option<Digest>) -> Self {
        Self {
            reason: error.reason(),
            message: error.to_string(),
            verdict: error.is_verdict(),
            digest,
            retry_after: error.retry_after(),
            findings: Vec::new(),
            stops: false,
        }
    }

    /// Whether no signature that may have come meanwhile can change it.
    pub(super) fn is_final(&self) -> bool {
        matches!(
            self.reason,
            Reason::DigestDenied | Reason::VersionTooOld | Reason::PolicyUnusable
        )
    }

    /// Something outside has to change first; nothing was judged.
    pub(super) fn waiting(reason: Reason, message: String) -> Self {
        Self {
            reason,
            message,
            verdict: false,
            digest: None,
            retry_after: None,
            findings: Vec::new(),
            stops: false,
        }
    }
}

/// A judgement as the resolver keeps it.
pub(super) fn verdict(digest: &Digest, judgement: Judgement) -> Result<Admitted, Failure> {
    let stops = judgement.stops_running();
    let findings = judgement
        .policies
        .iter()
        .map(|report| Finding {
            policy: report.policy.clone(),
            audit: report.mode == Mode::Audit,
            refusal: report
                .outcome
                .as_ref()
                .err()
                .map(|refusal| (resolve::refusal_reason(refusal), refusal.to_string())),
        })
        .collect();
    match judgement.outcome {
        Ok(verified) => Ok(Admitted {
            digest: *digest,
            signers: verified.signers().to_vec(),
            facts: verified.facts().clone(),
            requests: verified.requests().to_vec(),
            findings,
        }),
        Err(refusal) => Err(Failure {
            findings,
            stops,
            ..Failure::new(&refusal.into(), Some(*digest))
        }),
    }
}
