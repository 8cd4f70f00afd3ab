//! Values in the notation of WIT (WAVE), as they are typed at a command line: `add(1, 2)`.
//!
//! Reads and writes text only. Called by `invoke`, for the command line.

use super::contract::Signature;
use wasmtime::component::Val;
use wasmtime::component::wasm_wave::untyped::UntypedFuncCall;

/// Why a text is no call of a function.
#[derive(Debug, thiserror::Error)]
pub enum WaveError {
    /// It is no call at all.
    #[error("{text} is no call: {problem}; write it as add(1, 2)")]
    NoCall {
        /// The text.
        text: String,
        /// What is wrong.
        problem: String,
    },
    /// Its arguments are not those of the function.
    #[error("the arguments do not fit: {0}")]
    Arguments(String),
    /// What it gave can not be written so.
    #[error("the result can not be written: {0}")]
    Result(String),
}

/// The name of the function that is called, in front of its arguments.
///
/// # Errors
/// When it is no call.
pub(crate) fn called(text: &str) -> Result<String, WaveError> {
    let call = UntypedFuncCall::parse(text).map_err(|error| no_call(text, &error))?;
    Ok(call.name().to_owned())
}

/// The arguments of a call.
///
/// # Errors
/// When they are not those that the function takes.
pub(crate) fn arguments(signature: &Signature, text: &str) -> Result<Vec<Val>, WaveError> {
    let call = UntypedFuncCall::parse(text).map_err(|error| no_call(text, &error))?;
    let types = signature.types.iter();
    let values = call.to_wasm_params(types);
    values.map_err(|error| WaveError::Arguments(error.to_string()))
}

/// A value as text.
///
/// # Errors
/// When it can not be written so.
pub(crate) fn write(value: &Val) -> Result<String, WaveError> {
    value
        .to_wave()
        .map_err(|error| WaveError::Result(error.to_string()))
}

fn no_call(text: &str, problem: &dyn std::fmt::Display) -> WaveError {
    WaveError::NoCall {
        text: text.to_owned(),
        problem: problem.to_string(),
    }
}
