//! The OCI documents of an image: config and manifest (image-spec v1.1), and those
//! of an attachment. Values in, values out. Called by `main`.

use artifact::Digest;
use bytes::Bytes;
use registry::Image;
use serde_json::json;

use crate::contents::{Recipe, USER};
use crate::layer::Layer;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The same image on every day.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// A container image of one layer.
pub(crate) fn container(
    recipe: &Recipe,
    layer: &Layer,
    version: &str,
) -> serde_json::Result<Image> {
    let labels = json!({
        "org.opencontainers.image.title": recipe.title,
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
    });
    let config = serde_json::to_vec(&json!({
        "created": CREATED,
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "User": format!("{USER}:{USER}"),
            "Entrypoint": [format!("/{}", recipe.program)],
            "WorkingDir": recipe.working_directory,
            "Labels": labels,
        },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer.archive)] },
        "history": [{ "created": CREATED, "created_by": "make images" }],
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, &config),
        "layers": [descriptor(LAYER, &layer.compressed)],
        "annotations": labels,
    }))?;
    Ok(Image {
        manifest: manifest.into(),
        blobs: vec![config.into(), layer.compressed.clone()],
    })
}

/// A document that refers to `subject`, as the referrers API lists it.
pub(crate) fn attachment(
    subject: &Image,
    media_type: &str,
    document: Bytes,
) -> serde_json::Result<Image> {
    let empty = b"{}";
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": media_type,
        "config": descriptor(EMPTY, empty),
        "layers": [descriptor(media_type, &document)],
        "subject": descriptor(MANIFEST, &subject.manifest),
    }))?;
    Ok(Image {
        manifest: manifest.into(),
        blobs: vec![Bytes::from_static(empty), document],
    })
}

fn descriptor(media_type: &str, content: &[u8]) -> serde_json::Value {
    json!({ "mediaType": media_type, "digest": Digest::of(content), "size": content.len() })
}

/// This machine's architecture by the name that Go, and so OCI, gives it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
