//! Somebody whose signatures count, and the judgement of evidence by them.
//! Called by [`super::decide`].

use jiff::Timestamp;

use super::pattern::TextPattern;
use crate::evidence::{Evidence, Fault, Testimony, TransparencyLog};
use crate::root::{RootReference, TrustedRoot};
use crate::signature::PublicKey;
use crate::{Digest, SignedBy};

/// Somebody whose signatures count.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    pub(super) name: String,
    pub(super) signatory: Signatory,
    pub(super) log: TransparencyLog,
    /// Whether the manifests that it attests count.
    pub(super) may_grant_manifest: bool,
}

/// How that somebody signs.
#[derive(Debug, Clone)]
pub(super) enum Signatory {
    /// With a key that they keep.
    Key {
        key: PublicKey,
        /// Whose logs and timestamp authorities count.
        root: Option<RootReference>,
    },
    /// With certificates for one of these identities.
    Keyless {
        identities: Vec<Identity>,
        /// Which root the certificates hang from. Absent: the public-good one.
        root: Option<RootReference>,
    },
}

/// Who a certificate may be for.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) issuer: TextPattern,
    pub(super) subject: TextPattern,
}

impl Signatory {
    pub(super) fn root_reference(&self) -> Option<&RootReference> {
        match self {
            Self::Key { root, .. } | Self::Keyless { root, .. } => root.as_ref(),
        }
    }
}

impl Authority {
    /// Whether nothing can be said without a trusted root. A key needs one only
    /// for what a log or a timestamp authority would prove.
    pub(super) fn needs_root(&self, needs_time: bool) -> bool {
        match &self.signatory {
            Signatory::Keyless { .. } => true,
            Signatory::Key { root, .. } => {
                self.log == TransparencyLog::Required || (needs_time && root.is_some())
            }
        }
    }

    /// What this authority said of `digest`, if the evidence is by it. Without
    /// `root` only where [`Self::needs_root`] says no.
    pub(super) fn judge(
        &self,
        evidence: &Evidence,
        root: Option<&TrustedRoot>,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Testimony, Fault> {
        match (&self.signatory, root) {
            (Signatory::Key { key, .. }, root) => evidence.by_key(key, self.log, root, digest, now),
            (Signatory::Keyless { .. }, None) => {
                Err(Fault::Certificate("its trusted root is missing".to_owned()))
            }
            (Signatory::Keyless { identities, .. }, Some(root)) => {
                let testimony = evidence.by_certificate(root, self.log, digest, now)?;
                if identities
                    .iter()
                    .any(|identity| identity.admits(&testimony.by))
                {
                    Ok(testimony)
                } else {
                    Err(Fault::AnotherIdentity(testimony.by))
                }
            }
        }
    }

    /// `"release" (key 0a1b2c3d4e5f)`, or the identities.
    pub(super) fn describe(&self) -> String {
        const SHORT: usize = 12;
        let who = match &self.signatory {
            Signatory::Key { key, .. } => {
                let key_id: String = key.key_id().chars().take(SHORT).collect();
                format!("key {key_id}")
            }
            Signatory::Keyless { identities, .. } => identities
                .iter()
                .map(|identity| format!("{} of {}", identity.subject, identity.issuer))
                .collect::<Vec<_>>()
                .join(" or "),
        };
        format!("{:?} ({who})", self.name)
    }
}

impl Identity {
    fn admits(&self, by: &SignedBy) -> bool {
        match by {
            SignedBy::Identity { issuer, subject } => {
                self.issuer.matches(issuer) && self.subject.matches(subject)
            }
            SignedBy::Key { .. } => false,
        }
    }
}
