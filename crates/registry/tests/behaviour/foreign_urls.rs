//! Descriptors that point elsewhere are fetched from the registry or not at all.

use registry::Error;
use serde_json::json;

use crate::fixture::*;

#[tokio::test]
async fn the_urls_of_a_descriptor_are_never_followed() {
    let registry = open().await;
    let trap = open().await;
    let layer = artifact::Digest::of(&component());
    let config = put_blob(&registry, b"{}").await;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": [{
            "mediaType": "application/wasm",
            "digest": layer,
            "size": component().len(),
            "urls": [format!("http://{}/v2/shop/orders/blobs/{layer}", trap.addr())],
        }],
    });
    let digest = put_manifest(&registry, Some("1.4"), &manifest).await;
    let image = image(&registry, "shop/orders:1.4");
    let error = client()
        .pull(&image, &digest, &anonymous())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    assert!(trap.requests().is_empty());
}
