//! A registry to test against, a component to push to it, and raw requests for
//! what the client itself would never send.

use std::collections::BTreeMap;

use artifact::signature::{self, SigningKey};
use artifact::{Digest, ImageReference};
use bytes::Bytes;
use registry::development::{DevelopmentRegistry, Faults, Options, Rule};
use registry::{Client, Config, Credentials, Error};
use serde_json::{Value, json};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

pub(crate) async fn start(options: Options) -> DevelopmentRegistry {
    DevelopmentRegistry::start("127.0.0.1:0".parse().unwrap(), options)
        .await
        .unwrap()
}

pub(crate) async fn open() -> DevelopmentRegistry {
    start(Options::default()).await
}

pub(crate) fn client() -> Client {
    Client::new(Config::default()).unwrap()
}

pub(crate) fn image(registry: &DevelopmentRegistry, name: &str) -> ImageReference {
    format!("{}/{name}", registry.addr()).parse().unwrap()
}

pub(crate) fn anonymous() -> Credentials {
    Credentials::anonymous()
}

pub(crate) fn component() -> Bytes {
    wat::parse_str("(component (core module (memory 1)))")
        .unwrap()
        .into()
}

pub(crate) fn bundle(digest: &Digest) -> Bytes {
    signature::sign(&SigningKey::generate().unwrap(), digest)
        .unwrap()
        .into()
}

pub(crate) fn faults(path: &str, fault: registry::development::Fault) -> Faults {
    Rule::on(path, fault).into()
}

/// Pushes the component to `shop/orders:1.4`.
pub(crate) async fn push(
    registry: &DevelopmentRegistry,
    client: &Client,
) -> (ImageReference, Digest) {
    let image = image(registry, "shop/orders:1.4");
    let digest = client
        .push(&image, component(), &BTreeMap::new(), &anonymous())
        .await
        .unwrap();
    (image, digest)
}

/// The same, signed once.
pub(crate) async fn push_signed(
    registry: &DevelopmentRegistry,
    client: &Client,
) -> (ImageReference, Digest, Bytes) {
    let (image, digest) = push(registry, client).await;
    let bundle = bundle(&digest);
    client
        .attach_bundle(&image, &digest, bundle.clone(), &anonymous())
        .await
        .unwrap();
    (image, digest, bundle)
}

/// Puts a blob into `shop/orders` without the client.
pub(crate) async fn put_blob(registry: &DevelopmentRegistry, content: &[u8]) -> Digest {
    let digest = Digest::of(content);
    let url = format!(
        "http://{}/v2/shop/orders/blobs/uploads/?digest={digest}",
        registry.addr()
    );
    let response = reqwest::Client::new()
        .post(url)
        .body(content.to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
    digest
}

/// Puts a manifest into `shop/orders` without the client.
pub(crate) async fn put_manifest(
    registry: &DevelopmentRegistry,
    reference: Option<&str>,
    manifest: &Value,
) -> Digest {
    let body = serde_json::to_vec(manifest).unwrap();
    let digest = Digest::of(&body);
    let reference = reference.map_or_else(|| digest.to_string(), str::to_owned);
    let media_type = manifest["mediaType"]
        .as_str()
        .unwrap_or(MANIFEST)
        .to_owned();
    let response = reqwest::Client::new()
        .put(format!(
            "http://{}/v2/shop/orders/manifests/{reference}",
            registry.addr()
        ))
        .header("content-type", media_type)
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
    digest
}

/// A manifest that refers to `subject` and holds one layer.
pub(crate) fn referrer(
    subject: &Digest,
    artifact_type: &str,
    layer_type: &str,
    layer: &[u8],
) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": artifact_type,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}"), "size": 2},
        "layers": [{"mediaType": layer_type, "digest": Digest::of(layer), "size": layer.len()}],
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": 1},
    })
}

/// Why the signatures could not be looked up.
pub(crate) fn could_not_check(error: Error) -> Error {
    match error {
        Error::ReferrersUnavailable { source, .. } => *source,
        other => panic!("expected 'could not check', not {other:?}"),
    }
}
