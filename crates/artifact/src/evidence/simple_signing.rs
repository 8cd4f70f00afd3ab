//! The signature of cosign 2: a "simple signing" payload that names a manifest's
//! digest, signed as it is, in an artifact of its own (`sha256-<hex>.sig`). Its parts,
//! the payload and the annotations beside it, travel together in the JSON of [`wrap`].

mod bundle;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigstore_types::{Bundle, SignatureBytes};
use sigstore_verify::PublicKeyVerificationPolicy;

use super::certificate::{self, Refused};
use super::{Fault, Statement, Testimony, TransparencyLog};
use crate::Digest;
use crate::root::TrustedRoot;
use crate::signature::{PublicKey, SIMPLE_SIGNING_ANNOTATION, SIMPLE_SIGNING_MEDIA_TYPE};

/// Payload, signature and what is beside them, as they were found.
#[derive(Debug)]
pub(crate) struct SimpleSigning {
    payload: Vec<u8>,
    signature: SignatureBytes,
    proof: Proof,
    /// All of it as a bundle, or why it makes none.
    bundle: Result<Bundle, String>,
}

/// What proves who signed, and when.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Proof {
    /// The signer's certificate in PEM; without one the signature is by key.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    /// JSON of a log entry and the promise about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<String>,
    /// JSON of a timestamp.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
}

/// All parts on their way.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wrapped {
    media_type: String,
    /// base64
    payload: String,
    /// base64, as in the annotation `dev.cosignproject.cosign/signature`.
    signature: String,
    #[serde(flatten)]
    proof: Proof,
}

/// containers-image-signature(5), as far as it is judged.
#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    #[serde(rename = "type")]
    type_: String,
    image: Image,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

/// What cosign writes; podman's simple signing says `atomic container signature`.
const TYPE: &str = "cosign container image signature";
/// Annotations beside the signature. The chain of the certificate is one of them and is not
/// looked at: what counts is the chain of the trusted root.
const CERTIFICATE_ANNOTATION: &str = "dev.sigstore.cosign/certificate";
const BUNDLE_ANNOTATION: &str = "dev.sigstore.cosign/bundle";
const TIMESTAMP_ANNOTATION: &str = "dev.sigstore.cosign/rfc3161timestamp";

impl SimpleSigning {
    /// Reads what [`wrap`] wrote; nothing, if it is something else.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        let wrapped: Wrapped = serde_json::from_slice(json).ok()?;
        if wrapped.media_type != SIMPLE_SIGNING_MEDIA_TYPE {
            return None;
        }
        let payload = STANDARD.decode(wrapped.payload).ok()?;
        let signature = STANDARD.decode(wrapped.signature.trim()).ok()?;
        let bundle = bundle::bundle(&payload, &signature, &wrapped.proof);
        Some(Self {
            payload,
            signature: SignatureBytes::new(signature),
            proof: wrapped.proof,
            bundle,
        })
    }

    /// JSON of all parts: a layer of the artifact, and the annotations of its descriptor.
    /// Nothing, if they hold no signature.
    pub(crate) fn wrap(payload: &[u8], annotations: &BTreeMap<String, String>) -> Option<Vec<u8>> {
        let annotation = |name: &str| {
            let text = annotations.get(name);
            text.filter(|text| !text.is_empty()).cloned()
        };
        let signature = annotations.get(SIMPLE_SIGNING_ANNOTATION)?;
        let wrapped = Wrapped {
            media_type: SIMPLE_SIGNING_MEDIA_TYPE.to_owned(),
            payload: STANDARD.encode(payload),
            signature: signature.trim().to_owned(),
            proof: Proof {
                certificate: annotation(CERTIFICATE_ANNOTATION),
                bundle: annotation(BUNDLE_ANNOTATION),
                timestamp: annotation(TIMESTAMP_ANNOTATION),
            },
        };
        serde_json::to_vec(&wrapped).ok()
    }

    /// Nothing of the payload is looked at before the signature is known to be good. A
    /// time that a log of `root` proves is the time of the signature.
    pub(super) fn by_key(
        &self,
        key: &PublicKey,
        log: TransparencyLog,
        root: Option<&TrustedRoot>,
        digest: &Digest,
    ) -> Result<(Statement, Option<Timestamp>), Fault> {
        if self.proof.certificate.is_some() {
            return Err(Fault::NotByKey);
        }
        if !key.verifies(&self.payload, &self.signature) {
            return Err(Fault::AnotherKey);
        }
        let statement = self.statement(digest)?;
        match (self.logged(key, root), log) {
            (Ok(times), _) => Ok((statement, times.into_iter().min())),
            (Err(problem), TransparencyLog::Required) => Err(Fault::NotInLog(problem)),
            (Err(_), TransparencyLog::Ignore) => Ok((statement, None)),
        }
    }

    /// Judges by the certificate beside the signature: chain, certificate log, and the
    /// log entry or timestamp, which have to be of this very signature.
    pub(super) fn by_certificate(
        &self,
        root: &TrustedRoot,
        log: TransparencyLog,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Testimony, Fault> {
        if self.proof.certificate.is_none() {
            return Err(Fault::NotByCertificate);
        }
        if self.proof.bundle.is_none() && log == TransparencyLog::Required {
            return Err(Fault::NotInLog("the signature has no log entry".to_owned()));
        }
        let unreadable = |problem: &String| Fault::Certificate(problem.clone());
        let bundle = self.bundle.as_ref().map_err(unreadable)?;
        let certified = certificate::judge(bundle, self.payload.as_slice(), root, log, now);
        let certified = certified.map_err(|refused| match refused {
            Refused::Fault(fault) => fault,
            // The entry is of another payload.
            Refused::ArtifactMismatch(problem) if log == TransparencyLog::Required => {
                Fault::NotInLog(problem)
            }
            Refused::ArtifactMismatch(problem) => Fault::Certificate(problem),
        })?;
        Ok(Testimony {
            by: certified.by,
            signed_at: certified.signed_at,
            statement: self.statement(digest)?,
        })
    }

    /// The times at which a log of `root` took in this very signature.
    fn logged(
        &self,
        key: &PublicKey,
        root: Option<&TrustedRoot>,
    ) -> Result<Vec<Timestamp>, String> {
        if self.proof.bundle.is_none() {
            return Err("the signature has no log entry".to_owned());
        }
        let bundle = self.bundle.as_ref().map_err(Clone::clone)?;
        let root = root.ok_or("there is no trusted root to check it with")?;
        let policy = PublicKeyVerificationPolicy::new(key.der().clone());
        let result = root
            .verifier()
            .verify(self.payload.as_slice(), bundle, &policy)
            .map_err(|error| error.to_string())?;
        Ok(result.verified_timestamps().to_vec())
    }

    /// What the payload says of `digest`. To be asked only once the signature is good.
    fn statement(&self, digest: &Digest) -> Result<Statement, Fault> {
        let payload: Payload = serde_json::from_slice(&self.payload).map_err(|error| {
            Fault::Unreadable(format!(
                "a signed payload that is no simple signing: {error}"
            ))
        })?;
        if payload.critical.type_ != TYPE {
            return Err(Fault::Unreadable(format!(
                "a simple signing of unknown type {:?}",
                payload.critical.type_
            )));
        }
        let signed = payload.critical.image.docker_manifest_digest;
        if signed != digest.to_string() {
            return Err(Fault::AnotherDigest { signed });
        }
        Ok(Statement::approval())
    }
}
