//! A component in a directory: written, read back, and refused when damaged.

use std::fs;

use artifact::{Digest, Parcel};
use registry::layout::{self, LayoutError};

use crate::fixture::*;

async fn pulled() -> Parcel {
    let registry = open().await;
    let client = client();
    let (image, digest, _) = push_signed(&registry, &client).await;
    client
        .attach_bundle(&image, &digest, bundle(&digest), &anonymous())
        .await
        .unwrap();
    client.pull(&image, &digest, &anonymous()).await.unwrap()
}

#[tokio::test]
async fn what_is_written_is_read_with_its_signatures() {
    let parcel = pulled().await;
    let folder = tempfile::tempdir().unwrap();
    layout::write(folder.path(), "shop/orders:1.4", &parcel).unwrap();
    for name in [None, Some("shop/orders:1.4")] {
        let read = layout::read(folder.path(), name).unwrap();
        assert_eq!(read.manifest, parcel.manifest);
        assert_eq!(read.config, parcel.config);
        assert_eq!(read.layer, parcel.layer);
        assert_eq!(read.bundles, parcel.bundles);
    }
}

#[tokio::test]
async fn the_same_parcel_is_the_same_layout() {
    let parcel = pulled().await;
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&one, &other] {
        layout::write(folder.path(), "shop/orders:1.4", &parcel).unwrap();
    }
    let index = |folder: &tempfile::TempDir| fs::read(folder.path().join("index.json")).unwrap();
    assert_eq!(index(&one), index(&other));
}

#[tokio::test]
async fn another_name_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    layout::write(folder.path(), "shop/orders:1.4", &pulled().await).unwrap();
    let error = layout::read(folder.path(), Some("shop/bills:1")).unwrap_err();
    assert!(
        matches!(error, LayoutError::NotOneImage { found: 0, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_damaged_blob_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let parcel = pulled().await;
    layout::write(folder.path(), "shop/orders:1.4", &parcel).unwrap();
    let blob = folder
        .path()
        .join("blobs/sha256")
        .join(Digest::of(&parcel.layer).hex());
    fs::write(blob, b"something else").unwrap();
    let error = layout::read(folder.path(), None).unwrap_err();
    assert!(
        matches!(error, LayoutError::DigestMismatch { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_folder_that_is_no_layout_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        layout::read(folder.path(), None),
        Err(LayoutError::Io { .. })
    ));
    fs::write(folder.path().join("index.json"), "[]").unwrap();
    assert!(matches!(
        layout::read(folder.path(), None),
        Err(LayoutError::Malformed { .. })
    ));
}
