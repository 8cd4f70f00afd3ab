//! Names the artifacts that registries hold besides components, so that
//! somebody who pushed a container image or a Spin application is told so.
//! Knows media types only; called by [`super::read`].

use super::{Document, EMPTY_CONFIG, WASM_CONFIG, WASM_LAYER};
use crate::Refusal;

pub(super) const PUSH_A_COMPONENT: &str = "push the component with `lighterman push`, `wkg oci push` or `oras push IMAGE FILE.wasm:application/wasm`";

/// Another kind of artifact, told by a media type it is known for.
struct Known {
    media_type: &'static str,
    name: &'static str,
    mend: &'static str,
}

const RE_PUSH: &str = "push the .wasm component itself with `lighterman push` or `wkg oci push`";

/// Media types of configs, artifacts and layers. The first that occurs names
/// the artifact, so what is more particular comes first.
const KNOWN: &[Known] = &[
    Known {
        media_type: "application/vnd.fermyon.spin.application.v1+config",
        name: "a Spin application",
        mend: "push one of its components, built with `spin build`, with `lighterman push`; its routes and grants become a WasmComponent",
    },
    Known {
        media_type: "application/vnd.wasm.config.v1+json",
        name: "a Kubewarden policy or an image in the old wasm-to-oci layout",
        mend: RE_PUSH,
    },
    Known {
        media_type: "application/vnd.module.wasm.content.layer.v1+wasm",
        name: "an old wasmCloud or wasm-to-oci module",
        mend: RE_PUSH,
    },
    Known {
        media_type: "application/vnd.wasmcloud.provider.archive.layer.v1+par",
        name: "a wasmCloud capability provider",
        mend: "providers are native programs and are not run; grant the capability in the WasmComponent instead",
    },
    Known {
        media_type: "application/vnd.wasm.content.layer.v1+wasm",
        name: "an artifact in the legacy Wasm layout",
        mend: RE_PUSH,
    },
    Known {
        media_type: "application/vnd.wasm.policy.v1+yaml",
        name: "a Wassette component with a policy layer",
        mend: "push the component alone; what it may do is granted in the WasmComponent",
    },
    Known {
        media_type: "application/vnd.cncf.helm.config.v1+json",
        name: "a Helm chart",
        mend: "install it with `helm install`; a WasmComponent names the image of a component",
    },
    Known {
        media_type: "application/vnd.dev.sigstore.bundle.v0.3+json",
        name: "a sigstore bundle, that is the signature of an image",
        mend: "name the image that was signed",
    },
    Known {
        media_type: "application/vnd.dev.cosign.simplesigning.v1+json",
        name: "a cosign signature in the old format",
        mend: "name the image that was signed, and sign it with cosign 3 or `lighterman sign`",
    },
    Known {
        media_type: "application/vnd.cncf.notary.signature",
        name: "a Notary Project signature",
        mend: "name the image that was signed, and sign it with `lighterman sign` or cosign 3",
    },
    Known {
        media_type: "application/vnd.in-toto+json",
        name: "an in-toto attestation",
        mend: "name the image that it is about",
    },
    Known {
        media_type: "application/vnd.cyclonedx+json",
        name: "a CycloneDX bill of materials",
        mend: "name the image that it is about",
    },
    Known {
        media_type: "application/spdx+json",
        name: "an SPDX bill of materials",
        mend: "name the image that it is about",
    },
    Known {
        media_type: "application/vnd.cncf.flux.config.v1+json",
        name: "a Flux source",
        mend: "name the image of a component; Flux applies this one to the cluster",
    },
    Known {
        media_type: "application/vnd.oci.image.config.v1+json",
        name: "a container image",
        mend: "containers are not run here; take the .wasm file out of it and push it with `lighterman push`",
    },
    Known {
        media_type: "application/vnd.docker.container.image.v1+json",
        name: "a Docker container image",
        mend: "containers are not run here; take the .wasm file out of it and push it with `lighterman push`",
    },
    Known {
        media_type: "application/vnd.docker.plugin.v1+json",
        name: "a Docker plugin",
        mend: PUSH_A_COMPONENT,
    },
];

/// Media types of documents that list manifests.
const INDEXES: &[&str] = &[
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// Refuses everything whose media types say that it is not a component.
pub(super) fn refuse_other_kinds(document: &Document) -> Result<(), Refusal> {
    let media_type = document.media_type.as_deref().unwrap_or_default();
    if document.manifests.is_some() || INDEXES.contains(&media_type) {
        return Err(Refusal::unsupported(
            "an image index, which names several manifests",
            "a component runs on every platform: push it without an index, or name the digest of its own manifest",
        ));
    }
    if document.schema_version == Some(1) {
        return Err(Refusal::unsupported(
            "an image in Docker's retired schema 1",
            PUSH_A_COMPONENT,
        ));
    }
    let layers = document.layers.as_deref().unwrap_or_default();
    let config = document
        .config
        .as_ref()
        .map(|config| config.media_type.as_str())
        .unwrap_or_default();
    let artifact = document.artifact_type.as_deref().unwrap_or_default();
    let occurs = |media_type: &str| {
        config == media_type
            || artifact == media_type
            || layers.iter().any(|layer| layer.media_type == media_type)
    };
    if let Some(known) = KNOWN.iter().find(|known| occurs(known.media_type)) {
        return Err(Refusal::unsupported(known.name, known.mend));
    }
    if document.config.is_some() && config != WASM_CONFIG && config != EMPTY_CONFIG {
        return Err(Refusal::unsupported(
            format!("an artifact with a config of type {config:?}"),
            format!("its config has to be {WASM_CONFIG} or {EMPTY_CONFIG}; {PUSH_A_COMPONENT}"),
        ));
    }
    match layers.iter().find(|layer| layer.media_type != WASM_LAYER) {
        Some(layer) => Err(Refusal::unsupported(
            format!("an artifact with a layer of type {:?}", layer.media_type),
            format!("its one layer has to be {WASM_LAYER}; {PUSH_A_COMPONENT}"),
        )),
        None => Ok(()),
    }
}
