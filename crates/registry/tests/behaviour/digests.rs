//! Bytes are judged by their own digest, never by what a header says.

use artifact::Digest;
use http::Method;
use registry::Error;
use registry::development::{Fault, Rule};

use crate::fixture::*;

#[tokio::test]
async fn a_damaged_layer_is_refused() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    let layer = Digest::of(&component());
    registry.set_faults(faults(&format!("*/blobs/{layer}"), Fault::Corrupt));
    let error = client
        .pull(&image, &digest, &anonymous())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::DigestMismatch { expected, .. } if *expected == layer),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_damaged_manifest_is_refused() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    registry.set_faults(faults("*/manifests/*", Fault::Corrupt));
    let error = client
        .pull(&image, &digest, &anonymous())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::DigestMismatch { expected, .. } if *expected == digest),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_manifest_is_judged_by_its_bytes_and_not_by_its_header() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    registry.set_faults(faults("*", Fault::WrongDigestHeader));
    client.pull(&image, &digest, &anonymous()).await.unwrap();
}

#[tokio::test]
async fn a_header_that_lies_about_a_tag_never_brings_another_component() {
    let registry = open().await;
    let client = client();
    let (image, _) = push(&registry, &client).await;
    registry.set_faults(
        Rule::on("*", Fault::WrongDigestHeader)
            .method(Method::HEAD)
            .into(),
    );
    let claimed = client.resolve(&image, &anonymous()).await.unwrap();
    let error = client
        .pull(&image, &claimed, &anonymous())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn a_tag_without_a_usable_header_is_resolved_by_its_bytes() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    let sha512 = Fault::Answer {
        status: 200,
        headers: vec![(
            "docker-content-digest",
            format!("sha512:{}", "a".repeat(128)),
        )],
        body: vec![],
    };
    for fault in [Fault::NoDigestHeader, Fault::Status(405), sha512] {
        registry.set_faults(Rule::on("*", fault.clone()).method(Method::HEAD).into());
        assert_eq!(
            client.resolve(&image, &anonymous()).await.unwrap(),
            digest,
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_tag_that_moves_after_it_was_resolved_does_not_change_what_is_pulled() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    let other = wat::parse_str("(component)").unwrap();
    client
        .push(&image, other.into(), &Default::default(), &anonymous())
        .await
        .unwrap();
    assert_eq!(
        client
            .pull(&image, &digest, &anonymous())
            .await
            .unwrap()
            .layer,
        component()
    );
}
