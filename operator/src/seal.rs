//! The operator's Ed25519 key that seals revisions.
//!
//! Agents hold only the public half: with a shared key every agent could forge
//! every revision (security note 10). The private half lives in the Secret
//! `lighterman-seal`, which is created once and never replaced by the operator.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Key of the Secret under which the private key is kept, in PKCS#8 DER.
pub const SECRET_KEY: &str = "seal.key";

/// Signs seals. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct SealKey(Arc<Ed25519KeyPair>);

/// Checks seals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealPublicKey(Vec<u8>);

/// The content of the Secret is no Ed25519 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "Secret lighterman-seal holds no Ed25519 key in PKCS#8 under seal.key: restore it, or delete the Secret and restart the operator to seal everything anew"
)]
pub struct InvalidSealKey;

/// `SubjectPublicKeyInfo` of an Ed25519 key up to the key itself (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

impl SealKey {
    /// A new key, in the form the Secret keeps.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Vec<u8>, InvalidSealKey> {
        let pair = Ed25519KeyPair::generate().map_err(|_| InvalidSealKey)?;
        Ok(pair
            .to_pkcs8v1()
            .map_err(|_| InvalidSealKey)?
            .as_ref()
            .to_vec())
    }

    /// Reads what the Secret holds.
    ///
    /// # Errors
    /// When it is no such key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, InvalidSealKey> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| InvalidSealKey)?;
        Ok(Self(Arc::new(pair)))
    }

    /// Signs a seal statement.
    pub fn sign(&self, statement: &[u8]) -> Vec<u8> {
        self.0.sign(statement).as_ref().to_vec()
    }

    /// What agents check with.
    pub fn public(&self) -> SealPublicKey {
        SealPublicKey(self.0.public_key().as_ref().to_vec())
    }
}

impl SealPublicKey {
    /// Whether `signature` over `statement` was made by the private half.
    pub fn verifies(&self, statement: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(statement, signature)
            .is_ok()
    }

    /// The key as a PEM `PUBLIC KEY`, for `seal.pub`.
    pub fn to_pem(&self) -> String {
        let der: Vec<u8> = SPKI_PREFIX.iter().chain(&self.0).copied().collect();
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der)
        )
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_for_its_statement_and_its_key_only() {
        let key = SealKey::from_pkcs8(&SealKey::generate().unwrap()).unwrap();
        let other = SealKey::from_pkcs8(&SealKey::generate().unwrap()).unwrap();
        let signature = key.sign(b"statement");
        assert!(key.public().verifies(b"statement", &signature));
        assert!(!key.public().verifies(b"another", &signature));
        assert!(!other.public().verifies(b"statement", &signature));
    }

    #[test]
    fn the_public_half_is_written_as_a_pem_of_44_bytes() {
        let key = SealKey::from_pkcs8(&SealKey::generate().unwrap()).unwrap();
        let pem = key.public().to_pem();
        let body = pem.lines().nth(1).unwrap();
        assert_eq!(STANDARD.decode(body).unwrap().len(), 44);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(SealKey::from_pkcs8(b"nonsense").is_err());
    }
}
