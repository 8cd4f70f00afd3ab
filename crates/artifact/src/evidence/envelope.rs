//! The DSSE envelope of a sigstore bundle, and its judgement by a key or by the
//! certificate beside it. A key without a log needs no trusted root: it is checked with
//! the signature alone.

use jiff::Timestamp;
use sigstore_types::DsseEnvelope;
use sigstore_types::bundle::{SignatureContent, VerificationMaterialContent};
use sigstore_verify::PublicKeyVerificationPolicy;

use super::certificate::{self, Refused};
use super::{Fault, Statement, Testimony, TransparencyLog};
use crate::Digest;
use crate::root::TrustedRoot;
use crate::signature::{PAYLOAD_TYPE, PublicKey};

/// What a signature covers, and the signature with the material around it.
#[derive(Debug)]
pub(super) struct Envelope {
    bundle: sigstore_types::Bundle,
    content: DsseEnvelope,
    /// DSSE's pre-authentication encoding: the bytes that are signed.
    signed_bytes: Vec<u8>,
}

impl Envelope {
    pub(super) fn read(json: &[u8]) -> Result<Self, Fault> {
        let bundle: sigstore_types::Bundle =
            serde_json::from_slice(json).map_err(|error| Fault::Malformed(error.to_string()))?;
        let SignatureContent::DsseEnvelope(content) = bundle.content.clone() else {
            return Err(Fault::NoEnvelope);
        };
        if content.payload_type != PAYLOAD_TYPE {
            return Err(Fault::PayloadType(content.payload_type));
        }
        Ok(Self {
            signed_bytes: content.pae(),
            bundle,
            content,
        })
    }

    /// Nothing of the statement is looked at before the signature over it is
    /// known to be good.
    pub(super) fn by_key(
        &self,
        key: &PublicKey,
        log: TransparencyLog,
        root: Option<&TrustedRoot>,
        digest: &Digest,
    ) -> Result<(Statement, Option<Timestamp>), Fault> {
        if !self.is_by_key() {
            return Err(Fault::NotByKey);
        }
        if !key.verifies(&self.signed_bytes, &self.content.signature.sig) {
            return Err(Fault::AnotherKey);
        }
        let statement = self.statement(digest)?;
        let signed_at = match (self.logged(key, root, digest), log) {
            (Ok(times), _) => times.into_iter().min(),
            (Err(problem), TransparencyLog::Required) => return Err(Fault::NotInLog(problem)),
            (Err(_), TransparencyLog::Ignore) => self.timestamped(key, root, digest),
        };
        Ok((statement, signed_at))
    }

    /// Judges by the certificate that the bundle brings.
    pub(super) fn by_certificate(
        &self,
        root: &TrustedRoot,
        log: TransparencyLog,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Testimony, Fault> {
        let certified = certificate::judge(&self.bundle, digest.as_sigstore(), root, log, now);
        let certified = certified.map_err(|refused| match refused {
            Refused::Fault(fault) => fault,
            // The signature was good, so the statement may be looked at.
            Refused::ArtifactMismatch(problem) => match self.statement(digest) {
                Err(fault) => fault,
                Ok(_) => Fault::Unreadable(problem),
            },
        })?;
        Ok(Testimony {
            by: certified.by,
            signed_at: certified.signed_at,
            statement: self.statement(digest)?,
        })
    }

    /// What the envelope says of `digest`. To be asked only once the signature is good.
    pub(super) fn statement(&self, digest: &Digest) -> Result<Statement, Fault> {
        Statement::read(self.content.payload.as_bytes(), digest)
    }

    fn is_by_key(&self) -> bool {
        matches!(
            self.bundle.verification_material.content,
            VerificationMaterialContent::PublicKey(_)
        )
    }

    /// The times at which a log of `root` took in this very signature.
    fn logged(
        &self,
        key: &PublicKey,
        root: Option<&TrustedRoot>,
        digest: &Digest,
    ) -> Result<Vec<Timestamp>, String> {
        if self.bundle.verification_material.tlog_entries.is_empty() {
            return Err("the bundle has no log entry".to_owned());
        }
        let policy = PublicKeyVerificationPolicy::new(key.der().clone());
        self.verified_times(&policy, root, digest)
    }

    /// The earliest time at which a timestamp authority of `root` saw this very
    /// signature.
    fn timestamped(
        &self,
        key: &PublicKey,
        root: Option<&TrustedRoot>,
        digest: &Digest,
    ) -> Option<Timestamp> {
        let policy = PublicKeyVerificationPolicy::new(key.der().clone()).skip_tlog_unsafe();
        let times = self.verified_times(&policy, root, digest).ok()?;
        times.into_iter().min()
    }

    fn verified_times(
        &self,
        policy: &PublicKeyVerificationPolicy,
        root: Option<&TrustedRoot>,
        digest: &Digest,
    ) -> Result<Vec<Timestamp>, String> {
        let root = root.ok_or("there is no trusted root to check it with")?;
        let result = root
            .verifier()
            .verify(digest.as_sigstore(), &self.bundle, policy)
            .map_err(|error| error.to_string())?;
        Ok(result.verified_timestamps().to_vec())
    }
}
