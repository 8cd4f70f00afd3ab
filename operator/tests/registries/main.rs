//! What the operator asks registries with and how often, against registries and
//! an API server on loopback: one subject per file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

mod access;
mod fixture;
mod herd;
mod resolver;
mod settings;
