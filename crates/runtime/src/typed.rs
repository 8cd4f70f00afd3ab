//! Functions that a component exports, of plain data: what they take and give, and how their
//! values are written as JSON.
//!
//! `contract` looks the functions up, once, when a component is loaded; `shape` is a type as a
//! tree, `decode` reads a value of it from JSON, `encode` writes one, `wave` does both in the
//! notation of WIT. The mapping and its reasons are in docs/adr/0013. Knows neither stores nor HTTP.
//! Called by `invoke`.

mod contract;
mod decode;
mod encode;
mod shape;
pub(crate) mod wave;

pub(crate) use contract::{Contract, Signature};
pub use contract::{Function, Strangeness, Unfit};
pub(crate) use decode::{Misread, arguments};
pub(crate) use encode::{Unwritten, write};
pub(crate) use shape::Shape;
pub use wave::WaveError;
