//! Puts the WIT of `wasi:http` and the version of wasmtime into the program.
//!
//! `lighterman new` writes a `wit/deps` without any network, and what it writes must
//! be what the runtime links; so both are read from the very wasmtime crates this
//! build uses, wherever cargo keeps them, and nothing is copied into the repository.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../Cargo.lock");
    let (folder, version) = wasmtime_wasi_http()?;
    println!("cargo::rustc-env=LIGHTERMAN_WASMTIME_VERSION={version}");

    let mut table = String::from("&[\n");
    for file in wit_files(&folder.join("wit").join("deps"))? {
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or("a WIT file without a name")?;
        writeln!(table, "    ({name:?}, include_str!({file:?})),")?;
    }
    table.push(']');
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("wasi_wit.rs");
    std::fs::write(out, table)?;
    Ok(())
}

/// The folder and the version of the crate whose WIT the runtime links.
fn wasmtime_wasi_http() -> Result<(PathBuf, String), Failure> {
    let answer = Command::new(std::env::var("CARGO")?)
        // Without the filter cargo would want the sources of every platform's crates.
        .args([
            "metadata",
            "--format-version=1",
            "--offline",
            "--filter-platform",
        ])
        .arg(std::env::var("TARGET")?)
        .output()?;
    if !answer.status.success() {
        return Err(String::from_utf8_lossy(&answer.stderr).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&answer.stdout)?;
    let package = metadata
        .get("packages")
        .and_then(serde_json::Value::as_array)
        .and_then(|all| {
            all.iter().find(|package| {
                package
                    .get("name")
                    .is_some_and(|name| name == "wasmtime-wasi-http")
            })
        })
        .ok_or("wasmtime-wasi-http is no dependency of this workspace")?;
    let text = |key: &str| {
        package
            .get(key)
            .and_then(serde_json::Value::as_str)
            .ok_or("a package without a path or version")
    };
    let folder = Path::new(text("manifest_path")?)
        .parent()
        .ok_or("a package without a folder")?;
    Ok((folder.to_owned(), text("version")?.to_owned()))
}

fn wit_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    files.sort();
    Ok(files)
}
