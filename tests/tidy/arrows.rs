//! The arrows between our crates (ARCHITECTURE.md), as cargo sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Who may use whom. `lighterman` (cli), `e2e` and `bench` may use all. Nobody uses them, but
/// that the bench starts its cluster with `e2e`.
const ARROWS: [(&str, &[&str]); 10] = [
    ("capability", &[]),
    ("confine", &[]),
    ("crds", &["capability"]),
    ("artifact", &["capability"]),
    ("registry", &["artifact"]),
    ("images", &["artifact", "registry"]),
    ("runtime", &["artifact", "capability"]),
    ("kubectl-lighterman", &["crds"]),
    (
        "operator",
        &["crds", "artifact", "registry", "capability", "confine"],
    ),
    (
        "node-agent",
        &["crds", "artifact", "runtime", "capability", "confine"],
    ),
];
const MAY_USE_ALL: [&str; 3] = ["lighterman", "e2e", "bench"];

/// What must not be linked, however far away: the operator never holds a
/// WebAssembly engine, the runtime knows neither Kubernetes nor registries, and
/// what is pure knows no network.
const NEVER_LINKS: [(&str, &[&str]); 6] = [
    ("operator", &["wasmtime"]),
    ("kubectl-lighterman", &["wasmtime", "sigstore-verify"]),
    ("runtime", &["kube", "kube-client", "reqwest"]),
    ("artifact", &["kube", "reqwest", "hyper", "wasmtime"]),
    (
        "capability",
        &["kube", "reqwest", "hyper", "wasmtime", "tokio"],
    ),
    ("registry", &["kube", "wasmtime"]),
];

#[test]
fn crates_use_only_those_below_them() {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version=1", "--no-deps"]))
            .expect("cargo metadata prints JSON");
    let packages: BTreeMap<&str, &Value> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["name"].as_str().unwrap(), package))
        .collect();
    let mut wrong = Vec::new();
    for (name, package) in &packages {
        let used: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            // Tests of a crate may use more: they are linked into nothing.
            .filter(|dependency| dependency["kind"] != "dev")
            .filter_map(|dependency| dependency["name"].as_str())
            .filter(|used| packages.contains_key(used))
            .collect();
        let allowed: BTreeSet<&str> = match ARROWS.iter().find(|(known, _)| known == name) {
            Some((_, allowed)) => allowed.iter().copied().collect(),
            None if MAY_USE_ALL.contains(name) => packages
                .keys()
                .copied()
                .filter(|used| !MAY_USE_ALL.contains(used) || (*name, *used) == ("bench", "e2e"))
                .collect(),
            None => panic!("crate {name} is new: say in tests/tidy/arrows.rs whom it may use"),
        };
        wrong.extend(
            used.difference(&allowed)
                .map(|used| format!("{name} -> {used}")),
        );
    }
    assert!(
        wrong.is_empty(),
        "these arrows are not in ARCHITECTURE.md: {wrong:?}"
    );
}

#[test]
fn crates_link_nothing_that_they_must_not_know() {
    for (name, never) in NEVER_LINKS {
        let tree = cargo(&["tree", "--package", name, "--edges=normal", "--prefix=none"]);
        let linked: BTreeSet<&str> = tree
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert!(
            linked.contains(name),
            "cargo tree says nothing about {name}: {tree}"
        );
        for forbidden in never {
            assert!(
                !linked.contains(forbidden),
                "{name} links {forbidden}: see `cargo tree -p {name} -i {forbidden}`"
            );
        }
    }
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // With it, every crate's tree is that of the workspace.
        .env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION")
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}
