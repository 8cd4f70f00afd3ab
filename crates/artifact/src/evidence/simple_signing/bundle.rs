//! A signature of cosign 2 as a sigstore bundle: the annotations beside it hold the
//! same certificate, log entry and timestamp in other words. What they prove is then for
//! sigstore's own verifier. Nothing is checked here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use sigstore_types::{Bundle, DerCertificate};

use super::Proof;

/// With an entry of a log that promised to take it in, which is all that cosign 2 keeps.
const WITH_PROMISE: &str = "application/vnd.dev.sigstore.bundle+json;version=0.1";

/// The annotation `dev.sigstore.cosign/bundle`: a log entry and the promise about it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Promise {
    /// base64
    signed_entry_timestamp: String,
    payload: Entry,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    /// base64
    body: String,
    integrated_time: i64,
    log_index: u64,
    /// Hexadecimal digits.
    #[serde(rename = "logID")]
    log_id: String,
}

/// What kind of entry a body is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    api_version: String,
    kind: String,
}

/// The annotation `dev.sigstore.cosign/rfc3161timestamp`.
#[derive(Deserialize)]
struct Timestamp {
    /// base64
    #[serde(rename = "SignedRFC3161Timestamp")]
    token: String,
}

/// The bundle of `signature` over `payload`, or what about the annotations is unreadable.
pub(super) fn bundle(payload: &[u8], signature: &[u8], proof: &Proof) -> Result<Bundle, String> {
    let (key, value) = match &proof.certificate {
        Some(pem) => {
            let der = DerCertificate::from_pem(pem)
                .map_err(|error| format!("its certificate is not PEM: {error}"))?;
            let bytes = STANDARD.encode(der.as_bytes());
            ("certificate", json!({"rawBytes": bytes}))
        }
        None => ("publicKey", json!({"hint": ""})),
    };
    let mut material = Map::from_iter([(key.to_owned(), value)]);
    let mut media_type = crate::signature::BUNDLE_MEDIA_TYPE;
    if let Some(text) = &proof.bundle {
        media_type = WITH_PROMISE;
        material.insert("tlogEntries".to_owned(), json!([entry(text)?]));
    }
    if let Some(text) = &proof.timestamp {
        let timestamp: Timestamp = serde_json::from_str(text)
            .map_err(|error| format!("its timestamp cannot be read: {error}"))?;
        let one = json!({"signedTimestamp": timestamp.token});
        let data = json!({"rfc3161Timestamps": [one]});
        material.insert("timestampVerificationData".to_owned(), data);
    }
    let digest = STANDARD.encode(Sha256::digest(payload));
    let bundle = json!({
        "mediaType": media_type,
        "verificationMaterial": material,
        "messageSignature": {
            "messageDigest": {"algorithm": "SHA2_256", "digest": digest},
            "signature": STANDARD.encode(signature),
        },
    });
    serde_json::from_value(bundle)
        .map_err(|error| format!("its annotations cannot be read: {error}"))
}

fn entry(text: &str) -> Result<Value, String> {
    let unreadable =
        |error: &dyn std::fmt::Display| format!("its log entry cannot be read: {error}");
    let promise: Promise = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
    let Entry {
        body,
        integrated_time,
        log_index,
        log_id,
    } = promise.payload;
    let inside = STANDARD.decode(&body).map_err(|error| unreadable(&error))?;
    let kind: Kind = serde_json::from_slice(&inside).map_err(|error| unreadable(&error))?;
    let log_id = hex::decode(log_id).map_err(|error| unreadable(&error))?;
    Ok(json!({
        "logIndex": log_index.to_string(),
        "logId": {"keyId": STANDARD.encode(log_id)},
        "kindVersion": {"kind": kind.kind, "version": kind.api_version},
        "integratedTime": integrated_time.to_string(),
        "inclusionPromise": {"signedEntryTimestamp": promise.signed_entry_timestamp},
        "canonicalizedBody": body,
    }))
}
