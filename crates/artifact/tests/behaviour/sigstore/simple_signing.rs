//! A keyless signature as cosign 2 writes it: a payload, and annotations beside it.

use std::collections::BTreeMap;

use artifact::signature::SIMPLE_SIGNING_ANNOTATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::authority::Keys;
use super::{Keyless, Sigstore, hex, pem};
use crate::support::Key;

pub(crate) const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
pub(crate) const CHAIN: &str = "dev.sigstore.cosign/chain";
pub(crate) const BUNDLE: &str = "dev.sigstore.cosign/bundle";
pub(crate) const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";
pub(crate) const COSIGN_2: &str = "cosign container image signature";

/// A layer and its annotations.
#[derive(Clone)]
pub(crate) struct SimpleSigning {
    pub(crate) payload: Vec<u8>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What cosign 2 signs.
pub(crate) fn payload(digest: &str, type_: &str) -> Vec<u8> {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": "registry.example/shop/orders"},
            "image": {"docker-manifest-digest": digest},
            "type": type_,
        },
        "optional": null,
    });
    payload.to_string().into_bytes()
}

impl SimpleSigning {
    /// As it travels.
    pub(crate) fn wrapped(&self) -> Vec<u8> {
        artifact::signature::simple_signing(&self.payload, &self.annotations).unwrap()
    }
}

impl Sigstore {
    /// What `signing` says of certificate, log and time, over this payload.
    pub(crate) fn cosign_2(&self, signing: &Keyless, payload: &[u8]) -> SimpleSigning {
        let keys = Keys::new();
        let certificate = pem("CERTIFICATE", &self.certificate(signing, &keys));
        let signature = keys.sign(payload);
        let mut annotations = BTreeMap::from([
            (
                SIMPLE_SIGNING_ANNOTATION.to_owned(),
                STANDARD.encode(&signature),
            ),
            (CERTIFICATE.to_owned(), certificate.clone()),
            (
                CHAIN.to_owned(),
                pem("CERTIFICATE", self.fulcio.certificate()),
            ),
        ]);
        if signing.log {
            let entry = self.hashedrekord(payload, &signature, &certificate, signing.time);
            annotations.insert(BUNDLE.to_owned(), promise(&entry).to_string());
        }
        if signing.timestamp {
            let token = STANDARD.encode(self.timestamps.token(&signature, signing.time));
            let timestamp = json!({"SignedRFC3161Timestamp": token});
            annotations.insert(TIMESTAMP.to_owned(), timestamp.to_string());
        }
        SimpleSigning {
            payload: payload.to_vec(),
            annotations,
        }
    }

    /// The same by a key, in the log.
    pub(crate) fn cosign_2_by_key(
        &self,
        key: &Key,
        payload: &[u8],
        time: Timestamp,
    ) -> SimpleSigning {
        let signature = key.sign_base64(payload);
        let raw = STANDARD.decode(&signature).unwrap();
        let entry = self.hashedrekord(payload, &raw, &key.pem(), time);
        let annotations = BTreeMap::from([
            (SIMPLE_SIGNING_ANNOTATION.to_owned(), signature),
            (BUNDLE.to_owned(), promise(&entry).to_string()),
        ]);
        SimpleSigning {
            payload: payload.to_vec(),
            annotations,
        }
    }

    fn hashedrekord(
        &self,
        payload: &[u8],
        signature: &[u8],
        verifier: &str,
        time: Timestamp,
    ) -> Value {
        let spec = json!({
            "data": {"hash": {"algorithm": "sha256", "value": hex(&Sha256::digest(payload))}},
            "signature": {
                "content": STANDARD.encode(signature),
                "publicKey": {"content": STANDARD.encode(verifier)},
            },
        });
        self.entry("hashedrekord", spec, time)
    }
}

/// A log entry as the annotation has it: without proof, with the promise.
fn promise(entry: &Value) -> Value {
    let log_id = STANDARD.decode(entry["logId"]["keyId"].as_str().unwrap());
    let time: i64 = entry["integratedTime"].as_str().unwrap().parse().unwrap();
    json!({
        "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
        "Payload": {
            "body": entry["canonicalizedBody"],
            "integratedTime": time,
            "logIndex": 0,
            "logID": hex(&log_id.unwrap()),
        },
    })
}
