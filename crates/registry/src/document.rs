//! The JSON of the OCI image specification as far as this crate reads and
//! writes it: descriptors, the index, the manifest of a component and of a
//! signature, error bodies. Unknown fields are ignored, as the specification
//! demands; in particular `urls`, which would lead elsewhere.

use std::collections::BTreeMap;

use artifact::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub(crate) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
pub(crate) const WASM_LAYER: &str = "application/wasm";
/// What cosign v3 attaches.
pub(crate) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Any version of a sigstore bundle, with parameters or without.
pub(crate) const BUNDLE_PREFIX: &str = "application/vnd.dev.sigstore.bundle";
/// The content of an empty config.
pub(crate) const EMPTY_JSON: &[u8] = b"{}";

/// A pointer to content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(crate) fn of(media_type: &str, content: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            artifact_type: None,
            digest: Digest::of(content),
            size: content.len() as u64,
            annotations: BTreeMap::new(),
        }
    }
}

/// An image manifest: of a component, or of something that refers to one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// The only layers that are signatures, whatever the manifest calls itself.
    pub(crate) fn bundles(&self) -> impl Iterator<Item = &Descriptor> {
        self.layers
            .iter()
            .filter(|layer| layer.media_type.starts_with(BUNDLE_PREFIX))
    }
}

/// An image index: a list of referrers, or of a layout's contents. Entries and
/// fields that this crate does not know are kept, because an index that is read,
/// extended and written belongs to others too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    // Not defaulted: an answer without a list is not an empty list, and must
    // not read as "nothing is attached".
    pub(crate) manifests: Vec<Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Index {
    pub(crate) fn new() -> Self {
        let mut rest = Map::new();
        rest.insert("mediaType".to_owned(), Value::from(OCI_INDEX));
        Self {
            schema_version: 2,
            manifests: Vec::new(),
            rest,
        }
    }

    /// The entries that are pointers to SHA-256 content; others cannot be
    /// checked here, and cannot be signatures that we accept.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = Descriptor> {
        self.manifests
            .iter()
            .filter_map(|entry| Descriptor::deserialize(entry).ok())
    }

    /// Whether it lists this digest.
    pub(crate) fn lists(&self, digest: &Digest) -> bool {
        self.descriptors().any(|entry| entry.digest == *digest)
    }

    /// Appends an entry.
    pub(crate) fn add(&mut self, entry: &Descriptor) -> serde_json::Result<()> {
        self.manifests.push(serde_json::to_value(entry)?);
        Ok(())
    }
}

/// The config of a component (CNCF TAG Runtime, wasm OCI artifact layout).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WasmConfig<'a> {
    pub(crate) created: &'a str,
    pub(crate) architecture: &'static str,
    pub(crate) os: &'static str,
    pub(crate) layer_digests: Vec<Digest>,
    pub(crate) component: WasmConfigComponent<'a>,
}

/// What a component needs and offers, so that a runtime can refuse early.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WasmConfigComponent<'a> {
    pub(crate) exports: &'a [String],
    pub(crate) imports: &'a [String],
}

/// The body of an error.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    pub(crate) errors: Vec<ErrorEntry>,
}

/// One error of a body.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ErrorEntry {
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
}
