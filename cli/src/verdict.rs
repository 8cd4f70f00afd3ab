//! A verdict as `verify` shows it: what was decided, and what each policy and each of
//! its authorities made of the signatures. Knows neither registries nor files.

use std::fmt;

use artifact::trust::{AttestationReport, AuthorityReport, Mode, PolicyReport};
use artifact::{Digest, Judgement, Refusal, SignedBy, Signer};
use jiff::Timestamp;
use serde::Serialize;

use crate::failure::Failure;

/// What was decided about one artifact.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verdict {
    reference: String,
    digest: Digest,
    #[serde(flatten)]
    decision: Decision,
    /// Who vouched, for the policies that decide.
    signers: Vec<Signature>,
    policies: Vec<PolicyVerdict>,
}

/// The three answers. The third is none: something was missing to find out.
#[derive(Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "camelCase")]
enum Decision {
    Admitted,
    Refused { reason: String, message: String },
    NotChecked { reason: String, message: String },
}

/// Who vouched, and for which policy that counts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Signature {
    policy: String,
    authority: String,
    #[serde(flatten)]
    by: By,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum By {
    Key { key_id: String },
    Identity { issuer: String, subject: String },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyVerdict {
    policy: String,
    audit: bool,
    #[serde(flatten)]
    decision: Decision,
    authorities: Vec<AuthorityVerdict>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attestations: Vec<AttestationVerdict>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AuthorityVerdict {
    authority: String,
    signers: Vec<Signature>,
    /// Why other signatures do not count.
    faults: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AttestationVerdict {
    predicate_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<Signature>,
    faults: Vec<String>,
}

impl Verdict {
    /// What a judgement says, for showing.
    pub(crate) fn new(reference: String, digest: Digest, judgement: &Judgement) -> Verdict {
        let signers = judgement
            .outcome
            .as_ref()
            .map(|verified| verified.signers());
        Verdict {
            reference,
            digest,
            decision: Decision::new(judgement.outcome.as_ref().err()),
            signers: signers.into_iter().flatten().map(Signature::from).collect(),
            policies: judgement.policies.iter().map(PolicyVerdict::from).collect(),
        }
    }

    /// What the command ends with.
    pub(crate) fn conclude(&self) -> Result<(), Failure> {
        match &self.decision {
            Decision::Admitted => Ok(()),
            Decision::Refused { reason, message } => {
                Err(Failure::refused(format!("{reason}: {message}"), ""))
            }
            Decision::NotChecked { reason, message } => {
                Err(Failure::unavailable(format!("{reason}: {message}"), ""))
            }
        }
    }
}

impl Decision {
    fn new(refusal: Option<&Refusal>) -> Decision {
        let Some(refusal) = refusal else {
            return Decision::Admitted;
        };
        let (reason, message) = (refusal.code().to_string(), refusal.to_string());
        if refusal.is_verdict() {
            Decision::Refused { reason, message }
        } else {
            Decision::NotChecked { reason, message }
        }
    }
}

impl From<&Signer> for Signature {
    fn from(signer: &Signer) -> Signature {
        Signature {
            policy: signer.policy.clone(),
            authority: signer.authority.clone(),
            by: match signer.by.clone() {
                SignedBy::Key { key_id } => By::Key { key_id },
                SignedBy::Identity { issuer, subject } => By::Identity { issuer, subject },
            },
            signed_at: signer.signed_at,
        }
    }
}

impl From<&PolicyReport> for PolicyVerdict {
    fn from(report: &PolicyReport) -> PolicyVerdict {
        PolicyVerdict {
            policy: report.policy.clone(),
            audit: report.mode == Mode::Audit,
            decision: Decision::new(report.outcome.as_ref().err()),
            authorities: report
                .authorities
                .iter()
                .map(AuthorityVerdict::from)
                .collect(),
            attestations: report
                .attestations
                .iter()
                .map(AttestationVerdict::from)
                .collect(),
        }
    }
}

impl From<&AuthorityReport> for AuthorityVerdict {
    fn from(report: &AuthorityReport) -> AuthorityVerdict {
        AuthorityVerdict {
            authority: report.authority.clone(),
            signers: report.signers.iter().map(Signature::from).collect(),
            faults: report.faults.clone(),
        }
    }
}

impl From<&AttestationReport> for AttestationVerdict {
    fn from(report: &AttestationReport) -> AttestationVerdict {
        AttestationVerdict {
            predicate_type: report.predicate_type.clone(),
            signer: report.signer.as_ref().map(Signature::from),
            faults: report.faults.clone(),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.decision {
            Decision::Admitted => "verified ",
            Decision::Refused { .. } => "refused  ",
            Decision::NotChecked { .. } => "unknown  ",
        };
        write!(f, "{verdict}{}\ndigest   {}", self.reference, self.digest)?;
        for signature in &self.signers {
            write!(
                f,
                "\nsigner   {} (policy {}, {signature})",
                signature.authority, signature.policy
            )?;
        }
        for policy in &self.policies {
            write!(f, "\n{policy}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            By::Key { key_id } => write!(f, "key {key_id}")?,
            By::Identity { issuer, subject } => write!(f, "{subject} of {issuer}")?,
        }
        match self.signed_at {
            Some(time) => write!(f, ", proven at {time}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for PolicyVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let audit = if self.audit { " (audit only)" } else { "" };
        write!(f, "policy   {}{audit}: ", self.policy)?;
        match &self.decision {
            Decision::Admitted => f.write_str("satisfied")?,
            Decision::Refused { reason, .. } if self.audit => write!(f, "would refuse, {reason}")?,
            Decision::Refused { reason, .. } => write!(f, "refuses, {reason}")?,
            Decision::NotChecked { reason, .. } => write!(f, "could not be checked, {reason}")?,
        }
        for authority in &self.authorities {
            for signature in &authority.signers {
                write!(f, "\n  {} signed: {signature}", authority.authority)?;
            }
            if authority.signers.is_empty() {
                let found = match authority.faults.as_slice() {
                    [] => "nothing".to_owned(),
                    faults => faults.join("; "),
                };
                write!(f, "\n  {} did not sign: found {found}", authority.authority)?;
            }
        }
        for attestation in &self.attestations {
            let predicate_type = &attestation.predicate_type;
            match &attestation.signer {
                Some(signature) => write!(
                    f,
                    "\n  {predicate_type} attested by {}: {signature}",
                    signature.authority
                )?,
                None if attestation.faults.is_empty() => {
                    write!(f, "\n  {predicate_type} is not attested")?;
                }
                None => write!(
                    f,
                    "\n  {predicate_type} does not do: {}",
                    attestation.faults.join("; ")
                )?,
            }
        }
        Ok(())
    }
}
