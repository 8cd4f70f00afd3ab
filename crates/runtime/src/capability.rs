//! What a component is let through to, one module each, and the record of what it tried.
//!
//! Every module judges each use with `capability::Effective` at the call, answers a denial
//! with an ordinary error of the interface, and notes it in `audit`. Linked by `link`; knows
//! neither Kubernetes nor who wrote the rules.

pub(crate) mod audit;
pub(crate) mod filesystem;
pub(crate) mod network;
pub(crate) mod process;
