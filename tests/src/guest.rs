//! The components that the tests run. It knows nothing of registries. Called by
//! `tenant` when it publishes one, and by tests.

use anyhow::{Context, Result, ensure};

/// The component of `guests/probe`, which misbehaves in every way a limit is for.
pub const PROBE: &[u8] = include_bytes!("../guests/probe/probe.wasm");

/// The TCP server of `guests/echo`, which never looks whether it is to end.
pub const ECHO: &[u8] = include_bytes!("../guests/echo/echo.wasm");
/// The same that looks.
pub const POLITE_ECHO: &[u8] = include_bytes!("../guests/echo/polite-echo.wasm");
/// The component of `guests/worker`, which runs and does what its arguments say.
pub const WORKER: &[u8] = include_bytes!("../guests/worker/worker.wasm");

/// The component of `guests/tools`, whose functions are called.
pub const TOOLS: &[u8] = include_bytes!("../guests/tools/tools.wasm");

const VERSION: &str = include_str!("../guests/version.wat");

/// The component of `guests/version.wat`, which answers `/` with `version`. Each
/// `copy` has a digest of its own.
///
/// # Errors
/// `version` or `copy` would not survive being written into the text.
pub fn version(version: &str, copy: &str) -> Result<Vec<u8>> {
    wat::parse_str(version_text(version, copy)?).context("guests/version.wat")
}

/// The text of [`version`], to be changed by a test.
///
/// # Errors
/// As for [`version`].
pub fn version_text(version: &str, copy: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    ensure!(
        version.chars().chain(copy.chars()).all(plain),
        "'{version}' or '{copy}' is no plain word"
    );
    Ok(VERSION
        .replace("{VERSION}", version)
        .replace("{COPY}", copy))
}

/// `wasm` with the custom section that says its name.
///
/// # Errors
/// It is longer than a section of one byte's length can hold.
pub fn named(wasm: Vec<u8>, name: &str) -> Result<Vec<u8>> {
    // The name's subsection 0 is that of the component itself.
    let text = prefixed(name.as_bytes())?;
    let subsection = [&[0], prefixed(&text)?.as_slice()].concat();
    with_section(wasm, "component-name", &subsection)
}

/// `wasm` as one of several copies, each with a digest of its own.
///
/// # Errors
/// As for [`named`].
pub fn copy(wasm: Vec<u8>, copy: &str) -> Result<Vec<u8>> {
    with_section(wasm, "copy", copy.as_bytes())
}

fn with_section(mut wasm: Vec<u8>, name: &str, content: &[u8]) -> Result<Vec<u8>> {
    let body = [prefixed(name.as_bytes())?.as_slice(), content].concat();
    wasm.push(0);
    wasm.extend(prefixed(&body)?);
    Ok(wasm)
}

/// With its length in one byte of LEB128 in front.
fn prefixed(bytes: &[u8]) -> Result<Vec<u8>> {
    ensure!(bytes.len() < 0x80, "{} bytes are too many", bytes.len());
    let length = u8::try_from(bytes.len())?;
    Ok([&[length], bytes].concat())
}
