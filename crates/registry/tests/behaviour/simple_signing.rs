//! Signatures of cosign 2, under a tag of their own.

use std::collections::BTreeMap;

use artifact::signature::{
    SIMPLE_SIGNING_ANNOTATION, SIMPLE_SIGNING_MEDIA_TYPE, simple_signing, simple_signing_tag,
};
use artifact::{Digest, limits};
use registry::Error;
use registry::development::{DevelopmentRegistry, Fault};
use serde_json::{Value, json};

use crate::fixture::*;

/// What cosign 2 writes: one layer for each signature, of `payload` as it is.
async fn put(registry: &DevelopmentRegistry, subject: &Digest, layers: &[(&[u8], Value)]) {
    let mut listed = Vec::new();
    for (payload, annotations) in layers {
        let digest = put_blob(registry, payload).await;
        listed.push(json!({
            "mediaType": SIMPLE_SIGNING_MEDIA_TYPE, "digest": digest, "size": payload.len(),
            "annotations": annotations,
        }));
    }
    let config = put_blob(registry, b"{}").await;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": listed,
    });
    put_manifest(registry, Some(&simple_signing_tag(subject)), &manifest).await;
}

#[tokio::test]
async fn they_come_with_the_bundles_each_as_it_was_found() {
    let registry = open().await;
    let client = client();
    let (image, digest, bundle) = push_signed(&registry, &client).await;
    let signature = |text: &str| json!({SIMPLE_SIGNING_ANNOTATION: text});
    let mut with_entry = signature("MEUC");
    with_entry["dev.sigstore.cosign/certificate"] = json!("PEM");
    with_entry["dev.sigstore.cosign/bundle"] = json!("{}");
    let wrapped = |payload: &[u8], annotations: Value| {
        let annotations: BTreeMap<String, String> = serde_json::from_value(annotations).unwrap();
        simple_signing(payload, &annotations).unwrap()
    };
    let layers: [(&[u8], Value); 3] = [
        (b"payload one", with_entry.clone()),
        (b"payload two", signature("MEQC")),
        // Something else that somebody has put there.
        (b"no signature", json!({"other": "x"})),
    ];
    put(&registry, &digest, &layers).await;
    let expected = [
        bundle.to_vec(),
        wrapped(b"payload one", with_entry),
        wrapped(b"payload two", signature("MEQC")),
    ];
    let parcel = client.pull(&image, &digest, &anonymous()).await.unwrap();
    assert_eq!(parcel.bundles, expected);
    let found = client.signatures(&image, &digest, &anonymous()).await;
    assert_eq!(found.unwrap().bundles, expected);
}

#[tokio::test]
async fn no_more_of_them_come_than_are_judged() {
    let registry = open().await;
    let client = client();
    let (image, digest, _) = push_signed(&registry, &client).await;
    let payloads: Vec<Vec<u8>> = (0..limits::BUNDLES_MAX + 5)
        .map(|number| format!("payload {number}").into_bytes())
        .collect();
    let layers: Vec<(&[u8], Value)> = payloads
        .iter()
        .map(|payload| {
            (
                payload.as_slice(),
                json!({SIMPLE_SIGNING_ANNOTATION: "MEUC"}),
            )
        })
        .collect();
    put(&registry, &digest, &layers).await;
    let parcel = client.pull(&image, &digest, &anonymous()).await.unwrap();
    assert_eq!(parcel.bundles.len(), limits::BUNDLES_MAX);
}

#[tokio::test]
async fn a_tag_that_does_not_answer_is_never_unsigned() {
    let registry = open().await;
    let (image, digest) = push(&registry, &client()).await;
    for status in [401, 403, 429, 500] {
        registry.set_faults(faults("*/manifests/sha256-*.sig", Fault::Status(status)));
        let error = client().pull(&image, &digest, &anonymous()).await;
        assert!(
            matches!(error, Err(Error::ReferrersUnavailable { .. })),
            "{status}: {error:?}"
        );
    }
}
