//! Request, grant and ceiling, from their texts to the verdict at a call.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

mod arbitrary;
mod given;
mod hosts;
mod increases;
mod judgements;
mod laws;
mod limits;
mod manifests;
mod outbound;
mod paths;
mod verdicts;
