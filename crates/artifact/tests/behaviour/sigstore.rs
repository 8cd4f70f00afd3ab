//! A whole sigstore of the tests' own: certificate authority, certificate log,
//! transparency log and timestamp authority, with every dial that a forger would
//! turn. Nothing of what is tested is used to make it.

mod authority;
mod der;
pub(crate) mod simple_signing;
mod timestamp;

use artifact::Digest;
use artifact::root::TrustedRoot;
use artifact::signature::{BUNDLE_MEDIA_TYPE, COSIGN_SIGN};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use rcgen::{CustomExtension, ExtendedKeyUsagePurpose, SanType};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{IN_TOTO, Key, STATEMENT_V1, bytes, pae};
use authority::{Authority, Keys};
use timestamp::TimestampAuthority;

pub(crate) const ISSUER: &str = "https://token.actions.githubusercontent.com";
pub(crate) const SUBJECT: &str =
    "https://github.com/acme/orders/.github/workflows/release.yaml@refs/tags/v1.4.0";

/// When everything is signed; certificates live from then on for ten minutes.
pub(crate) fn signing_time() -> Timestamp {
    "2025-03-01T00:05:00Z".parse().unwrap()
}

pub(crate) struct Sigstore {
    fulcio: Authority,
    certificate_log: Keys,
    rekor: Keys,
    timestamps: TimestampAuthority,
}

/// One keyless signature before it is made.
#[derive(Clone)]
pub(crate) struct Keyless {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) statement: Value,
    /// When log and timestamp authority see it.
    pub(crate) time: Timestamp,
    /// Proof of a certificate log in the certificate.
    pub(crate) certificate_log: bool,
    /// Entry of the transparency log, with proof and promise.
    pub(crate) log: bool,
    /// Token of the timestamp authority.
    pub(crate) timestamp: bool,
}

impl Keyless {
    pub(crate) fn of(digest: &Digest) -> Self {
        Self {
            issuer: ISSUER.to_owned(),
            subject: SUBJECT.to_owned(),
            statement: statement(digest, COSIGN_SIGN, json!({})),
            time: signing_time(),
            certificate_log: true,
            log: true,
            timestamp: false,
        }
    }
}

pub(crate) fn statement(digest: &Digest, predicate_type: &str, predicate: Value) -> Value {
    json!({
        "_type": STATEMENT_V1,
        "subject": [{"digest": {"sha256": digest.hex()}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

impl Sigstore {
    pub(crate) fn new() -> Self {
        Self {
            fulcio: Authority::new("the fulcio of the tests"),
            certificate_log: Keys::new(),
            rekor: Keys::new(),
            timestamps: TimestampAuthority::new("the timestamps of the tests"),
        }
    }

    /// `trusted_root.json` with all of it.
    pub(crate) fn root_json(&self) -> Value {
        let from = json!({"start": "2024-01-01T00:00:00Z"});
        let log = |keys: &Keys| {
            json!({
                "baseUrl": "https://log.example",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(keys.spki()),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": from,
                },
                "logId": {"keyId": STANDARD.encode(Sha256::digest(keys.spki()))},
            })
        };
        let chain = |certificates: Vec<Vec<u8>>| {
            let certificates: Vec<Value> = certificates
                .iter()
                .map(|der| json!({"rawBytes": STANDARD.encode(der)}))
                .collect();
            json!({
                "subject": {"organization": "tests", "commonName": "tests"},
                "uri": "https://authority.example",
                "certChain": {"certificates": certificates},
                "validFor": from,
            })
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(&self.rekor)],
            "certificateAuthorities": [chain(vec![self.fulcio.certificate().to_vec()])],
            "ctlogs": [log(&self.certificate_log)],
            "timestampAuthorities": [chain(self.timestamps.chain())],
        })
    }

    pub(crate) fn root(&self) -> TrustedRoot {
        TrustedRoot::from_json(self.root_json().to_string().as_bytes()).unwrap()
    }

    /// A root without one of its lists.
    pub(crate) fn root_without(&self, list: &str) -> TrustedRoot {
        let mut json = self.root_json();
        json[list] = json!([]);
        TrustedRoot::from_json(json.to_string().as_bytes()).unwrap()
    }

    /// The keyless bundle.
    pub(crate) fn keyless(&self, signing: &Keyless) -> Value {
        let keys = Keys::new();
        let certificate = self.certificate(signing, &keys);
        let payload = signing.statement.to_string();
        let signature = keys.sign(&pae(IN_TOTO, payload.as_bytes()));
        let pem = pem("CERTIFICATE", &certificate);
        let mut material = json!({"certificate": {"rawBytes": STANDARD.encode(&certificate)}});
        if signing.log {
            let entry = self.dsse(payload.as_bytes(), &signature, &pem, signing.time);
            material["tlogEntries"] = json!([entry]);
        }
        if signing.timestamp {
            material["timestampVerificationData"] = self.timestamped(&signature, signing.time);
        }
        bundle(material, payload.as_bytes(), &signature)
    }

    /// The bundle of a signature by key, seen by log or timestamp authority.
    pub(crate) fn by_key(
        &self,
        key: &Key,
        statement: &Value,
        time: Timestamp,
        log: bool,
        timestamp: bool,
    ) -> Value {
        let payload = statement.to_string();
        let mut made = key.envelope(IN_TOTO, payload.as_bytes());
        let signature = made["dsseEnvelope"]["signatures"][0]["sig"]
            .as_str()
            .unwrap();
        let signature = STANDARD.decode(signature).unwrap();
        let material = &mut made["verificationMaterial"];
        if log {
            let entry = self.dsse(payload.as_bytes(), &signature, &key.pem(), time);
            material["tlogEntries"] = json!([entry]);
        }
        if timestamp {
            material["timestampVerificationData"] = self.timestamped(&signature, time);
        }
        made
    }

    fn certificate(&self, signing: &Keyless, keys: &Keys) -> Vec<u8> {
        let mut params = self.fulcio.leaf_params();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        let subject = signing.subject.as_str().try_into().unwrap();
        params.subject_alt_names = vec![if signing.subject.contains("://") {
            SanType::URI(subject)
        } else {
            SanType::Rfc822Name(subject)
        }];
        params.not_before = rcgen::date_time_ymd(2025, 3, 1);
        params.not_after = params.not_before + std::time::Duration::from_secs(600);
        // The issuer as Fulcio writes it, and as it wrote it at first; cosign reads the latter
        // with signatures of version 2.
        params.custom_extensions = vec![
            CustomExtension::from_oid_content(
                &[1, 3, 6, 1, 4, 1, 57264, 1, 1],
                signing.issuer.clone().into_bytes(),
            ),
            CustomExtension::from_oid_content(
                &[1, 3, 6, 1, 4, 1, 57264, 1, 8],
                der::utf8(&signing.issuer),
            ),
        ];
        if signing.certificate_log {
            let before = self.fulcio.issue(&params, keys);
            let body = der::members(&before)[0];
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(
                    &[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2],
                    der::octets(&self.certificate_timestamps(body)),
                ));
        }
        self.fulcio.issue(&params, keys)
    }

    /// RFC 6962, 3.2 and 3.3: a list of one timestamp over a certificate's body.
    fn certificate_timestamps(&self, body: &[u8]) -> Vec<u8> {
        let time = (signing_time().as_millisecond() as u64).to_be_bytes();
        let length = (body.len() as u32).to_be_bytes();
        let signed = [
            &[0, 0][..],
            &time,
            &[0, 1],
            &Sha256::digest(self.fulcio.spki()),
            &length[1..],
            body,
            &[0, 0],
        ]
        .concat();
        let signature = self.certificate_log.sign(&signed);
        let log_id = Sha256::digest(self.certificate_log.spki());
        let one = [
            &[0][..],
            &log_id,
            &time,
            &[0, 0],
            &[4, 3],
            &(signature.len() as u16).to_be_bytes(),
            &signature,
        ]
        .concat();
        let one = [&(one.len() as u16).to_be_bytes()[..], &one].concat();
        [&(one.len() as u16).to_be_bytes()[..], &one].concat()
    }

    /// The log entry of an envelope.
    fn dsse(&self, payload: &[u8], signature: &[u8], verifier: &str, time: Timestamp) -> Value {
        let spec = json!({
            "envelopeHash": {"algorithm": "sha256", "value": hex(&Sha256::digest(b"any"))},
            "payloadHash": {"algorithm": "sha256", "value": hex(&Sha256::digest(payload))},
            "signatures": [{
                "signature": STANDARD.encode(signature),
                "verifier": STANDARD.encode(verifier),
            }],
        });
        self.entry("dsse", spec, time)
    }

    /// An entry of a log that has this one entry, with proof and promise.
    fn entry(&self, kind: &str, spec: Value, time: Timestamp) -> Value {
        let body = json!({"apiVersion": "0.0.1", "kind": kind, "spec": spec}).to_string();
        let root = Sha256::digest([&[0][..], body.as_bytes()].concat());
        let log_id = Sha256::digest(self.rekor.spki());
        let note = format!("log.example\n1\n{}\n", STANDARD.encode(root));
        let signed = [&log_id[..4], &self.rekor.sign(note.as_bytes())].concat();
        let checkpoint = format!("{note}\n\u{2014} log.example {}\n", STANDARD.encode(signed));
        // The order of the fields is that of RFC 8785.
        let promised = format!(
            "{{\"body\":\"{}\",\"integratedTime\":{},\"logID\":\"{}\",\"logIndex\":0}}",
            STANDARD.encode(&body),
            time.as_second(),
            hex(&log_id)
        );
        json!({
            "logIndex": "0",
            "logId": {"keyId": STANDARD.encode(log_id)},
            "kindVersion": {"kind": kind, "version": "0.0.1"},
            "integratedTime": time.as_second().to_string(),
            "inclusionPromise": {
                "signedEntryTimestamp": STANDARD.encode(self.rekor.sign(promised.as_bytes())),
            },
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": STANDARD.encode(root),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": checkpoint},
            },
            "canonicalizedBody": STANDARD.encode(&body),
        })
    }

    fn timestamped(&self, signature: &[u8], time: Timestamp) -> Value {
        let token = self.timestamps.token(signature, time);
        json!({"rfc3161Timestamps": [{"signedTimestamp": STANDARD.encode(token)}]})
    }
}

fn bundle(material: Value, payload: &[u8], signature: &[u8]) -> Value {
    json!({
        "mediaType": BUNDLE_MEDIA_TYPE,
        "verificationMaterial": material,
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": IN_TOTO,
            "signatures": [{"sig": STANDARD.encode(signature)}],
        },
    })
}

/// A keyless signature of `digest`, as cosign makes it.
pub(crate) fn signed(sigstore: &Sigstore, digest: &Digest) -> Bytes {
    bytes(&sigstore.keyless(&Keyless::of(digest)))
}

pub(crate) fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time + SignedDuration::from_secs(seconds)
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
