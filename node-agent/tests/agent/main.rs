//! The agent without a cluster: cache, compiler, messages, slots, processes, and the plan.
//! One program, because each test program links the engine anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

mod cache;
mod capabilities;
mod compile;
mod containers;
mod golden;
mod hand_over;
mod laws;
mod processes;
mod rig;
mod run_laws;
mod run_ports;
mod runs;
mod slots;
mod spawner;
mod transport;
