//! Artifacts that are something else: each is told by name, with the mend.

use artifact::RefusalCode::{self, CoreModule, InvalidComponent, Precompiled, UnsupportedArtifact};
use artifact::manifest::{EMPTY_CONFIG, IMAGE_MANIFEST, WASM_CONFIG, WASM_LAYER};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::{Artifact, Key, http_component, manifest, policy};

const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LEGACY_LAYER: &str = "application/vnd.wasm.content.layer.v1+wasm";

/// A manifest with one layer of each type.
fn layers(config_type: &str, layer_types: &[&str]) -> String {
    let layer = Bytes::from(http_component());
    let layers: Vec<(&str, &Bytes)> = layer_types
        .iter()
        .map(|media_type| (*media_type, &layer))
        .collect();
    manifest(config_type, b"{}", &layers).to_string()
}

fn artifact_type(artifact_type: &str, layer_type: &str) -> String {
    let mut manifest: Value = serde_json::from_str(&layers(EMPTY_CONFIG, &[layer_type])).unwrap();
    manifest["artifactType"] = json!(artifact_type);
    manifest.to_string()
}

/// Manifest, what the message names, and what it says to do.
fn manifests() -> Vec<(String, &'static str, &'static str)> {
    vec![
        (
            layers(OCI_CONFIG, &[LEGACY_LAYER, "application/vnd.fermyon.spin.application.v1+config"]),
            "a Spin application",
            "spin build",
        ),
        (
            layers(OCI_CONFIG, &["application/vnd.oci.image.layer.v1.tar+gzip"]),
            "a container image",
            "take the .wasm file out",
        ),
        (
            layers(DOCKER_CONFIG, &["application/vnd.docker.image.rootfs.diff.tar.gzip"]),
            "a Docker container image",
            "take the .wasm file out",
        ),
        (layers("application/vnd.docker.plugin.v1+json", &["x"]), "a Docker plugin", "lighterman push"),
        (layers("application/vnd.wasm.config.v1+json", &[LEGACY_LAYER]), "Kubewarden", "lighterman push"),
        (
            layers(WASM_CONFIG, &["application/vnd.module.wasm.content.layer.v1+wasm"]),
            "old wasmCloud",
            "lighterman push",
        ),
        (
            layers(EMPTY_CONFIG, &["application/vnd.wasmcloud.provider.archive.layer.v1+par"]),
            "wasmCloud capability provider",
            "grant the capability",
        ),
        (layers(WASM_CONFIG, &[LEGACY_LAYER]), "legacy Wasm layout", "lighterman push"),
        (
            layers(WASM_CONFIG, &[WASM_LAYER, "application/vnd.wasm.policy.v1+yaml"]),
            "Wassette",
            "granted in the WasmComponent",
        ),
        (layers("application/vnd.cncf.helm.config.v1+json", &["x"]), "a Helm chart", "helm install"),
        (
            artifact_type(artifact::signature::BUNDLE_MEDIA_TYPE, artifact::signature::BUNDLE_MEDIA_TYPE),
            "sigstore bundle",
            "name the image that was signed",
        ),
        (
            layers(OCI_CONFIG, &["application/vnd.dev.cosign.simplesigning.v1+json"]),
            "old format",
            "lighterman sign",
        ),
        (
            layers("application/vnd.cncf.notary.signature", &["application/jose+json"]),
            "Notary Project",
            "lighterman sign",
        ),
        (
            artifact_type("application/vnd.in-toto+json", "application/vnd.in-toto+json"),
            "in-toto attestation",
            "name the image",
        ),
        (layers(EMPTY_CONFIG, &["application/vnd.cyclonedx+json"]), "CycloneDX", "name the image"),
        (layers(EMPTY_CONFIG, &["application/spdx+json"]), "SPDX", "name the image"),
        (layers("application/vnd.cncf.flux.config.v1+json", &["x"]), "a Flux source", "image of a component"),
        (
            json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}).to_string(),
            "an image index",
            "without an index",
        ),
        (
            json!({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json"}).to_string(),
            "an image index",
            "without an index",
        ),
        (json!({"schemaVersion": 1, "fsLayers": []}).to_string(), "retired schema 1", "lighterman push"),
        (layers(WASM_CONFIG, &[WASM_LAYER, WASM_LAYER]), "an artifact with 2 layers", "exactly one layer"),
        (layers(WASM_CONFIG, &[]), "an artifact with 0 layers", "exactly one layer"),
        (layers("application/json", &[WASM_LAYER]), "\"application/json\"", "vnd.wasm.config.v0+json"),
        (layers(WASM_CONFIG, &["application/octet-stream"]), "\"application/octet-stream\"", "application/wasm"),
        (json!({"mediaType": IMAGE_MANIFEST}).to_string(), "without config and layers", "lighterman push"),
        ("[1, 2]".to_owned(), "not an OCI image manifest", "lighterman push"),
        ("<html>".to_owned(), "not an OCI image manifest", "lighterman push"),
        (String::new(), "not an OCI image manifest", "lighterman push"),
    ]
}

/// Content of a wasm layer, its refusal, what the message names and the mend.
fn contents() -> Vec<(&'static [u8], RefusalCode, &'static str, &'static str)> {
    vec![
        (
            b"\0asm\x01\0\0\0",
            CoreModule,
            "core WebAssembly module",
            "wasm32-wasip2",
        ),
        (
            b"\x7fELF\x02\x01\x01\xc8",
            Precompiled,
            ".cwasm of wasmtime",
            "push the .wasm component",
        ),
        (
            b"MZ\x90",
            Precompiled,
            "a Windows executable",
            "push the .wasm component",
        ),
        (
            b"\xcf\xfa\xed\xfe",
            Precompiled,
            "a Mach-O file",
            "push the .wasm component",
        ),
        (
            b"\xca\xfe\xba\xbe",
            Precompiled,
            "a universal Mach-O file",
            "push the .wasm component",
        ),
        (
            b"!<arch>\nlib",
            Precompiled,
            "a static library",
            "push the .wasm component",
        ),
        (
            b"\0asm\x0a\0\x01\0",
            InvalidComponent,
            "unknown binary version",
            "current toolchain",
        ),
        (b"\0asm", InvalidComponent, "cut off", "push it again"),
        (
            b"\0asm\x0d\0\x01\0\xff\xff",
            InvalidComponent,
            "not a valid component",
            "build it again",
        ),
        (b"", InvalidComponent, "it is empty", "push the .wasm file"),
        (
            b"(component)",
            InvalidComponent,
            "text format",
            "wasm-tools parse",
        ),
        (
            b";; hello\n  (module)",
            InvalidComponent,
            "text format",
            "wasm-tools parse",
        ),
        (
            b"\x1f\x8b\x08\0",
            InvalidComponent,
            "a gzip file",
            "uncompressed",
        ),
        (
            b"\x28\xb5\x2f\xfd",
            InvalidComponent,
            "a zstd file",
            "uncompressed",
        ),
        (
            b"PK\x03\x04",
            InvalidComponent,
            "a zip file",
            "that is in it",
        ),
        (
            b"BC\xc0\xde",
            InvalidComponent,
            "LLVM bitcode",
            "wasm32-wasip2",
        ),
        (
            b"#!/bin/sh\n",
            InvalidComponent,
            "a script",
            "push the .wasm file",
        ),
        (
            b"<!doctype html>",
            InvalidComponent,
            "an HTML or XML document",
            "error page",
        ),
        (
            b"{\"errors\":[]}",
            InvalidComponent,
            "a JSON document",
            "error reply",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            InvalidComponent,
            "a Git LFS pointer",
            "git lfs pull",
        ),
        (
            b"package acme:math;",
            InvalidComponent,
            "a WIT document",
            "build a component",
        ),
        (
            b"hello",
            InvalidComponent,
            "does not begin as WebAssembly does",
            "push the .wasm file",
        ),
    ]
}

#[test]
fn other_manifests_are_named_with_their_mend() {
    for (manifest, names, mend) in manifests() {
        let refusal = artifact::manifest::read(manifest.as_bytes()).expect_err(names);
        assert_eq!(refusal.code(), UnsupportedArtifact, "{names}");
        let message = refusal.to_string();
        assert!(
            message.contains(names),
            "{names:?} is missing in: {message}"
        );
        assert!(message.contains(mend), "{mend:?} is missing in: {message}");
    }
}

#[test]
fn other_contents_of_a_signed_artifact_are_named_with_their_mend() {
    let key = Key::new();
    let policies = [policy("shop", &[("release", &key)])];
    for (content, code, names, mend) in contents() {
        let artifact = Artifact::new(Bytes::from_static(content)).signed_by(&key);
        let refusal = artifact.refused_by(&policies);
        assert_eq!(refusal.code(), code, "{names}: {refusal}");
        let message = refusal.to_string();
        assert!(
            message.contains(names),
            "{names:?} is missing in: {message}"
        );
        assert!(message.contains(mend), "{mend:?} is missing in: {message}");
    }
}
