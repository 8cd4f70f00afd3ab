//! What cosign 3.1.3 really wrote for a manifest, with `sign --key` (as it does
//! now and as cosign 2 did) and with `attest --key`. That it accepts what we write is shown by the end-to-end
//! tests, which run it.

use std::collections::BTreeMap;

use artifact::RefusalCode;
use artifact::signature::SIMPLE_SIGNING_ANNOTATION;
use artifact::trust::Policy;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::{Artifact, component};

const MANIFEST: &[u8] = include_bytes!("cosign/manifest.json");
const SIGNATURE: &[u8] = include_bytes!("cosign/signature.json");
const ATTESTATION: &[u8] = include_bytes!("cosign/attestation.json");
const PROVENANCE: &[u8] = include_bytes!("cosign/provenance.json");
const SIMPLE_SIGNING: &[u8] = include_bytes!("cosign/simple_signing.json");
const SIMPLE_SIGNATURE: &str = include_str!("cosign/simple_signing.sig");
const PUBLIC_KEY: &str = include_str!("cosign/cosign.pub");

/// The artifact that was signed: the empty component.
fn artifact() -> Artifact {
    let (config, layer) = (Bytes::from_static(b"{}"), component("").into());
    Artifact::of(MANIFEST, config, layer)
}

fn spec() -> Value {
    let authority = json!({"name": "release", "key": {"data": PUBLIC_KEY}, "ctlog": "Ignore"});
    json!({"images": [{"glob": "registry.example/**"}], "authorities": [authority]})
}

fn policy() -> Policy {
    Policy::parse("shop", &spec()).unwrap()
}

#[test]
fn a_signature_as_cosign_2_made_it_is_admitted() {
    let annotation = SIMPLE_SIGNING_ANNOTATION.to_owned();
    let annotations = BTreeMap::from([(annotation, SIMPLE_SIGNATURE.to_owned())]);
    let bundle = artifact::signature::simple_signing(SIMPLE_SIGNING, &annotations).unwrap();
    let verified = artifact()
        .with_bundle(bundle)
        .judged_by(&[policy()])
        .unwrap();
    assert_eq!(verified.signers()[0].authority, "release");
}

#[test]
fn provenance_by_cosign_meets_conditions_on_builder_and_source() {
    let demanding = |builder: &str| {
        let mut spec = spec();
        spec["attestations"] = json!([{
            "predicateType": "https://slsa.dev/provenance/v1",
            "conditions": [
                {"field": "/runDetails/builder/id", "equals": [builder]},
                {"field": "/buildDefinition/externalParameters/workflow/repository",
                 "matches": ["https://github.com/acme/*"]},
            ],
        }]);
        [Policy::parse("shop", &spec).unwrap()]
    };
    let artifact = artifact().with_bundle(SIGNATURE).with_bundle(PROVENANCE);
    artifact
        .judged_by(&demanding("https://builder.example/v1"))
        .unwrap();
    let refusal = artifact.refused_by(&demanding("https://other.example/v1"));
    assert_eq!(refusal.code(), RefusalCode::AttestationRejected);
}

#[test]
fn a_signature_by_cosign_is_admitted() {
    let verified = artifact()
        .with_bundle(SIGNATURE)
        .judged_by(&[policy()])
        .unwrap();
    assert_eq!(verified.signers()[0].authority, "release");
}

#[test]
fn an_attestation_by_cosign_alone_is_refused_as_such() {
    let refusal = artifact().with_bundle(ATTESTATION).refused_by(&[policy()]);
    assert_eq!(refusal.code(), RefusalCode::AttestationOnly);
}

#[test]
fn a_signature_by_cosign_does_not_carry_over_to_another_artifact() {
    let refusal = Artifact::new(component(""))
        .with_bundle(SIGNATURE)
        .refused_by(&[policy()]);
    assert_eq!(refusal.code(), RefusalCode::SignatureForAnotherDigest);
}
