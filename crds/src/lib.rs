//! The contract between Lighterman's parts: the five kinds, their conditions and
//! reasons, the names of everything in the cluster, the revision document, and
//! the hand-over between operator and node agent.
//!
//! Knows no client and no runtime: only values and their written forms. The
//! custom resource definitions in `generated/` come from these types through the
//! `crdgen` binary.

#![allow(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "kube's derives copy each public struct into a function, and take one printcolumn after another"
)]

pub mod bound;
pub mod capability_policy;
pub mod component;
pub mod condition;
pub mod definition;
pub mod document;
pub mod handover;
pub mod names;
pub mod percent;
pub mod placement;
pub mod policy_status;
pub mod problem;
pub mod reason;
pub mod revision;
pub mod schema;
pub mod tally;
pub mod trust_policy;
pub mod wasm_node;

pub use capability_policy::{CapabilityPolicy, CapabilityPolicySpec};
pub use component::{WasmComponent, WasmComponentSpec, WasmComponentStatus};
pub use definition::definitions;
pub use percent::Percent;
pub use placement::{ComponentPlacement, ComponentPlacementSpec, ComponentPlacementStatus};
pub use policy_status::PolicyStatus;
pub use reason::Reason;
pub use revision::RevisionDocument;
pub use tally::Tally;
pub use trust_policy::{TrustPolicy, TrustPolicySpec};
pub use wasm_node::{WasmNode, WasmNodeSpec, WasmNodeStatus};

/// API group of the five kinds.
pub const GROUP: &str = "lighterman.dev";
/// The one version that is served and stored.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of an object of the five kinds.
pub const API_VERSION: &str = "lighterman.dev/v1alpha1";
