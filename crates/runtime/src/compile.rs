//! Bytes of a verified component to machine code.
//!
//! Runs in the compiler process, which has no runtime, no network and little memory: it
//! makes an engine without pools and nothing else. The output is native code of whoever
//! maps it, so only `Code::seal` should get it, from a process of this node.

use crate::engine::{EngineClass, tunables};
use crate::error::CompileError;
use wasmtime::Engine;

/// Compiles a component for an engine class.
///
/// # Errors
/// When it does not compile: not a valid component, or it uses features that are off.
pub fn compile(class: EngineClass, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
    let engine = Engine::new(&tunables(class)).map_err(CompileError::Engine)?;
    engine
        .precompile_component(wasm)
        .map_err(CompileError::Refused)
}
