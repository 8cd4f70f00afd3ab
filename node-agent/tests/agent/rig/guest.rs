//! The components that the tests of the agent run.

use std::path::Path;

use bytes::Bytes;

pub(crate) fn hello(version: u32) -> Bytes {
    let name = if version == 1 {
        "hello.wasm"
    } else {
        "hello-v2.wasm"
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/hello")
        .join(name);
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .into()
}

pub(crate) fn worker() -> Bytes {
    Bytes::from_static(include_bytes!(
        "../../../../tests/guests/worker/worker.wasm"
    ))
}

/// A TCP server that never looks whether it is to end.
pub(crate) fn echo() -> Bytes {
    Bytes::from_static(include_bytes!("../../../../tests/guests/echo/echo.wasm"))
}

/// The same that looks.
pub(crate) fn polite_echo() -> Bytes {
    Bytes::from_static(include_bytes!(
        "../../../../tests/guests/echo/polite-echo.wasm"
    ))
}

/// The same with a life and a state.
pub(crate) fn living() -> Bytes {
    Bytes::from_static(include_bytes!(
        "../../../../tests/guests/worker/living.wasm"
    ))
}
