//! The bill of materials of a program, as CycloneDX 1.5: every crate that is linked
//! into it, with version, licence and checksum, and what is linked besides crates.
//! Crates of build scripts, macros and tests are not in it, because they are not in
//! the program. It reads `cargo metadata` and Cargo.lock. Called by `main`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::process::Command;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

/// CycloneDX as JSON, as registered with IANA.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";

/// Why there is no bill.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MaterialsError {
    /// Cargo, rustc or ldd.
    #[error("{command} could not be run: {source}")]
    Run {
        /// What was called.
        command: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its answer.
    #[error("cargo metadata said something unexpected: {0}")]
    Metadata(#[from] serde_json::Error),
    /// The package is not in the workspace.
    #[error("cargo metadata has no package {0}")]
    NoPackage(&'static str),
    /// The lock file.
    #[error("{path}: {source}")]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// Absent: linked. Otherwise `build` or `dev`.
    kind: Option<String>,
}

/// The bill of `program`, of the cargo package `package`.
pub(crate) fn list(
    package: &'static str,
    program: &str,
    version: &str,
) -> Result<Bytes, MaterialsError> {
    let host = run("rustc", &["--print", "host-tuple"])?;
    let metadata: Metadata = serde_json::from_str(&run(
        "cargo",
        &[
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform",
            &host,
        ],
    )?)?;
    let lock = metadata.workspace_root.join("Cargo.lock");
    let checksums = checksums(
        &std::fs::read_to_string(&lock)
            .map_err(|source| MaterialsError::Lock { path: lock, source })?,
    );
    let mut components: Vec<Value> = linked(&metadata, package)?
        .into_iter()
        .map(|package| component(package, &checksums))
        .collect();
    // Not crates, and in every static program.
    components.push(
        json!({ "type": "library", "name": "rust-std", "version": run("rustc", &["--version"])? }),
    );
    let libc = run("ldd", &["--version"])?;
    components.push(json!({ "type": "library", "name": "glibc", "version": libc.lines().next() }));
    Ok(serde_json::to_vec(&json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": { "type": "application", "name": program, "version": version } },
        "components": components,
    }))?
    .into())
}

/// The packages that are linked into `root`, sorted by name and version.
fn linked<'a>(
    metadata: &'a Metadata,
    root: &'static str,
) -> Result<Vec<&'a Package>, MaterialsError> {
    let packages: BTreeMap<&str, &Package> = metadata
        .packages
        .iter()
        .map(|package| (package.id.as_str(), package))
        .collect();
    let nodes: BTreeMap<&str, &Node> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node))
        .collect();
    let root = metadata
        .packages
        .iter()
        .find(|package| package.name == root && package.source.is_none())
        .ok_or(MaterialsError::NoPackage(root))?;
    let mut seen = BTreeSet::new();
    let mut to_see = vec![root.id.as_str()];
    while let Some(id) = to_see.pop() {
        // A macro runs while compiling, and so does all that it depends on.
        if packages.get(id).is_none_or(|package| package.is_macro()) || !seen.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).map_or(&[][..], |node| node.deps.as_slice());
        to_see.extend(
            dependencies
                .iter()
                .filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none()))
                .map(|dependency| dependency.pkg.as_str()),
        );
    }
    let mut found: Vec<&Package> = seen
        .into_iter()
        .filter_map(|id| packages.get(id).copied())
        .collect();
    found.sort_by_key(|package| (package.name.as_str(), package.version.as_str()));
    Ok(found)
}

impl Package {
    fn is_macro(&self) -> bool {
        self.targets
            .iter()
            .any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }
}

fn component(package: &Package, checksums: &BTreeMap<(String, String), String>) -> Value {
    let Package {
        name,
        version,
        license,
        source,
        ..
    } = package;
    let mut component = json!({ "type": "library", "name": name, "version": version });
    let Some(fields) = component.as_object_mut() else {
        return component;
    };
    if source.is_some() {
        fields.insert(
            "purl".to_owned(),
            json!(format!("pkg:cargo/{name}@{version}")),
        );
    }
    if let Some(license) = license {
        // Old manifests write "MIT/Apache-2.0", which is no SPDX expression.
        fields.insert(
            "licenses".to_owned(),
            json!([{ "expression": license.replace('/', " OR ") }]),
        );
    }
    if let Some(checksum) = checksums.get(&(name.clone(), version.clone())) {
        fields.insert(
            "hashes".to_owned(),
            json!([{ "alg": "SHA-256", "content": checksum }]),
        );
    }
    component
}

/// The SHA-256 of each crate, from a Cargo.lock: `name`, `version` and `checksum` are
/// lines of their own in each block.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let field = |block: &str, name: &str| {
        block
            .lines()
            .find_map(|line| {
                line.strip_prefix(name)?
                    .strip_prefix(" = \"")?
                    .strip_suffix('"')
            })
            .map(str::to_owned)
    };
    lock.split("[[package]]")
        .filter_map(|block| {
            Some((
                (field(block, "name")?, field(block, "version")?),
                field(block, "checksum")?,
            ))
        })
        .collect()
}

fn run(command: &'static str, arguments: &[&str]) -> Result<String, MaterialsError> {
    let output = Command::new(command)
        .args(arguments)
        .output()
        .map_err(|source| MaterialsError::Run { command, source })?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bill: &Value) -> Vec<&str> {
        bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|component| component["name"].as_str().unwrap())
            .collect()
    }

    #[test]
    fn a_bill_lists_what_is_linked_and_nothing_that_only_builds() {
        let bill = list("operator", "lighterman-operator", "0.0.0").unwrap();
        let bill: Value = serde_json::from_slice(&bill).unwrap();
        let names = names(&bill);
        for linked in ["kube", "tokio", "aws-lc-sys", "crds", "rust-std", "glibc"] {
            assert!(names.contains(&linked), "{linked} is linked");
        }
        for not_linked in ["wasmtime", "insta", "syn", "cc", "serde_derive", "e2e"] {
            assert!(!names.contains(&not_linked), "{not_linked} is not linked");
        }
        let kube = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .find(|component| component["name"] == "kube")
            .unwrap();
        assert_eq!(kube["hashes"][0]["content"].as_str().unwrap().len(), 64);
        assert!(kube["licenses"][0]["expression"].is_string());
    }
}
