//! What a component says of itself: that it is one, its name and version, what
//! it imports and exports, and how much it takes before it has done anything.
//! Uses the validator and a scan of sections only; the richer WIT decoders are
//! not hardened against hostile bytes. Called by [`crate::verify`].

mod scan;
mod sniff;

use capability::Request;
use wasmparser::{Validator, WasmFeatures};

use crate::Refusal;
use crate::limits::WASM_MAX;
pub(crate) use sniff::refuse_other_formats;

/// What was read from a valid component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// From the `component-name` section. Free text of the publisher.
    pub name: Option<String>,
    /// From the `version` section. Free text of the publisher.
    pub version: Option<String>,
    /// Extern names such as `wasi:http/types@0.2.4`, in the binary's order.
    pub imports: Vec<String>,
    /// Extern names, in the binary's order.
    pub exports: Vec<String>,
    /// How it wants to be called.
    pub world: World,
    /// Bytes of memory that one instance has from the start: the minima of all
    /// memories of all its core modules.
    pub initial_memory: u64,
    /// Bytes that are copied into memory when it is instantiated.
    pub data_bytes: u64,
    /// Memories that its core modules define.
    pub memories: u32,
    /// Core modules at any depth.
    pub core_modules: u32,
    /// What it asks for: its [`crate::manifest_section`].
    pub request: Option<Request>,
}

impl Facts {
    /// Name and version: those of the manifest, which is written on purpose, and otherwise
    /// those of the sections that toolchains write.
    #[must_use]
    pub fn identity(&self) -> (Option<&str>, Option<&str>) {
        match &self.request {
            Some(Request { component, .. }) => (Some(&component.name), Some(&component.version)),
            None => (self.name.as_deref(), self.version.as_deref()),
        }
    }
}

/// The worlds that a trigger can call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum World {
    /// Exports `wasi:http/incoming-handler@0.2.x`.
    HttpP2,
    /// Exports `wasi:http/handler@0.3.x`.
    HttpP3,
    /// Exports `wasi:cli/run`, or `lighterman:core/lifecycle` in place of it.
    Command,
    /// Exports something else, of which functions can be called, or nothing.
    Other,
}

/// The WebAssembly features that nodes run: what stable toolchains emit.
///
/// Threads, shared memory, garbage collection, exceptions, 64-bit and several
/// memories are off: each widens what a guest can do to the host, and no WASI
/// 0.2 toolchain needs them.
#[must_use]
pub fn features() -> WasmFeatures {
    WasmFeatures::WASM2.difference(WasmFeatures::GC_TYPES)
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::COMPONENT_MODEL
        | WasmFeatures::CM_ASYNC
}

/// Validates a component and reads its facts.
///
/// # Errors
/// When it is too large, not a component, or not valid with [`features`].
pub fn inspect(wasm: &[u8]) -> Result<Facts, Refusal> {
    if wasm.len() > WASM_MAX {
        let mend = "strip debug information (`wasm-tools strip`) or split the component";
        return Err(Refusal::too_many_bytes(
            "component",
            wasm.len() as u64,
            WASM_MAX,
            mend,
        ));
    }
    refuse_other_formats(wasm)?;
    Validator::new_with_features(features()).validate_all(wasm).map_err(|error| {
        Refusal::invalid(format!(
            "{error}; build it again with a current toolchain, without threads, garbage collection, exceptions or 64-bit memory"
        ))
    })?;
    scan::facts(wasm)
}
