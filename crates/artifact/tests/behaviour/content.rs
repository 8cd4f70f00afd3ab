//! Every byte hangs by digests from the manifest that was signed.

use artifact::signature::SigningKey;
use artifact::{Digest, RefusalCode, SignedBy};
use bytes::Bytes;
use serde_json::json;

use crate::support::{Artifact, Key, component, http_component, manifest, policy};

#[test]
fn a_signed_component_is_admitted_with_its_signer_and_facts() {
    let key = Key::new();
    let artifact = Artifact::new(http_component()).signed_by(&key);
    let verified = artifact
        .judged_by(&[policy("shop", &[("release", &key)])])
        .unwrap();
    assert_eq!(verified.digest(), &artifact.digest);
    assert_eq!(verified.wasm(), &artifact.parcel.layer);
    assert_eq!(verified.parcel(), &artifact.parcel);
    let [signer] = verified.signers() else {
        panic!("{:?}", verified.signers())
    };
    assert_eq!(
        (signer.policy.as_str(), signer.authority.as_str()),
        ("shop", "release")
    );
    assert_eq!(signer.by, SignedBy::Key { key_id: key.id() });
    assert_eq!(
        verified.facts().exports,
        ["wasi:http/incoming-handler@0.2.3"]
    );
}

#[test]
fn what_oras_pushes_and_our_own_signing_signs_is_admitted() {
    let key = Key::new();
    let artifact = Artifact::as_oras_pushes(http_component());
    let bundle = artifact::signature::sign(key.signing_key(), &artifact.digest).unwrap();
    let artifact = artifact.with_bundle(bundle);
    artifact
        .judged_by(&[policy("shop", &[("release", &key)])])
        .unwrap();
}

#[test]
fn a_tampered_layer_is_refused_though_it_has_the_right_size() {
    let key = Key::new();
    let mut artifact = Artifact::new(http_component()).signed_by(&key);
    let mut layer = artifact.parcel.layer.to_vec();
    *layer.last_mut().unwrap() ^= 1;
    artifact.parcel.layer = layer.into();
    let refusal = artifact.refused_by(&[policy("shop", &[("release", &key)])]);
    assert_eq!(refusal.code(), RefusalCode::DigestMismatch);
    assert!(refusal.to_string().contains("wasm layer"), "{refusal}");
}

#[test]
fn a_tampered_config_is_refused() {
    let key = Key::new();
    let mut artifact = Artifact::new(http_component()).signed_by(&key);
    artifact.parcel.config = Bytes::from_static(b"{\"os\":\"wasip3\"}");
    let refusal = artifact.refused_by(&[policy("shop", &[("release", &key)])]);
    assert_eq!(refusal.code(), RefusalCode::DigestMismatch);
    assert!(refusal.to_string().contains("the config"), "{refusal}");
}

#[test]
fn a_manifest_swapped_for_another_signed_one_is_refused() {
    let key = Key::new();
    let wanted = Artifact::new(http_component()).signed_by(&key);
    let mut other = Artifact::new(component("")).signed_by(&key);
    other.digest = wanted.digest;
    let refusal = other.refused_by(&[policy("shop", &[("release", &key)])]);
    assert_eq!(refusal.code(), RefusalCode::DigestMismatch);
    assert!(refusal.to_string().contains("the manifest"), "{refusal}");
}

#[test]
fn a_layer_that_is_cut_off_or_goes_on_is_refused_by_its_size() {
    let key = Key::new();
    let policies = [policy("shop", &[("release", &key)])];
    let artifact = Artifact::new(http_component()).signed_by(&key);
    let layer = &artifact.parcel.layer;
    for changed in [
        layer.slice(..layer.len() - 1),
        [layer.as_ref(), b"\0"].concat().into(),
    ] {
        let mut artifact = artifact.clone();
        artifact.parcel.layer = changed;
        let refusal = artifact.refused_by(&policies);
        assert_eq!(refusal.code(), RefusalCode::DigestMismatch);
        assert!(refusal.to_string().contains("bytes"), "{refusal}");
    }
}

#[test]
fn a_layer_named_by_another_algorithm_is_refused_by_name() {
    let key = Key::new();
    let (config, layer) = (Bytes::from_static(b"{}"), Bytes::from(http_component()));
    let mut manifest = manifest(
        artifact::manifest::WASM_CONFIG,
        &config,
        &[("application/wasm", &layer)],
    );
    manifest["layers"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)));
    let artifact = Artifact::of(manifest.to_string(), config, layer).signed_by(&key);
    let refusal = artifact.refused_by(&[policy("shop", &[("release", &key)])]);
    assert_eq!(refusal.code(), RefusalCode::UnsupportedArtifact);
    assert!(refusal.to_string().contains("not sha256"), "{refusal}");
}

#[test]
fn foreign_urls_and_inline_data_of_descriptors_are_not_followed() {
    let key = Key::new();
    let (config, layer) = (Bytes::from_static(b"{}"), Bytes::from(http_component()));
    let mut manifest = manifest(
        artifact::manifest::WASM_CONFIG,
        &config,
        &[("application/wasm", &layer)],
    );
    manifest["layers"][0]["urls"] = json!(["http://169.254.169.254/latest"]);
    manifest["layers"][0]["data"] = json!("AGFzbQ==");
    let manifest = manifest.to_string();
    let layout = artifact::manifest::read(manifest.as_bytes()).unwrap();
    assert!(!format!("{layout:?}").contains("169.254"));
    let artifact = Artifact::of(manifest, config, layer).signed_by(&key);
    let verified = artifact
        .judged_by(&[policy("shop", &[("release", &key)])])
        .unwrap();
    assert_eq!(verified.wasm(), &artifact.parcel.layer);
}

#[test]
fn parts_above_their_limits_are_refused_before_they_are_read() {
    let (config, layer) = (Bytes::from_static(b"{}"), Bytes::from(http_component()));
    let good = manifest(
        artifact::manifest::WASM_CONFIG,
        &config,
        &[("application/wasm", &layer)],
    );
    let mut large_layer = good.clone();
    large_layer["layers"][0]["size"] = json!(artifact::limits::WASM_MAX + 1);
    let mut large_config = good.clone();
    large_config["config"]["size"] = json!(artifact::limits::CONFIG_MAX + 1);
    let mut large_manifest = good;
    large_manifest["annotations"] = json!({"a": "a".repeat(artifact::limits::MANIFEST_MAX)});
    for (part, manifest) in [
        ("wasm layer", large_layer),
        ("config", large_config),
        ("manifest", large_manifest),
    ] {
        let refusal = artifact::manifest::read(manifest.to_string().as_bytes()).unwrap_err();
        assert_eq!(refusal.code(), RefusalCode::TooLarge, "{part}");
        assert!(
            refusal
                .to_string()
                .starts_with(&format!("the {part} takes")),
            "{refusal}"
        );
    }
}

#[test]
fn an_over_long_manifest_is_refused_even_with_the_right_digest() {
    let key = SigningKey::generate().unwrap();
    let manifest = " ".repeat(artifact::limits::MANIFEST_MAX + 1);
    let digest = Digest::of(manifest.as_bytes());
    let bundle = artifact::signature::sign(&key, &digest).unwrap();
    let artifact = Artifact::of(manifest, Bytes::new(), Bytes::new()).with_bundle(bundle);
    let trusted = Key::new();
    let refusal = artifact.refused_by(&[policy("shop", &[("release", &trusted)])]);
    assert_eq!(refusal.code(), RefusalCode::TooLarge);
}
