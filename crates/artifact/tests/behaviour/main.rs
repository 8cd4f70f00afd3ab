//! How artifacts are judged, one file for each behaviour. All in one test
//! program, because each would link the same libraries.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

mod attestations;
mod components;
mod content;
mod cosign;
mod cosign_2;
mod demands;
mod digests;
mod hostile;
mod interfaces;
mod keyless;
mod keys;
mod laws;
mod manifests;
mod policies;
mod public_good;
mod references;
mod signatures;
mod sigstore;
mod support;
mod tuf;
mod wrong_artifacts;
