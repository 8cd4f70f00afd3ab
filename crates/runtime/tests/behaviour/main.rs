//! What the runtime promises, one promise a file, held against real components.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

mod bodies;
mod code;
mod concurrency;
mod connections;
mod cpu;
mod denied;
mod drain;
mod engines;
mod fairness;
mod figures;
mod files;
mod fuel;
mod given;
mod health;
mod hostile;
mod imports;
mod invoke;
mod io;
mod living;
mod memory;
mod network;
mod output;
mod ports;
mod processes;
mod requests;
mod reuse;
mod run;
mod stale_memory;
mod support;
mod throw_away;
mod timeouts;
mod traps;
mod typed;
mod wasi_0_3;
