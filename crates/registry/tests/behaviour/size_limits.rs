//! Every body has a bound, whoever sends it.

use artifact::Digest;
use http::Method;
use registry::Error;
use registry::development::{Access, Fault, Faults, Options, Rule};
use serde_json::json;

use crate::fixture::*;

#[tokio::test]
async fn a_manifest_that_never_ends_is_cut_off() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    registry.set_faults(faults("*/manifests/*", Fault::Endless { status: 200 }));
    let error = client
        .pull(&image, &digest, &anonymous())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { limit: 65_536, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_manifest_that_is_resolved_by_its_body_is_cut_off_too() {
    let registry = open().await;
    let head = Rule::on("*", Fault::Status(405)).method(Method::HEAD);
    registry.set_faults(Faults::from(head).with(Rule::on("*", Fault::Endless { status: 200 })));
    let error = client()
        .resolve(&image(&registry, "shop/orders:1.4"), &anonymous())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn an_error_body_that_never_ends_is_cut_off() {
    let registry = open().await;
    registry.set_faults(faults("*", Fault::Endless { status: 418 }));
    let image = image(&registry, "shop/orders:1.4");
    let error = client()
        .pull(&image, &Digest::of(b"x"), &anonymous())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Unexpected { status: 418, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_error_never_shows_what_the_registry_wrote() {
    let registry = open().await;
    let body = br#"{"errors":[{"code":"DENIED","message":"the inner secret"}]}"#.to_vec();
    registry.set_faults(faults(
        "*",
        Fault::Answer {
            status: 418,
            headers: vec![],
            body,
        },
    ));
    let image = image(&registry, "shop/orders:1.4");
    let error = client()
        .pull(&image, &Digest::of(b"x"), &anonymous())
        .await
        .unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains("DENIED") && !shown.contains("inner secret"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_token_reply_that_never_ends_is_cut_off() {
    let registry = start(Options {
        access: Access::Bearer {
            accounts: vec![],
            anonymous_pull: true,
            realm: None,
        },
        faults: faults("/token", Fault::Endless { status: 200 }),
        ..Options::default()
    })
    .await;
    let error = client()
        .resolve(&image(&registry, "shop/orders:1.4"), &anonymous())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_list_of_signatures_that_never_ends_is_not_an_empty_one() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    registry.set_faults(faults("*/referrers/*", Fault::Endless { status: 200 }));
    let error = could_not_check(
        client
            .pull(&image, &digest, &anonymous())
            .await
            .unwrap_err(),
    );
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_layer_that_is_declared_too_large_is_not_asked_for() {
    let registry = open().await;
    let layer = Digest::of(b"large");
    let config = put_blob(&registry, b"{}").await;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/wasm", "digest": layer, "size": 64 * 1024 * 1024 + 1}],
    });
    let digest = put_manifest(&registry, Some("1.4"), &manifest).await;
    registry.clear_requests();
    let image = image(&registry, "shop/orders:1.4");
    let error = client()
        .pull(&image, &digest, &anonymous())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { .. } | Error::Refused(_)),
        "{error:?}"
    );
    assert!(
        registry
            .requests()
            .iter()
            .all(|request| !request.path.contains(&layer.hex()))
    );
}

#[tokio::test]
async fn a_layer_with_more_bytes_than_declared_is_cut_off() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    let path = format!("*/blobs/{}", Digest::of(&component()));
    for by in [1, 200_000] {
        registry.set_faults(faults(&path, Fault::Overlong { by }));
        let error = client
            .pull(&image, &digest, &anonymous())
            .await
            .unwrap_err();
        let size = component().len() as u64;
        assert!(
            matches!(error, Error::SizeMismatch { expected, actual, .. } if expected == size && actual == size + 1),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_layer_with_fewer_bytes_than_declared_is_refused() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    let path = format!("*/blobs/{}", Digest::of(&component()));
    registry.set_faults(faults(&path, Fault::Truncate { to: 5 }));
    let error = client
        .pull(&image, &digest, &anonymous())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::SizeMismatch { actual: 5, .. }),
        "{error:?}"
    );
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_layer_whose_connection_breaks_is_worth_a_retry() {
    let registry = open().await;
    let client = client();
    let (image, digest) = push(&registry, &client).await;
    let path = format!("*/blobs/{}", Digest::of(&component()));
    registry.set_faults(faults(&path, Fault::Cut { at: 5 }));
    let error = client
        .pull(&image, &digest, &anonymous())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.is_retryable());
}
