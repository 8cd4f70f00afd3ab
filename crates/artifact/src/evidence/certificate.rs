//! Judgement by a short-lived certificate: chain, certificate log, transparency
//! log or timestamp, signature and subject, by sigstore's own verifier. Whom the
//! certificate is for is matched by policies. The verifier also refuses times after
//! the machine's own clock, which can only refuse more; what decides is the time that
//! the caller brings.

use jiff::Timestamp;
use sigstore_types::bundle::VerificationMaterialContent;
use sigstore_types::{Artifact, Bundle};
use sigstore_verify::{Error, VerificationPolicy};

use super::{Fault, TransparencyLog};
use crate::SignedBy;
use crate::root::TrustedRoot;

/// Who signed, and when.
#[derive(Debug)]
pub(super) struct Certified {
    pub(super) by: SignedBy,
    /// The earliest time that is proven.
    pub(super) signed_at: Option<Timestamp>,
}

/// Why nobody did.
#[derive(Debug)]
pub(super) enum Refused {
    /// The signature is good, and of something else than `artifact`.
    ArtifactMismatch(String),
    Fault(Fault),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Who has signed `artifact`, by the certificate in `bundle`.
pub(super) fn judge<'a>(
    bundle: &Bundle,
    artifact: impl Into<Artifact<'a>>,
    root: &TrustedRoot,
    log: TransparencyLog,
    now: Timestamp,
) -> Result<Certified, Refused> {
    match bundle.verification_material.content {
        VerificationMaterialContent::Certificate(_) => {}
        VerificationMaterialContent::PublicKey(_) => return Err(Fault::NotByCertificate.into()),
        _ => {
            let problem = "the bundle brings a chain of certificates; version 0.3 brings one";
            return Err(Fault::Certificate(problem.to_owned()).into());
        }
    }
    // Any identity: patterns are matched after the certificate is known to hold.
    let mut policy = VerificationPolicy::any_identity();
    if !root.has_certificate_logs() {
        policy = policy.skip_sct();
    }
    if log == TransparencyLog::Ignore {
        policy = policy.skip_tlog_unsafe();
    }
    let result = root
        .verifier()
        .verify(artifact, bundle, &policy)
        .map_err(|error| refused(error, log))?;
    if !result.certificate_verified() {
        return Err(Fault::Certificate("its chain was not checked".to_owned()).into());
    }
    // Every proven time has to be past, not only the earliest.
    if let Some(time) = result
        .verified_timestamps()
        .iter()
        .find(|time| **time > now)
    {
        return Err(Fault::FromTheFuture(*time).into());
    }
    let (Some(subject), Some(issuer)) = (result.identity(), result.issuer()) else {
        return Err(Fault::Certificate("it names no subject or no issuer".to_owned()).into());
    };
    Ok(Certified {
        by: SignedBy::Identity {
            issuer: issuer.to_owned(),
            subject: subject.as_str().to_owned(),
        },
        signed_at: result.verified_timestamps().iter().min().copied(),
    })
}

fn refused(error: Error, log: TransparencyLog) -> Refused {
    Refused::Fault(match error {
        Error::ArtifactMismatch(problem) => return Refused::ArtifactMismatch(problem),
        Error::TransparencyLog(_) | Error::Bundle(_) if log == TransparencyLog::Required => {
            Fault::NotInLog(error.to_string())
        }
        error => Fault::Certificate(error.to_string()),
    })
}
