//! Where a component's manifest, `Component.toml`, is: in a custom section of its own, or in
//! a signed attestation about it.
//!
//! A section, because the signature of the artifact covers it and every tool carries it
//! along. Exactly one, of the outermost component: a part that was composed into it must not
//! ask for the whole. An attestation, for components that others built. Read by
//! [`crate::component`] and `trust`, written by the command line before a push.

use std::ops::Range;

use capability::Request;
use serde_json::Value;
use wasmparser::{BinaryReader, BinaryReaderError};

use crate::Refusal;

/// The name of the section.
pub const NAME: &str = "lighterman-manifest";

/// The predicate type of an attestation with a manifest: an object whose field `manifest` is
/// the text of a `Component.toml`.
pub const PREDICATE_TYPE: &str = "https://lighterman.dev/manifest/v1";

/// `\0asm` and the version and layer of a component.
const HEADER: &[u8] = b"\0asm\x0d\x00\x01\x00";
/// The number of a custom section.
const CUSTOM: u8 = 0;

/// `wasm` with this manifest in it, in place of one that it has.
///
/// # Errors
/// When the manifest cannot be read, or `wasm` is no component.
pub fn embed(wasm: &[u8], toml: &str) -> Result<Vec<u8>, Refusal> {
    read(toml.as_bytes())?;
    let mut written = Vec::with_capacity(wasm.len().saturating_add(toml.len()));
    written.extend_from_slice(HEADER);
    for section in sections(wasm)? {
        if !section.is_manifest {
            written.extend_from_slice(wasm.get(section.range).unwrap_or_default());
        }
    }
    let mut content = Vec::new();
    leb128(NAME.len(), &mut content);
    content.extend_from_slice(NAME.as_bytes());
    content.extend_from_slice(toml.as_bytes());
    written.push(CUSTOM);
    leb128(content.len(), &mut written);
    written.extend_from_slice(&content);
    Ok(written)
}

/// Reads the content of the section.
pub(crate) fn read(content: &[u8]) -> Result<Request, Refusal> {
    let invalid = |problem: String| Refusal::ManifestInvalid { problem };
    // Before it is read as text: a section may be as large as the component.
    if content.len() > Request::SIZE_MAX {
        let (found, most) = (content.len(), Request::SIZE_MAX);
        return Err(invalid(format!(
            "it has {found} bytes; write at most {most}"
        )));
    }
    let text = std::str::from_utf8(content)
        .map_err(|error| invalid(format!("it is not UTF-8 ({error}); save it as UTF-8")))?;
    Request::from_toml(text).map_err(|error| invalid(error.to_string()))
}

/// Reads the predicate of an attestation of type [`PREDICATE_TYPE`].
pub(crate) fn read_predicate(predicate: &Value) -> Result<Request, Refusal> {
    match predicate.get("manifest") {
        Some(Value::String(text)) => read(text.as_bytes()),
        _ => Err(Refusal::ManifestInvalid {
            problem: "its attestation has no field `manifest` with the text of a Component.toml; attest `{\"manifest\": \"…\"}`".to_owned(),
        }),
    }
}

/// A section of the outermost component, with its head.
struct Section {
    range: Range<usize>,
    is_manifest: bool,
}

fn sections(wasm: &[u8]) -> Result<Vec<Section>, Refusal> {
    if !wasm.starts_with(HEADER) {
        crate::component::refuse_other_formats(wasm)?;
    }
    let mut reader = BinaryReader::new(wasm, 0);
    let unreadable = |error: BinaryReaderError| {
        Refusal::invalid(format!(
            "{error}; embed into the .wasm file that the build wrote"
        ))
    };
    reader.read_bytes(HEADER.len()).map_err(unreadable)?;
    let mut sections = Vec::new();
    while !reader.eof() {
        sections.push(section(&mut reader).map_err(unreadable)?);
    }
    Ok(sections)
}

fn section(reader: &mut BinaryReader<'_>) -> Result<Section, BinaryReaderError> {
    let start = reader.original_position();
    let id = reader.read_u8()?;
    let length = usize::try_from(reader.read_var_u32()?).unwrap_or(usize::MAX);
    let offset = reader.original_position();
    let content = reader.read_bytes(length)?;
    let mut inside = BinaryReader::new(content, offset);
    Ok(Section {
        is_manifest: id == CUSTOM && inside.read_string()? == NAME,
        range: start..reader.original_position(),
    })
}

/// An unsigned number as WebAssembly writes it.
fn leb128(mut number: usize, out: &mut Vec<u8>) {
    const SEVEN: usize = 0x7f;
    while number > SEVEN {
        out.push((number & SEVEN) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
