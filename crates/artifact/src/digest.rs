//! A content digest. Only sha256, because it is the one algorithm that the
//! subject of a cosign signature, an OCI manifest and a registry agree upon.
//! Used by everything that names content; knows nothing about images.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// `sha256:` and 64 lower-case hexadecimal digits (OCI image specification,
/// "Digests").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; Digest::LENGTH]);

/// Why a text is no digest that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// A digest, but of another algorithm.
    #[error(
        "digest {0:?} is not sha256, the only algorithm that signatures are checked against: push the image with sha256 digests"
    )]
    Algorithm(String),
    /// Not 64 lower-case hexadecimal digits.
    #[error("{0:?} is not a digest: expected `sha256:` and 64 lower-case hexadecimal digits")]
    Malformed(String),
}

impl Digest {
    /// Bytes of a sha256.
    const LENGTH: usize = 32;

    /// The digest of some content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// The 64 hexadecimal digits, without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The digest itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As sigstore's verifier takes it.
    pub(crate) fn as_sigstore(&self) -> sigstore_types::Sha256Hash {
        sigstore_types::Sha256Hash::new(self.0)
    }

    /// From 64 lower-case hexadecimal digits without the algorithm, as in the
    /// subject of an in-toto statement.
    ///
    /// # Errors
    /// When `text` is anything else.
    pub fn from_hex(text: &str) -> Result<Self, DigestError> {
        let malformed = || DigestError::Malformed(shortened(text));
        // Two spellings of one digest would be two keys in a cache.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(malformed());
        }
        let mut bytes = [0; Self::LENGTH];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| malformed())?;
        Ok(Self(bytes))
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text.split_once(':') {
            Some(("sha256", hex)) => Self::from_hex(hex),
            Some((algorithm, rest)) if is_algorithm(algorithm) && !rest.is_empty() => {
                Err(DigestError::Algorithm(shortened(text)))
            }
            _ => Err(DigestError::Malformed(shortened(text))),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Whether `text` could be the algorithm of an OCI digest.
fn is_algorithm(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+._-".contains(&byte)
        })
}

/// The text, short enough for a message.
fn shortened(text: &str) -> String {
    const MESSAGE_MAX: usize = 160;
    text.chars().take(MESSAGE_MAX).collect()
}
