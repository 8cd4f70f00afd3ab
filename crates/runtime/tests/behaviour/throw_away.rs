//! A `VerifiedComponent` for bytes at hand: packed, signed with a key that is thrown away,
//! and verified against a policy that trusts it. Used by tests and by `examples/serve.rs`.

use anyhow::Context;
use artifact::manifest::{EMPTY_CONFIG, IMAGE_MANIFEST, WASM_LAYER};
use artifact::root::Roots;
use artifact::signature::{SigningKey, sign};
use artifact::trust::{Policy, Scope, Trust};
use artifact::{Digest, ImageReference, Parcel, VerifiedComponent, verify};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const IMAGE: &str = "localhost/component:latest";

/// Packs, signs and verifies a component.
pub(crate) fn verified(wasm: Vec<u8>) -> anyhow::Result<VerifiedComponent> {
    let key = SigningKey::generate()?;
    let parcel = parcel(wasm.into(), &key)?;
    let policy = json!({
        "images": [{"glob": "localhost/**"}],
        "authorities": [{
            "name": "throw-away",
            "key": {"data": key.public_key().to_pem()},
            "ctlog": "Ignore",
        }],
    });
    let policies = [Policy::parse("throw-away", &policy)?];
    let image: ImageReference = IMAGE.parse()?;
    let labels = BTreeMap::new();
    let scope = Scope {
        image: &image,
        namespace: "default",
        labels: &labels,
    };
    let digest = Digest::of(&parcel.manifest);
    let trust = Trust {
        policies: &policies,
        roots: &Roots::new(),
        now: jiff::Timestamp::now(),
    };
    verify(&scope, &digest, &parcel, &trust).context("the component is not accepted")
}

fn parcel(layer: Bytes, key: &SigningKey) -> anyhow::Result<Parcel> {
    let config = Bytes::from_static(b"{}");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": descriptor(EMPTY_CONFIG, &config),
        "layers": [descriptor(WASM_LAYER, &layer)],
    });
    let manifest = Bytes::from(manifest.to_string());
    let bundle = sign(key, &Digest::of(&manifest))?;
    Ok(Parcel {
        manifest,
        config,
        layer,
        bundles: vec![bundle.into()],
    })
}

fn descriptor(media_type: &str, content: &Bytes) -> Value {
    json!({
        "mediaType": media_type,
        "digest": Digest::of(content).to_string(),
        "size": content.len(),
    })
}
