//! What holds over the whole repository and no compiler checks: which crate may
//! use which, and how files look. Needs no cluster; part of `make check`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

mod arrows;
mod charts;
mod files;
mod hostile;
mod wit;
