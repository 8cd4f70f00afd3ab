//! Signatures of cosign 3, by key: what is signed, how the bundle around it
//! looks, and the keys. `cosign verify --key` accepts what [`sign`] writes,
//! and the other way round. Knows nothing of policies or registries.

mod cosign_key;
mod public_key;
mod signing_key;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sigstore_types::dsse;

use crate::Digest;
use crate::evidence::SimpleSigning;

pub use public_key::PublicKey;
pub use signing_key::SigningKey;

/// The media type of a bundle, of its layer and of its manifest's artifact type.
pub const BUNDLE_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The predicate that makes a statement a signature, not an attestation.
pub const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
/// The media type of a layer with a signature of cosign 2.
pub const SIMPLE_SIGNING_MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation of such a layer's descriptor that holds the signature, as base64.
pub const SIMPLE_SIGNING_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// The payload of every DSSE envelope here: an in-toto statement.
pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a public key in PEM, or of an algorithm that is not supported.
    #[error(
        "not a public key in PEM (`-----BEGIN PUBLIC KEY-----`; ECDSA P-256 or P-384, Ed25519 or RSA): {0}"
    )]
    PublicKey(String),
    /// A private key where a public one belongs.
    #[error(
        "this is a private key; put the public key (cosign.pub) here, and treat the private one as exposed"
    )]
    PrivateKeyGiven,
    /// Not a private key that can be read.
    #[error(
        "not a private key of cosign (`-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----`) nor an ECDSA P-256 key in PKCS#8 (`-----BEGIN PRIVATE KEY-----`): {0}"
    )]
    PrivateKey(String),
    /// Encrypted, and the password does not open it.
    #[error(
        "the password does not open this private key: set COSIGN_PASSWORD to the one it was made with"
    )]
    Password,
    /// Larger than any key.
    #[error("a key file of {0} bytes: a key takes less than {max}", max = crate::limits::KEY_MAX)]
    TooLarge(usize),
    /// The cryptographic library gave up.
    #[error("the cryptographic library failed to {0}")]
    Library(&'static str),
}

/// Wraps a signature of cosign 2 for [`crate::Parcel::bundles`]: a layer of the
/// artifact under the tag [`simple_signing_tag`], and the annotations of its
/// descriptor, as they were found; the signature, and with it the certificate, the log
/// entry and the timestamp, if there are any. Nothing is checked here. None without
/// [`SIMPLE_SIGNING_ANNOTATION`].
#[must_use]
pub fn simple_signing(payload: &[u8], annotations: &BTreeMap<String, String>) -> Option<Vec<u8>> {
    SimpleSigning::wrap(payload, annotations)
}

/// The tag under which cosign 2 puts the signatures of `digest`.
#[must_use]
pub fn simple_signing_tag(digest: &Digest) -> String {
    format!("sha256-{}.sig", digest.hex())
}

/// The in-toto statement that a signature of `digest` covers, with the fields
/// that cosign 3 writes. It binds the digest and nothing else: no repository, no
/// tag, no time.
#[must_use]
pub fn statement(digest: &Digest) -> Vec<u8> {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": digest.hex()}, "annotations": {}}],
        "predicateType": COSIGN_SIGN,
        "predicate": {},
    })
    .to_string()
    .into_bytes()
}

/// Signs a manifest's digest: a sigstore bundle v0.3 as JSON.
///
/// # Errors
/// When the cryptographic library fails.
pub fn sign(key: &SigningKey, digest: &Digest) -> Result<Vec<u8>, KeyError> {
    let payload = statement(digest);
    let signature = key.sign(&dsse::pae(PAYLOAD_TYPE, &payload))?;
    let bundle = json!({
        "mediaType": BUNDLE_MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key.public_key().hint()}},
        "dsseEnvelope": {
            "payload": STANDARD.encode(&payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": STANDARD.encode(&signature)}],
        },
    });
    Ok(bundle.to_string().into_bytes())
}
