//! From what a toolchain built to a component: wraps a wasm32-wasip1 module with the adapter.
//!
//! Knows bytes only. Older toolchains build a core module against preview 1, which
//! the cluster refuses; `push` and `run --set-image` wrap it here, once, before it is
//! signed, and leave a component as it is.

use bytes::Bytes;
use wasi_preview1_component_adapter_provider as adapter;
use wit_component::ComponentEncoder;

use crate::failure::Failure;

/// The bytes of a component.
#[derive(Debug)]
pub(crate) struct Build {
    /// The component.
    pub(crate) wasm: Bytes,
    /// Whether it was a core module and has been wrapped.
    pub(crate) wrapped: bool,
}

/// `\0asm`, then version 1 in layer 0: what every core module starts with.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// What a wasip1 program, as against a library, exports.
const COMMAND_ENTRY: &str = "_start";

/// Wraps a core module; everything else passes as it is, for `artifact` to judge.
pub(crate) fn component(wasm: Bytes) -> Result<Build, Failure> {
    if !wasm.starts_with(CORE_MODULE) {
        return Ok(Build {
            wasm,
            wrapped: false,
        });
    }
    let bytes = if exports(&wasm, COMMAND_ENTRY)? {
        adapter::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER
    } else {
        adapter::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER
    };
    let wasm = ComponentEncoder::default()
        .validate(true)
        .module(&wasm)
        .and_then(|encoder| encoder.adapter(adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, bytes))
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| {
            Failure::refused(
                format!("this core module cannot be wrapped into a component: {error:#}"),
                "build it for wasm32-wasip2, or for wasm32-wasip1 with bindings from wit-bindgen",
            )
        })?;
    Ok(Build {
        wasm: Bytes::from(wasm),
        wrapped: true,
    })
}

fn exports(module: &[u8], name: &str) -> Result<bool, Failure> {
    let damaged = |error: wasmparser::BinaryReaderError| {
        Failure::refused(
            format!("this is no WebAssembly module: {error}"),
            "build it again",
        )
    };
    for payload in wasmparser::Parser::new(0).parse_all(module) {
        if let wasmparser::Payload::ExportSection(section) = payload.map_err(damaged)? {
            for export in section {
                if export.map_err(damaged)?.name == name {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}
