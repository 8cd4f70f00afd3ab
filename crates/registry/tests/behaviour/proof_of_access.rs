//! Proving that credentials open an image, without its layer.

use registry::development::{Access, Account, Fault, Options};
use registry::{Credentials, Error};

use crate::fixture::*;

#[tokio::test]
async fn manifest_and_signatures_come_without_config_and_layer() {
    let registry = open().await;
    let client = client();
    let (image, digest, bundle) = push_signed(&registry, &client).await;
    let whole = client.pull(&image, &digest, &anonymous()).await.unwrap();
    registry.clear_requests();

    let found = client
        .signatures(&image, &digest, &anonymous())
        .await
        .unwrap();
    assert_eq!(found.manifest, whole.manifest);
    assert_eq!(found.bundles, whole.bundles);
    assert_eq!(found.bundles.len(), 1);
    let blobs: Vec<String> = registry
        .requests()
        .into_iter()
        .map(|request| request.path)
        .filter(|path| path.contains("/blobs/"))
        .collect();
    let bundle = artifact::Digest::of(&bundle);
    assert_eq!(blobs, [format!("/v2/shop/orders/blobs/{bundle}")]);
}

#[tokio::test]
async fn credentials_that_open_nothing_prove_nothing() {
    let registry = start(Options {
        access: Access::Basic(vec![Account::new("ann", "right")]),
        ..Options::default()
    })
    .await;
    let client = client();
    let image = image(&registry, "shop/orders:1");
    let ann = Credentials::basic("ann", "right");
    let digest = client
        .push(&image, component(), &Default::default(), &ann)
        .await
        .unwrap();
    let found = client.signatures(&image, &digest, &ann).await.unwrap();
    assert!(found.bundles.is_empty());
    for other in [anonymous(), Credentials::basic("ann", "wrong")] {
        let error = client.signatures(&image, &digest, &other).await;
        assert!(matches!(error, Err(Error::Unauthorized { .. })));
    }
}

#[tokio::test]
async fn a_registry_that_sends_another_manifest_proves_nothing() {
    let registry = open().await;
    let client = client();
    let (image, digest, _) = push_signed(&registry, &client).await;
    registry.set_faults(faults(&format!("*/manifests/{digest}"), Fault::Corrupt));
    let error = client
        .signatures(&image, &digest, &anonymous())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
}
