//! A private key to sign components with: ECDSA P-256, the kind that cosign
//! makes. Read from and written to key files; used by the command line, never
//! by operator or agent.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sigstore_types::DerPublicKey;
use zeroize::Zeroizing;

use super::{KeyError, PublicKey, cosign_key};
use crate::limits::KEY_MAX;

/// A private key. Its Debug shows the public half only.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

/// PEM's label of an unencrypted key.
const PLAIN: &str = "PRIVATE KEY";
/// PEM's labels of cosign's encrypted keys, the older one second.
const ENCRYPTED: [&str; 2] = [
    "ENCRYPTED SIGSTORE PRIVATE KEY",
    "ENCRYPTED COSIGN PRIVATE KEY",
];

impl SigningKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map_err(|_| KeyError::Library("make a key"))?;
        Self::from_pair(pair)
    }

    /// Reads a private key: cosign's encrypted PEM, or plain PKCS#8 PEM, for
    /// which the password is not looked at.
    ///
    /// # Errors
    /// When it is neither, or the password does not open it.
    pub fn from_pem(pem: &str, password: &[u8]) -> Result<Self, KeyError> {
        if pem.len() > KEY_MAX {
            return Err(KeyError::TooLarge(pem.len()));
        }
        if let Some(der) = pem_contents(pem, PLAIN)? {
            return Self::from_pkcs8(&der);
        }
        for label in ENCRYPTED {
            if let Some(json) = pem_contents(pem, label)? {
                return Self::from_pkcs8(&cosign_key::open(&json, password)?);
            }
        }
        Err(KeyError::PrivateKey("no such PEM block in it".to_owned()))
    }

    /// Reads a private key in PKCS#8 DER.
    ///
    /// # Errors
    /// When it is not an ECDSA P-256 key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
            .map_err(|error| KeyError::PrivateKey(error.to_string()))?;
        Self::from_pair(pair)
    }

    /// The key as cosign's encrypted PEM. An empty password is cosign's way of
    /// saying that there is none.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn to_cosign_pem(&self, password: &[u8]) -> Result<Zeroizing<String>, KeyError> {
        let der = self
            .pair
            .to_pkcs8v1()
            .map_err(|_| KeyError::Library("write the key"))?;
        let json = cosign_key::seal(der.as_ref(), password)?;
        let [label, _] = ENCRYPTED;
        Ok(Zeroizing::new(pem_text(label, &json)))
    }

    /// The half that policies name.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// A signature over `message` (ECDSA with SHA-256, ASN.1 DER).
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_| KeyError::Library("sign"))?;
        Ok(signature.as_ref().to_vec())
    }

    fn from_pair(pair: EcdsaKeyPair) -> Result<Self, KeyError> {
        let der: PublicKeyX509Der<'_> = pair
            .public_key()
            .as_der()
            .map_err(|_| KeyError::Library("write the public key"))?;
        let public = PublicKey::from_der(DerPublicKey::from_bytes(der.as_ref()))?;
        Ok(Self { pair, public })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.public.key_id())
    }
}

/// The contents of the PEM block (RFC 7468) with this label, if there is one.
fn pem_contents(pem: &str, label: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
    let body = pem
        .split_once(&format!("-----BEGIN {label}-----"))
        .and_then(|(_, rest)| rest.split_once(&format!("-----END {label}-----")))
        .map(|(body, _)| Zeroizing::new(body.split_whitespace().collect::<String>()));
    body.map(|body| STANDARD.decode(body.as_bytes()).map(Zeroizing::new))
        .transpose()
        .map_err(|error| KeyError::PrivateKey(format!("its PEM block is not base64: {error}")))
}

/// A PEM block with lines of 64 characters.
fn pem_text(label: &str, contents: &[u8]) -> String {
    const LINE: usize = 64;
    let mut text = format!("-----BEGIN {label}-----\n");
    for (column, character) in STANDARD.encode(contents).chars().enumerate() {
        if column > 0 && column % LINE == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}
