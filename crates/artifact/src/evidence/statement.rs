//! The in-toto statement in an envelope, and whether it is about a digest. Only
//! statements whose signature is good come here.

use serde_json::Value;

use super::Fault;
use crate::Digest;
use crate::signature::COSIGN_SIGN;

/// What was signed about a digest.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Statement {
    /// What kind of statement it is.
    pub(crate) predicate_type: String,
    /// What it says.
    pub(crate) predicate: Value,
}

/// The in-toto statement versions that cosign writes: v1 for signatures, v0.1
/// for attestations.
const STATEMENT_TYPES: &[&str] = &[
    "https://in-toto.io/Statement/v1",
    "https://in-toto.io/Statement/v0.1",
];

impl Statement {
    /// An approval: what a signature says, and nothing more.
    pub(super) fn approval() -> Self {
        Self {
            predicate_type: COSIGN_SIGN.to_owned(),
            predicate: Value::Null,
        }
    }

    /// Whether it approves the artifact. cosign itself would take any
    /// attestation of a trusted key for a signature; a bill of materials is not
    /// an approval.
    pub(crate) fn is_approval(&self) -> bool {
        self.predicate_type == COSIGN_SIGN
    }

    pub(super) fn read(payload: &[u8], digest: &Digest) -> Result<Self, Fault> {
        let statement: sigstore_types::Statement =
            serde_json::from_slice(payload).map_err(|error| {
                Fault::Unreadable(format!(
                    "a signed payload that is no in-toto statement: {error}"
                ))
            })?;
        if !STATEMENT_TYPES.contains(&statement.type_.as_str()) {
            return Err(Fault::Unreadable(format!(
                "an in-toto statement of unknown type {:?}",
                statement.type_
            )));
        }
        let mut subjects = statement
            .subject
            .iter()
            .filter_map(|subject| subject.digest.sha256.as_ref())
            .filter_map(|sha256| Digest::from_hex(&sha256.to_hex()).ok())
            .peekable();
        let first = subjects.peek().copied();
        if !subjects.any(|subject| subject == *digest) {
            let signed = match first {
                Some(subject) => subject.to_string(),
                None => "a subject without sha256 digest".to_owned(),
            };
            return Err(Fault::AnotherDigest { signed });
        }
        Ok(Self {
            predicate_type: statement.predicate_type,
            predicate: statement.predicate,
        })
    }
}
