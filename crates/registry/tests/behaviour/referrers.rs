//! Finding signatures: "none" only when that is certain.

use std::time::Duration;

use artifact::Digest;
use registry::Error;
use registry::development::{DevelopmentRegistry, Fault, Options};
use serde_json::json;

use crate::fixture::*;

/// Attaches a bundle by hand, under any artifact type.
async fn attach(
    registry: &DevelopmentRegistry,
    subject: &Digest,
    artifact_type: &str,
    layer_type: &str,
    layer: &[u8],
) -> Digest {
    put_blob(registry, layer).await;
    put_manifest(
        registry,
        None,
        &referrer(subject, artifact_type, layer_type, layer),
    )
    .await
}

#[tokio::test]
async fn an_image_with_nothing_attached_is_unsigned() {
    for referrers in [true, false] {
        let registry = start(Options {
            referrers,
            ..Options::default()
        })
        .await;
        let client = client();
        let (image, digest) = push(&registry, &client).await;
        assert!(
            client
                .pull(&image, &digest, &anonymous())
                .await
                .unwrap()
                .bundles
                .is_empty()
        );
    }
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_never_unsigned() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    for status in [401, 403, 429, 500, 502, 503] {
        registry.set_faults(faults("*/referrers/*", Fault::Status(status)));
        // One that no answer before has told to slow down.
        let client = crate::fixture::client();
        let error = client
            .pull(&image, &digest, &anonymous())
            .await
            .unwrap_err();
        assert_eq!(error.is_retryable(), status >= 429, "{status}");
        let source = could_not_check(error);
        assert_eq!(
            matches!(source, Error::Unauthorized { .. }),
            status < 404,
            "{status}: {source:?}"
        );
    }
}

#[tokio::test]
async fn a_fallback_tag_that_does_not_answer_is_never_unsigned() {
    let registry = start(Options {
        referrers: false,
        ..Options::default()
    })
    .await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    for status in [401, 403, 429, 500] {
        registry.set_faults(faults("*/manifests/sha256-*", Fault::Status(status)));
        could_not_check(
            crate::fixture::client()
                .pull(&image, &digest, &anonymous())
                .await
                .unwrap_err(),
        );
    }
}

#[tokio::test]
async fn a_registry_without_the_api_is_asked_for_the_fallback_tag() {
    let registry = start(Options {
        referrers: false,
        ..Options::default()
    })
    .await;
    let client = client();
    let (image, digest, bundle) = push_signed(&registry, &client).await;
    for status in [400, 404, 405, 501] {
        registry.set_faults(faults("*/referrers/*", Fault::Status(status)));
        let parcel = client.pull(&image, &digest, &anonymous()).await.unwrap();
        assert_eq!(parcel.bundles, std::slice::from_ref(&bundle), "{status}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_a_list_is_never_unsigned() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    for body in [
        "",
        "{}",
        "<html>",
        r#"{"schemaVersion":2}"#,
        r#"{"schemaVersion":2,"manifests":null}"#,
    ] {
        let fault = Fault::Answer {
            status: 200,
            headers: vec![],
            body: body.into(),
        };
        registry.set_faults(faults("*/referrers/*", fault));
        let source = could_not_check(
            client
                .pull(&image, &digest, &anonymous())
                .await
                .unwrap_err(),
        );
        assert!(
            matches!(source, Error::Malformed { .. }),
            "{body}: {source:?}"
        );
    }
}

#[tokio::test]
async fn a_long_wait_for_the_signatures_is_passed_on() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    registry.set_faults(faults(
        "*/referrers/*",
        Fault::RateLimited { retry_after: 7 },
    ));
    let error = client
        .pull(&image, &digest, &anonymous())
        .await
        .unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_signature_on_a_later_page_is_found() {
    let registry = start(Options {
        referrers_page: Some(1),
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
    attach(
        &registry,
        &digest,
        "application/sbom",
        "application/sbom",
        b"parts",
    )
    .await;
    let bundles = client
        .pull(&image, &digest, &anonymous())
        .await
        .unwrap()
        .bundles;
    assert_eq!(bundles.len(), 2);
    assert!(bundles.contains(&first) && bundles.contains(&second));
}

#[tokio::test]
async fn a_list_that_continues_elsewhere_is_not_followed() {
    let registry = open().await;
    let elsewhere = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    let link = format!(
        "<http://{}/v2/shop/orders/referrers/{digest}>; rel=\"next\"",
        elsewhere.addr()
    );
    let body = br#"{"schemaVersion":2,"manifests":[]}"#.to_vec();
    registry.set_faults(faults(
        "*/referrers/*",
        Fault::Answer {
            status: 200,
            headers: vec![("link", link)],
            body,
        },
    ));
    could_not_check(
        client
            .pull(&image, &digest, &anonymous())
            .await
            .unwrap_err(),
    );
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_list_that_never_ends_is_given_up_and_never_unsigned() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    let link = format!("</v2/shop/orders/referrers/{digest}?again>; rel=next");
    let body = br#"{"schemaVersion":2,"manifests":[]}"#.to_vec();
    registry.set_faults(faults(
        "*/referrers/*",
        Fault::Answer {
            status: 200,
            headers: vec![("link", link)],
            body,
        },
    ));
    registry.clear_requests();
    let source = could_not_check(
        client
            .pull(&image, &digest, &anonymous())
            .await
            .unwrap_err(),
    );
    assert!(
        matches!(source, Error::TooManyReferrers { .. }),
        "{source:?}"
    );
    assert_eq!(
        registry
            .requests()
            .iter()
            .filter(|request| request.path.contains("/referrers/"))
            .count(),
        16
    );
}

#[tokio::test]
async fn a_signature_is_known_by_its_layer_and_not_by_what_it_calls_itself() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    let mut expected = Vec::new();
    for artifact_type in [
        "application/vnd.oci.empty.v1+json",
        "application/unknown",
        BUNDLE,
    ] {
        let bundle = bundle(&digest);
        attach(&registry, &digest, artifact_type, BUNDLE, &bundle).await;
        expected.push(bundle);
    }
    attach(
        &registry,
        &digest,
        BUNDLE,
        "application/octet-stream",
        b"not a signature",
    )
    .await;
    let bundles = client
        .pull(&image, &digest, &anonymous())
        .await
        .unwrap()
        .bundles;
    assert_eq!(bundles.len(), 3);
    assert!(expected.iter().all(|bundle| bundles.contains(bundle)));
}

#[tokio::test]
async fn what_is_listed_but_refers_to_another_image_is_passed_over() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    let other = Digest::of(b"another image");
    let stray = attach(&registry, &other, BUNDLE, BUNDLE, &bundle(&other)).await;
    let body = json!({"schemaVersion": 2, "manifests": [{"mediaType": MANIFEST, "digest": stray, "size": 1}]});
    let fault = Fault::Answer {
        status: 200,
        headers: vec![],
        body: serde_json::to_vec(&body).unwrap(),
    };
    registry.set_faults(faults("*/referrers/*", fault));
    assert!(
        client
            .pull(&image, &digest, &anonymous())
            .await
            .unwrap()
            .bundles
            .is_empty()
    );
}

#[tokio::test]
async fn a_huge_bundle_does_not_hide_a_good_one() {
    let registry = open().await;
    let client = client();
    let (image, digest, good) = push_signed(&registry, &client).await;
    attach(
        &registry,
        &digest,
        BUNDLE,
        BUNDLE,
        &vec![b' '; 256 * 1024 + 1],
    )
    .await;
    assert_eq!(
        client
            .pull(&image, &digest, &anonymous())
            .await
            .unwrap()
            .bundles,
        [good]
    );
}

#[tokio::test]
async fn a_flood_of_other_referrers_does_not_hide_a_signature() {
    let registry = open().await;
    let client = client();
    let (image, digest, good) = push_signed(&registry, &client).await;
    for number in 0..40 {
        attach(
            &registry,
            &digest,
            "application/sbom",
            "application/sbom",
            format!("{number}").as_bytes(),
        )
        .await;
    }
    assert_eq!(
        client
            .pull(&image, &digest, &anonymous())
            .await
            .unwrap()
            .bundles,
        [good]
    );
}

#[tokio::test]
async fn a_flood_without_a_signature_in_sight_is_never_unsigned() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    for number in 0..33 {
        attach(
            &registry,
            &digest,
            BUNDLE,
            "application/sbom",
            format!("{number}").as_bytes(),
        )
        .await;
    }
    let source = could_not_check(
        client
            .pull(&image, &digest, &anonymous())
            .await
            .unwrap_err(),
    );
    assert!(
        matches!(source, Error::TooManyReferrers { limit: 32 }),
        "{source:?}"
    );
}

#[tokio::test]
async fn a_damaged_bundle_is_never_unsigned() {
    let registry = open().await;
    let client = client();
    let (image, digest, bundle) = push_signed(&registry, &client).await;
    registry.set_faults(faults(
        &format!("*/blobs/{}", Digest::of(&bundle)),
        Fault::Corrupt,
    ));
    let source = could_not_check(
        client
            .pull(&image, &digest, &anonymous())
            .await
            .unwrap_err(),
    );
    assert!(matches!(source, Error::DigestMismatch { .. }), "{source:?}");
}

#[tokio::test]
async fn an_entry_with_another_hash_does_not_spoil_the_list() {
    let registry = start(Options {
        referrers: false,
        ..Options::default()
    })
    .await;
    let client = client();
    let (image, digest, first) = push_signed(&registry, &client).await;
    let tag = digest.to_string().replace(':', "-");
    let url = format!("http://{}/v2/shop/orders/manifests/{tag}", registry.addr());
    let mut index: serde_json::Value = reqwest::get(url.as_str())
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let foreign = json!({"mediaType": MANIFEST, "digest": format!("sha512:{}", "0".repeat(128)), "size": 9, "urls": ["x"]});
    index["manifests"]
        .as_array_mut()
        .unwrap()
        .push(foreign.clone());
    put_manifest(&registry, Some(&tag), &index).await;

    let second = bundle(&digest);
    client
        .attach_bundle(&image, &digest, second.clone(), &anonymous())
        .await
        .unwrap();
    assert_eq!(
        client
            .pull(&image, &digest, &anonymous())
            .await
            .unwrap()
            .bundles,
        [first, second]
    );
    let index: serde_json::Value = reqwest::get(url.as_str())
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(
        index["manifests"].as_array().unwrap().contains(&foreign),
        "others' entries are kept as they are"
    );
}
