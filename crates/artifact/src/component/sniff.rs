//! Tells from the first bytes what somebody put into a wasm layer. Called by
//! [`super::inspect`] before anything is parsed.

use crate::Refusal;

/// `\0asm`, with which modules and components begin.
const WASM: &[u8] = b"\0asm";
/// Version and layer of a core module.
const MODULE: &[u8] = &[1, 0, 0, 0];
/// Version and layer of a component.
const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];

/// Formats of machine code. wasmtime's own `.cwasm` is an ELF file.
const MACHINE_CODE: &[(&[u8], &str)] = &[
    (b"\x7fELF", "a .cwasm of wasmtime or another ELF file"),
    (b"\xcf\xfa\xed\xfe", "a Mach-O file"),
    (b"\xca\xfe\xba\xbe", "a universal Mach-O file"),
    (b"MZ", "a Windows executable"),
    (b"!<arch>\n", "a static library"),
];

/// Other formats, with what they usually come from.
const OTHERS: &[(&[u8], &str, &str)] = &[
    (
        b"\x1f\x8b",
        "a gzip file, such as a container's layer",
        "push the .wasm file uncompressed",
    ),
    (
        b"\x28\xb5\x2f\xfd",
        "a zstd file",
        "push the .wasm file uncompressed",
    ),
    (
        b"PK\x03\x04",
        "a zip file",
        "push the .wasm file that is in it",
    ),
    (
        b"BC\xc0\xde",
        "LLVM bitcode",
        "link it into a component for the target wasm32-wasip2",
    ),
    (b"#!", "a script", "push the .wasm file that it builds"),
    (
        b"<",
        "an HTML or XML document",
        "push the .wasm file; this may be an error page that was downloaded in its place",
    ),
    (
        b"{",
        "a JSON document",
        "push the .wasm file; this may be an error reply that was downloaded in its place",
    ),
    (
        b"version https://git-lfs",
        "a Git LFS pointer",
        "run `git lfs pull` and push the .wasm file",
    ),
    (
        b"package ",
        "a WIT document",
        "build a component for its world and push that",
    ),
];

/// Refuses everything but a component, by name.
pub(crate) fn refuse_other_formats(wasm: &[u8]) -> Result<(), Refusal> {
    if wasm.is_empty() {
        return Err(Refusal::invalid(
            "it is empty; push the .wasm file that the build wrote",
        ));
    }
    if let Some(header) = wasm.strip_prefix(WASM) {
        return refuse_other_layers(header);
    }
    let begins = |magic: &[u8]| wasm.starts_with(magic);
    if let Some((_, found)) = MACHINE_CODE.iter().find(|(magic, _)| begins(magic)) {
        return Err(Refusal::Precompiled { found });
    }
    if is_text_format(wasm) {
        return Err(Refusal::invalid(
            "it is the WebAssembly text format; turn it into a binary with `wasm-tools parse`",
        ));
    }
    if let Some((_, found, mend)) = OTHERS.iter().find(|(magic, ..)| begins(magic)) {
        return Err(Refusal::invalid(format!("it is {found}; {mend}")));
    }
    Err(Refusal::invalid(
        "it does not begin as WebAssembly does (\\0asm); push the .wasm file that the build wrote",
    ))
}

fn refuse_other_layers(header: &[u8]) -> Result<(), Refusal> {
    match header.get(..4) {
        Some(COMPONENT) => Ok(()),
        Some(MODULE) => Err(Refusal::CoreModule),
        Some(_) => Err(Refusal::invalid(
            "it has an unknown binary version, from a draft of the component model; build it again with a current toolchain",
        )),
        None => Err(Refusal::invalid(
            "it ends within its header; the file was cut off, push it again",
        )),
    }
}

/// `(module …)` or `(component …)`, after spaces and line comments.
fn is_text_format(wasm: &[u8]) -> bool {
    const HEAD: usize = 4 * 1024;
    let head = String::from_utf8_lossy(wasm.get(..HEAD).unwrap_or(wasm));
    head.lines()
        .map(str::trim_start)
        .find(|line| !line.is_empty() && !line.starts_with(";;"))
        .is_some_and(|line| line.starts_with("(module") || line.starts_with("(component"))
}
