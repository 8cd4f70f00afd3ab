//! The program as people run it: one behaviour per file, each against the built binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

mod capabilities;
mod check;
mod completions;
mod compose;
mod credentials;
mod demo;
mod executables;
mod help;
mod inspect;
mod invoke;
mod json;
mod keygen;
mod layout;
mod manifest;
mod new;
mod program;
mod quickstart;
mod reference;
mod refusal;
mod registry;
mod run;
mod set_image;
mod signature;
mod suggest;
mod trust;
mod verdicts;
mod wrap;
