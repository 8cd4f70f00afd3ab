//! From bytes to a [`VerifiedComponent`]: references, digests, OCI manifests,
//! sigstore bundles, trust policies and what a component says of itself.
//!
//! Everything here is pure and offline: no clock, no network, no file. The
//! operator calls it after a pull, the node agent calls it again before it
//! compiles, and the command line calls it for both sides, so that all three
//! judge by the same rules.

pub mod component;
mod digest;
mod evidence;
pub mod interface;
pub mod limits;
pub mod manifest;
pub mod manifest_section;
mod reference;
mod refusal;
pub mod root;
pub mod signature;
pub mod trust;
mod verify;

pub use digest::{Digest, DigestError};
pub use reference::{ImageReference, ReferenceError};
pub use refusal::{Refusal, RefusalCode};
pub use verify::{Judgement, Parcel, SignedBy, Signer, VerifiedComponent, judge, verify};
