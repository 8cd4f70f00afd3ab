//! Reads an OCI image manifest and says where the component is. Accepts what
//! the CNCF's Wasm OCI artifact guidance and a plain `oras push` write; names
//! everything else. Called by [`crate::verify`] and by the registry client,
//! which learns from it what to pull.

mod kind;

use serde::Deserialize;

use crate::limits::{CONFIG_MAX, MANIFEST_MAX, WASM_MAX};
use crate::{Digest, Refusal};

/// The one layer's media type.
pub const WASM_LAYER: &str = "application/wasm";
/// The config that the CNCF's guidance asks for, as written by `wkg`.
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The config of an artifact that has none, as written by `oras`.
pub const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";
/// The manifest's own media type.
pub const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Where the parts of a component are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The config, which says nothing that is not read again from the binary.
    pub config: Descriptor,
    /// The component.
    pub layer: Descriptor,
}

/// A part named by its content. `urls` and inline `data` of an OCI descriptor
/// are not read: following `urls` would let whoever pushed the image choose
/// whom the operator talks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The content's digest.
    pub digest: Digest,
    /// The content's length in bytes, below the limit of its kind.
    pub size: u64,
    /// The content's media type.
    pub media_type: String,
}

/// The fields that decide. All optional, so that a wrong document is named
/// instead of ending in a parser's message.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: Option<String>,
    artifact_type: Option<String>,
    schema_version: Option<u64>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    digest: String,
    size: Option<u64>,
}

/// Where the component is in the artifact that `manifest` describes.
///
/// # Errors
/// When it is anything but one `application/wasm` layer with a known config.
pub fn read(manifest: &[u8]) -> Result<Layout, Refusal> {
    check_size(manifest)?;
    let document: Document = serde_json::from_slice(manifest).map_err(|error| {
        Refusal::unsupported(
            format!("not an OCI image manifest ({error})"),
            kind::PUSH_A_COMPONENT,
        )
    })?;
    kind::refuse_other_kinds(&document)?;
    let (Some(config), Some(layers)) = (document.config, document.layers) else {
        return Err(Refusal::unsupported(
            "an OCI manifest without config and layers",
            kind::PUSH_A_COMPONENT,
        ));
    };
    let layer = match <[RawDescriptor; 1]>::try_from(layers) {
        Ok([layer]) => layer,
        Err(layers) => {
            return Err(Refusal::unsupported(
                format!("an artifact with {} layers", layers.len()),
                "a component is exactly one layer of type application/wasm; push the .wasm file alone with `lighterman push`",
            ));
        }
    };
    Ok(Layout {
        config: config.checked(
            "config",
            CONFIG_MAX,
            "push the component again; its config lists imports and exports only",
        )?,
        layer: layer.checked(
            "wasm layer",
            WASM_MAX,
            "strip debug information (`wasm-tools strip`) or split the component",
        )?,
    })
}

/// Refuses a manifest for its length alone, so that it is not even hashed.
pub(crate) fn check_size(manifest: &[u8]) -> Result<(), Refusal> {
    if manifest.len() <= MANIFEST_MAX {
        return Ok(());
    }
    let mend = "push the component with fewer or shorter annotations";
    Err(Refusal::too_many_bytes(
        "manifest",
        manifest.len() as u64,
        MANIFEST_MAX,
        mend,
    ))
}

impl RawDescriptor {
    fn checked(
        self,
        part: &'static str,
        limit: usize,
        mend: &'static str,
    ) -> Result<Descriptor, Refusal> {
        let digest = self.digest.parse().map_err(|error: crate::DigestError| {
            Refusal::unsupported(
                format!("a manifest with an unusable {part}"),
                error.to_string(),
            )
        })?;
        let size = self.size.ok_or_else(|| {
            Refusal::unsupported(
                format!("a manifest without the size of its {part}"),
                kind::PUSH_A_COMPONENT,
            )
        })?;
        if size > limit as u64 {
            return Err(Refusal::too_many_bytes(part, size, limit, mend));
        }
        Ok(Descriptor {
            digest,
            size,
            media_type: self.media_type,
        })
    }
}
