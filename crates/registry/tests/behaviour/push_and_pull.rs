//! The plain way: push, sign, resolve, pull.

use std::collections::BTreeMap;

use artifact::Digest;
use http::Method;
use registry::development::Options;

use crate::fixture::*;

#[tokio::test]
async fn what_was_pushed_and_signed_is_pulled_with_its_signature() {
    let registry = open().await;
    let client = client();
    let (image, digest, bundle) = push_signed(&registry, &client).await;

    assert_eq!(client.resolve(&image, &anonymous()).await.unwrap(), digest);
    let parcel = client.pull(&image, &digest, &anonymous()).await.unwrap();
    assert_eq!(Digest::of(&parcel.manifest), digest);
    assert_eq!(parcel.layer, component());
    assert_eq!(parcel.bundles, [bundle]);
}

#[tokio::test]
async fn without_a_referrers_api_signatures_are_under_the_fallback_tag() {
    let registry = start(Options {
        referrers: false,
        ..Options::default()
    })
    .await;
    let client = client();
    let (image, digest, first) = push_signed(&registry, &client).await;
    let second = bundle(&digest);
    client
        .attach_bundle(&image, &digest, second.clone(), &anonymous())
        .await
        .unwrap();

    let tag = digest.to_string().replace(':', "-");
    assert!(registry.requests().iter().any(|request| {
        request.method == Method::PUT && request.path == format!("/v2/shop/orders/manifests/{tag}")
    }));
    let parcel = client.pull(&image, &digest, &anonymous()).await.unwrap();
    assert_eq!(parcel.bundles, [first, second]);
}

#[tokio::test]
async fn with_a_referrers_api_no_fallback_tag_is_written() {
    let registry = open().await;
    push_signed(&registry, &client()).await;
    assert!(
        !registry
            .requests()
            .iter()
            .any(|request| request.path.contains("/manifests/sha256-"))
    );
}

#[tokio::test]
async fn a_signature_looks_as_cosign_writes_it() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    let referrer = client
        .attach_bundle(&image, &digest, bundle(&digest), &anonymous())
        .await
        .unwrap();

    let url = format!(
        "http://{}/v2/shop/orders/manifests/{referrer}",
        registry.addr()
    );
    let manifest: serde_json::Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    assert_eq!(manifest["artifactType"], BUNDLE);
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.oci.empty.v1+json"
    );
    assert_eq!(manifest["layers"][0]["mediaType"], BUNDLE);
    assert_eq!(manifest["subject"]["digest"], digest.to_string());
    assert_eq!(
        manifest["annotations"]["dev.sigstore.bundle.content"],
        "dsse-envelope"
    );
    assert_eq!(
        manifest["annotations"]["dev.sigstore.bundle.predicateType"],
        "https://sigstore.dev/cosign/sign/v1"
    );
}

#[tokio::test]
async fn the_same_component_has_the_same_digest_everywhere() {
    let (one, other) = (open().await, open().await);
    let client = client();
    assert_eq!(push(&one, &client).await.1, push(&other, &client).await.1);
}

#[tokio::test]
async fn blobs_that_are_there_are_not_sent_again() {
    let registry = open().await;
    let client = client();
    push(&registry, &client).await;
    registry.clear_requests();
    push(&registry, &client).await;
    assert!(
        registry
            .requests()
            .iter()
            .all(|request| request.method != Method::POST)
    );
}

#[tokio::test]
async fn a_reference_without_tag_means_latest() {
    let registry = open().await;
    let client = client();
    let untagged = image(&registry, "shop/orders");
    let digest = client
        .push(&untagged, component(), &BTreeMap::new(), &anonymous())
        .await
        .unwrap();
    let latest = image(&registry, "shop/orders:latest");
    assert_eq!(client.resolve(&latest, &anonymous()).await.unwrap(), digest);
    assert_eq!(
        client.resolve(&untagged, &anonymous()).await.unwrap(),
        digest
    );
}

#[tokio::test]
async fn a_reference_with_a_digest_is_resolved_without_asking() {
    let registry = open().await;
    let digest = Digest::of(b"anything");
    let pinned = image(&registry, "shop/orders:1.4").with_digest(digest);
    assert_eq!(
        client().resolve(&pinned, &anonymous()).await.unwrap(),
        digest
    );
    assert!(registry.requests().is_empty());
}

#[tokio::test]
async fn what_is_not_a_component_is_not_pushed() {
    let registry = open().await;
    let image = image(&registry, "shop/orders:1.4");
    let module = wat::parse_str("(module)").unwrap();
    let error = client()
        .push(&image, module.into(), &BTreeMap::new(), &anonymous())
        .await
        .unwrap_err();
    assert!(matches!(error, registry::Error::Refused(_)), "{error:?}");
    assert!(registry.requests().is_empty());
}

#[tokio::test]
async fn what_is_not_a_bundle_is_not_attached() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    for text in ["", "{}", r#"{"dsseEnvelope":{"payload":"e30="}}"#] {
        let error = client
            .attach_bundle(&image, &digest, text.into(), &anonymous())
            .await
            .unwrap_err();
        assert!(
            matches!(error, registry::Error::NotABundle { .. }),
            "{text}: {error:?}"
        );
    }
}

#[tokio::test]
async fn an_image_that_does_not_exist_is_not_found() {
    let registry = open().await;
    let error = client()
        .resolve(&image(&registry, "shop/nothing:1"), &anonymous())
        .await
        .unwrap_err();
    assert!(
        matches!(error, registry::Error::NotFound { .. }),
        "{error:?}"
    );
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_registry_that_is_down_is_unreachable_and_worth_a_retry() {
    let registry = open().await;
    let image = image(&registry, "shop/orders:1.4");
    registry.stop().await;
    let error = client().resolve(&image, &anonymous()).await.unwrap_err();
    assert!(
        matches!(error, registry::Error::Unreachable { .. }),
        "{error:?}"
    );
    assert!(error.is_retryable());
}
