//! The cluster tests, one file per behaviour: a real control plane and registry,
//! the operator and three agents as processes. Run them with `make test`, or with
//! `tests/in-namespace cargo test -p e2e --test cluster`.

mod admission;
mod analysis;
mod answers;
mod approve;
mod bad_versions;
mod canary;
mod capabilities;
mod charts;
mod columns;
mod cosign;
mod deletion;
mod drain;
mod executables;
mod fleet;
mod foreign_node;
mod forgery;
mod guards;
mod interruptions;
mod invoke;
mod keyless;
mod limits;
mod network_policy;
mod operators;
mod plug_in;
mod prerequisites;
mod previews;
mod private_networks;
mod public_root;
mod pull_secret;
mod quiet;
mod refusals;
mod registry_down;
mod reuse;
mod rollback;
mod rotation;
mod run_ports;
mod run_trigger;
mod service;
mod soak;
mod survival;
mod tallies;
mod trust;
mod undo;
mod update;
mod values;
mod worker;
mod wrong_yaml;

/// The sigstore that the tests of `artifact` sign with: one forger is enough.
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by panicking, and these tests need a part of it"
)]
#[path = "../../crates/artifact/tests/behaviour"]
mod fixtures {
    pub(crate) mod sigstore;
    pub(crate) mod support;
    pub(crate) mod tuf;
}

use fixtures::{sigstore, support, tuf};
