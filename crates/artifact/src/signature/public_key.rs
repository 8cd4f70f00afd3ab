//! The key of an authority: an SPKI in PEM, as `cosign generate-key-pair` and
//! `openssl pkey -pubout` write it. Used by trust policies.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sigstore_crypto::VerificationKey;
use sigstore_types::{DerPublicKey, SignatureBytes};

use super::KeyError;
use crate::Digest;
use crate::limits::KEY_MAX;

/// A key that signatures are checked with. Its algorithm (ECDSA P-256 or
/// P-384, Ed25519, RSA) is read from the key, never from a signature.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    der: DerPublicKey,
    /// Digest of the DER.
    id: Digest,
}

impl PublicKey {
    /// Reads a PEM file.
    ///
    /// # Errors
    /// When it is not a public key, or of an algorithm that is not supported.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if pem.len() > KEY_MAX {
            return Err(KeyError::TooLarge(pem.len()));
        }
        if pem.contains("PRIVATE KEY-----") {
            return Err(KeyError::PrivateKeyGiven);
        }
        let der =
            DerPublicKey::from_pem(pem).map_err(|error| KeyError::PublicKey(error.to_string()))?;
        Self::from_der(der)
    }

    /// The key as PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.der.to_pem()
    }

    /// The key's name: sha256 of its SPKI in DER, as hexadecimal digits.
    #[must_use]
    pub fn key_id(&self) -> String {
        self.id.hex()
    }

    /// What cosign writes into a bundle to help find the key. Anybody can
    /// write it, so nothing is decided by it.
    pub(super) fn hint(&self) -> String {
        STANDARD.encode(self.id.as_bytes())
    }

    /// The key as SPKI in DER.
    pub(crate) fn der(&self) -> &DerPublicKey {
        &self.der
    }

    pub(super) fn from_der(der: DerPublicKey) -> Result<Self, KeyError> {
        VerificationKey::from_spki(&der).map_err(|error| KeyError::PublicKey(error.to_string()))?;
        let id = Digest::of(der.as_bytes());
        Ok(Self { der, id })
    }

    /// Whether `signature` over `message` was made with this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &SignatureBytes) -> bool {
        VerificationKey::from_spki(&self.der)
            .is_ok_and(|key| key.verify(message, signature).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({})", self.key_id())
    }
}
