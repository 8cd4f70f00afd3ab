//! What a component may use and what it is given, as plain values: quantities, limits,
//! values, and what its manifest requests, its object grants and the policies admit.
//!
//! Pure: no Kubernetes, no wasmtime, no clock, no input or output. Every other
//! room may depend on this one, and it depends on none of them.

pub mod ask;
pub mod ceiling;
pub mod diff;
pub mod duration;
pub mod effective;
pub mod grant;
pub mod host;
pub mod judge;
pub mod limits;
pub mod manifest;
pub mod outbound;
pub mod path;
pub mod pattern;
pub mod process;
pub mod quantity;
pub mod reach;
pub mod request;
pub mod rule;
pub mod values;

pub use ask::Ask;
pub use ceiling::{Allow, Ceiling, LimitCeiling, PerCallCeiling, PerReplicaCeiling};
pub use diff::{Increase, approval_hash, increases};
pub use duration::{InvalidSpan, Span};
pub use effective::{Effective, PathRights, Right};
pub use grant::{Grant, MountGrant, MountPoint, VolumeKind, VolumeSource};
pub use host::{HostName, HostPattern, InvalidHost};
pub use judge::{Addition, Mend, Refusal, RefusalKind, effective_limits, judge, run_limits};
pub use limits::{Instances, Limits, LimitsError, PerCall, PerReplica, Requests};
pub use manifest::ManifestError;
pub use outbound::{Destination, HostRequest, OutboundRule, Ports, Protocol, Reach};
pub use path::{GuestPath, InvalidPath, PathGlob};
pub use pattern::{ImageGlob, InvalidGlob};
pub use process::ProcessRights;
pub use quantity::{Bytes, InvalidBytes};
pub use request::Request;
pub use rule::Rule;
pub use values::Values;
