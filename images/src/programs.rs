//! Builds the programs, each linked statically against glibc, so that an image needs
//! nothing else. It calls cargo and reads the result. Called by `main`.
//!
//! Names are resolved by the program itself: since glibc 2.34 `files` and `dns` are
//! in libc.a, and nothing is loaded at run time (docs/adr/0002-images-without-a-daemon.md).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use serde_json::Value;

use crate::args::Programs;
use crate::contents::Recipe;

/// What every program is linked with, besides what its profile says. `static-rustc`
/// says the same.
const STATIC: [&str; 4] = ["-C", "target-feature=+crt-static", "-C", "strip=symbols"];

/// Why a program is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// Cargo or rustc.
    #[error("{command} could not be run: {source}")]
    Run {
        /// What was called.
        command: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Cargo has said why.
    #[error("cargo could not build the programs; see above")]
    Build,
    /// Cargo has changed what it says.
    #[error("cargo named no executable for {program}")]
    Nameless {
        /// The program.
        program: &'static str,
    },
    /// The file.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program that looks for libraries which the image has not.
    #[error(
        "{path} is not linked statically; is `-C target-feature=+crt-static` overridden by RUSTFLAGS or .cargo/config.toml?"
    )]
    Dynamic {
        /// The file.
        path: PathBuf,
    },
}

/// Builds the programs of all `recipes` and returns their bytes, by name.
pub(crate) fn build(
    recipes: &[Recipe],
    programs: Programs,
) -> Result<BTreeMap<&'static str, Bytes>, ProgramError> {
    let mut cargo = Command::new("cargo");
    cargo.args([
        "build",
        "--locked",
        "--message-format=json-render-diagnostics",
    ]);
    for recipe in recipes {
        cargo.args(["--bin", recipe.program]);
    }
    match programs {
        Programs::Shipping => {
            for recipe in recipes {
                cargo.args(["--package", recipe.package]);
            }
            // With a target named, the flags are not for build scripts and macros.
            cargo
                .args(["--profile", "dist", "--target", &host()?])
                .env("CARGO_ENCODED_RUSTFLAGS", shipping_flags()?.join("\u{1f}"));
        }
        // The features, and so the dependencies, that `cargo test --workspace` has built;
        // what the wrapper adds is for the crates of the workspace only.
        Programs::Debug => {
            cargo.arg("--workspace").env(
                "RUSTC_WORKSPACE_WRAPPER",
                concat!(env!("CARGO_MANIFEST_DIR"), "/static-rustc"),
            );
        }
    }
    let output = cargo
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| ProgramError::Run {
            command: "cargo",
            source,
        })?;
    if !output.status.success() {
        return Err(ProgramError::Build);
    }
    recipes
        .iter()
        .map(|recipe| Ok((recipe.program, read(&output.stdout, recipe.program)?)))
        .collect()
}

/// The bytes of a program that cargo says it has built.
fn read(messages: &[u8], program: &'static str) -> Result<Bytes, ProgramError> {
    let path = executable(messages, program).ok_or(ProgramError::Nameless { program })?;
    let content = std::fs::read(&path).map_err(|source| ProgramError::Read {
        path: path.clone(),
        source,
    })?;
    if is_dynamic(&content) {
        return Err(ProgramError::Dynamic { path });
    }
    Ok(content.into())
}

/// Static, and without the paths of this machine, which panics would show and which
/// would make the bytes others on another machine.
fn shipping_flags() -> Result<Vec<String>, ProgramError> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("/"));
    let home = |variable: &str, folder: &str| {
        let home = std::env::var_os("HOME").unwrap_or_else(|| OsString::from("/"));
        std::env::var_os(variable).map_or_else(|| Path::new(&home).join(folder), PathBuf::from)
    };
    let sysroot = said("rustc", &["--print", "sysroot"])?;
    let mut flags: Vec<String> = STATIC.map(str::to_owned).into();
    for (from, to) in [
        (home("CARGO_HOME", ".cargo").join("registry/src"), "/crates"),
        (PathBuf::from(sysroot), "/rust"),
        (checkout.to_owned(), "/lighterman"),
    ] {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    }
    Ok(flags)
}

/// The target that this compiler builds for by itself.
fn host() -> Result<String, ProgramError> {
    said("rustc", &["--print", "host-tuple"])
}

fn said(command: &'static str, arguments: &[&str]) -> Result<String, ProgramError> {
    let output = Command::new(command)
        .args(arguments)
        .output()
        .map_err(|source| ProgramError::Run { command, source })?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The file that cargo says it made, in the messages of its `--message-format=json`.
fn executable(messages: &[u8], program: &str) -> Option<PathBuf> {
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter(|message| message.pointer("/target/name").and_then(Value::as_str) == Some(program))
        .find_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
}

/// Whether an ELF file names a loader (`PT_INTERP`): its path is in its first page.
fn is_dynamic(elf: &[u8]) -> bool {
    const LOADER: &[u8] = b"/ld-linux";
    elf.get(..4096.min(elf.len()))
        .unwrap_or_default()
        .windows(LOADER.len())
        .any(|window| window == LOADER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_needs_a_loader_is_noticed() {
        // Tests are linked as everything else on this machine.
        let test = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(is_dynamic(&test));
        assert!(!is_dynamic(b"\x7fELF"));
    }

    #[test]
    fn cargo_names_the_program() {
        let messages = br#"{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/other"}
{"reason":"compiler-artifact","target":{"name":"lighterman-agent"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"lighterman-agent"},"executable":"/t/lighterman-agent"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(
            executable(messages, "lighterman-agent"),
            Some(PathBuf::from("/t/lighterman-agent"))
        );
    }

    #[test]
    fn no_path_of_this_machine_is_shipped() {
        let flags = shipping_flags().unwrap();
        assert_eq!(
            flags
                .iter()
                .filter(|flag| flag.starts_with("--remap-path-prefix=/"))
                .count(),
            3
        );
    }
}
