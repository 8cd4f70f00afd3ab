//! Makes artifacts, keys, bundles and policies for the tests. Signs with the
//! cryptographic library itself, so that a mistake in the crate's own signing
//! cannot hide one in its checking.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use artifact::manifest::{EMPTY_CONFIG, IMAGE_MANIFEST, WASM_CONFIG, WASM_LAYER};
use artifact::root::Roots;
use artifact::signature::{BUNDLE_MEDIA_TYPE, COSIGN_SIGN, SigningKey};
use artifact::trust::{Policy, Scope, Trust};
use artifact::{Digest, ImageReference, Parcel, Refusal, RefusalCode, VerifiedComponent, verify};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) const IMAGE: &str = "registry.example/shop/orders:1.4";
pub(crate) const STATEMENT_V1: &str = "https://in-toto.io/Statement/v1";
pub(crate) const IN_TOTO: &str = "application/vnd.in-toto+json";

/// A component that answers HTTP, as far as its exports say.
pub(crate) fn http_component() -> Vec<u8> {
    component(
        r#"(import "wasi:clocks/monotonic-clock@0.2.3" (instance))
           (core module
             (memory 3)
             (data (i32.const 0) "hello")
             (func (result i32) (i32.const 1)))
           (instance $handler)
           (export "wasi:http/incoming-handler@0.2.3" (instance $handler))"#,
    )
}

/// A component from the text of its inside.
pub(crate) fn component(inside: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {inside})")).expect("the text of a component")
}

/// `wasm` with a custom section added at its end.
pub(crate) fn with_section(mut wasm: Vec<u8>, name: &str, data: &[u8]) -> Vec<u8> {
    use wasm_encoder::{CustomSection, Encode as _};
    let section = CustomSection {
        name: name.into(),
        data: data.into(),
    };
    wasm.push(0);
    section.encode(&mut wasm);
    wasm
}

/// `wasm` with the name that `component-name` gives it.
pub(crate) fn with_name(wasm: Vec<u8>, name: &str) -> Vec<u8> {
    let mut names = wasm_encoder::ComponentNameSection::new();
    names.component(name);
    let custom = names.as_custom();
    with_section(wasm, &custom.name, &custom.data)
}

/// A key pair that signs whatever a test wants signed.
pub(crate) struct Key {
    pair: EcdsaKeyPair,
    signing: SigningKey,
}

impl Key {
    pub(crate) fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let signing = SigningKey::from_pkcs8(pair.to_pkcs8v1().unwrap().as_ref()).unwrap();
        Self { pair, signing }
    }

    /// The private key in PKCS#8 DER.
    pub(crate) fn pkcs8(&self) -> Vec<u8> {
        self.pair.to_pkcs8v1().unwrap().as_ref().to_vec()
    }

    /// The public key.
    pub(crate) fn pem(&self) -> String {
        self.signing.public_key().to_pem()
    }

    pub(crate) fn id(&self) -> String {
        self.signing.public_key().key_id()
    }

    pub(crate) fn signing_key(&self) -> &SigningKey {
        &self.signing
    }

    /// A bare signature of a message, as TUF writes it.
    pub(crate) fn sign_hex(&self, message: &[u8]) -> String {
        let signature = self.pair.sign(&SystemRandom::new(), message).unwrap();
        let digits = signature.as_ref().iter();
        digits.map(|byte| format!("{byte:02x}")).collect()
    }

    /// A bare signature of a message.
    pub(crate) fn sign_base64(&self, message: &[u8]) -> String {
        STANDARD.encode(self.pair.sign(&SystemRandom::new(), message).unwrap())
    }

    /// The bundle of a DSSE envelope that this key signs.
    pub(crate) fn envelope(&self, payload_type: &str, payload: &[u8]) -> Value {
        let signature = self
            .pair
            .sign(&SystemRandom::new(), &pae(payload_type, payload))
            .unwrap();
        envelope(payload_type, payload, &[signature.as_ref()])
    }

    /// The bundle of a statement that this key signs.
    pub(crate) fn statement(&self, type_: &str, subject: &Digest, predicate_type: &str) -> Bytes {
        let statement = json!({
            "_type": type_,
            "subject": [{"digest": {"sha256": subject.hex()}}],
            "predicateType": predicate_type,
            "predicate": {"any": "thing"},
        });
        bytes(&self.envelope(IN_TOTO, statement.to_string().as_bytes()))
    }

    /// A signature as cosign makes it.
    pub(crate) fn sign(&self, digest: &Digest) -> Bytes {
        self.statement(STATEMENT_V1, digest, COSIGN_SIGN)
    }
}

/// DSSE's pre-authentication encoding, written out from its specification.
pub(crate) fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

/// A bundle around a DSSE envelope with any number of signatures.
pub(crate) fn envelope(payload_type: &str, payload: &[u8], signatures: &[&[u8]]) -> Value {
    let signatures: Vec<Value> = signatures
        .iter()
        .map(|signature| json!({"sig": STANDARD.encode(signature)}))
        .collect();
    json!({
        "mediaType": BUNDLE_MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": "anything"}},
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": payload_type,
            "signatures": signatures,
        },
    })
}

pub(crate) fn bytes(value: &Value) -> Bytes {
    value.to_string().into()
}

/// Reading the public-good root takes its time; once is enough.
static ROOTS: LazyLock<Roots> = LazyLock::new(Roots::new);

/// An artifact that can be bent out of shape before it is judged.
#[derive(Clone)]
pub(crate) struct Artifact {
    pub(crate) parcel: Parcel,
    pub(crate) digest: Digest,
    pub(crate) image: ImageReference,
    pub(crate) namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) roots: Roots,
    pub(crate) now: Timestamp,
}

impl Artifact {
    /// As `wkg` pushes it, unsigned.
    pub(crate) fn new(wasm: impl Into<Bytes>) -> Self {
        let (config, layer) = (Bytes::from_static(b"{\"os\":\"wasip2\"}"), wasm.into());
        let manifest = manifest(WASM_CONFIG, &config, &[(WASM_LAYER, &layer)]);
        Self::of(manifest.to_string(), config, layer)
    }

    /// As `oras` pushes it, unsigned.
    pub(crate) fn as_oras_pushes(wasm: impl Into<Bytes>) -> Self {
        let (config, layer) = (Bytes::from_static(b"{}"), wasm.into());
        let mut manifest = manifest(EMPTY_CONFIG, &config, &[(WASM_LAYER, &layer)]);
        manifest["artifactType"] = json!("application/vnd.unknown.artifact.v1");
        manifest["config"]["data"] = json!("e30=");
        Self::of(manifest.to_string(), config, layer)
    }

    pub(crate) fn of(manifest: impl Into<Bytes>, config: Bytes, layer: Bytes) -> Self {
        let manifest = manifest.into();
        Self {
            digest: Digest::of(&manifest),
            parcel: Parcel {
                manifest,
                config,
                layer,
                bundles: Vec::new(),
            },
            image: IMAGE.parse().unwrap(),
            namespace: "shop".to_owned(),
            labels: BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), "shop".to_owned())]),
            roots: ROOTS.clone(),
            now: "2025-06-01T00:00:00Z".parse().unwrap(),
        }
    }

    pub(crate) fn with_bundle(mut self, bundle: impl Into<Bytes>) -> Self {
        self.parcel.bundles.push(bundle.into());
        self
    }

    pub(crate) fn signed_by(self, key: &Key) -> Self {
        let bundle = key.sign(&self.digest);
        self.with_bundle(bundle)
    }

    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope {
            image: &self.image,
            namespace: &self.namespace,
            labels: &self.labels,
        }
    }

    pub(crate) fn with_roots(mut self, roots: Roots) -> Self {
        self.roots = roots;
        self
    }

    pub(crate) fn trust<'a>(&'a self, policies: &'a [Policy]) -> Trust<'a> {
        Trust {
            policies,
            roots: &self.roots,
            now: self.now,
        }
    }

    pub(crate) fn judged_by(&self, policies: &[Policy]) -> Result<VerifiedComponent, Refusal> {
        verify(
            &self.scope(),
            &self.digest,
            &self.parcel,
            &self.trust(policies),
        )
    }

    #[track_caller]
    pub(crate) fn refused_by(&self, policies: &[Policy]) -> Refusal {
        self.judged_by(policies)
            .expect_err("this artifact must be refused")
    }
}

/// An OCI image manifest.
pub(crate) fn manifest(config_type: &str, config: &[u8], layers: &[(&str, &Bytes)]) -> Value {
    let descriptor = |media_type: &str, content: &[u8]| {
        json!({
            "mediaType": media_type,
            "digest": Digest::of(content).to_string(),
            "size": content.len(),
        })
    };
    let layers: Vec<Value> = layers
        .iter()
        .map(|(media_type, content)| descriptor(media_type, content))
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": descriptor(config_type, config),
        "layers": layers,
    })
}

/// The spec of a policy for the shop's images with these keys.
pub(crate) fn spec(keys: &[(&str, &Key)]) -> Value {
    let authorities: Vec<Value> = keys
        .iter()
        .map(|(name, key)| json!({"name": name, "key": {"data": key.pem()}, "ctlog": "Ignore"}))
        .collect();
    json!({"images": [{"glob": "registry.example/shop/**"}], "authorities": authorities})
}

pub(crate) fn policy(name: &str, keys: &[(&str, &Key)]) -> Policy {
    Policy::parse(name, &spec(keys)).expect("a policy")
}

/// A policy for one key, changed.
pub(crate) fn policy_with(key: &Key, change: impl FnOnce(&mut Value)) -> Policy {
    let mut spec = spec(&[("release", key)]);
    change(&mut spec);
    Policy::parse("shop", &spec).unwrap()
}

/// Refused for this, in a sentence with these words.
#[track_caller]
pub(crate) fn assert_code(refusal: &Refusal, code: RefusalCode, words: &str) {
    assert_eq!(refusal.code(), code, "{refusal}");
    assert!(
        refusal.to_string().contains(words),
        "{words:?} is missing in: {refusal}"
    );
}
