//! `WasmNode`: facts about a node that runs components, written by its agent.
//!
//! Desired state about nodes is Kubernetes' own (cordon, taints). The endpoint
//! address is not here either: it comes from the agent's Pod, which an agent
//! cannot forge.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use capability::Bytes;

use crate::{bound, schema};

/// Nothing: a node has no desired state of ours.
#[derive(
    CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[kube(
    group = "lighterman.dev",
    version = "v1alpha1",
    kind = "WasmNode",
    plural = "wasmnodes",
    shortname = "wn",
    category = "lighterman",
    status = "WasmNodeStatus",
    derive = "PartialEq",
    doc = "Facts about a node that runs components, written by its agent.",
    printcolumn(
        name = "Agent",
        type_ = "string",
        json_path = ".status.agentVersion",
        description = "Version of the agent"
    ),
    printcolumn(
        name = "Wasmtime",
        type_ = "string",
        json_path = ".status.wasmtimeVersion",
        description = "Version of the engine"
    ),
    printcolumn(
        name = "Memory",
        type_ = "string",
        json_path = ".status.capacity.memory",
        description = "Memory for components"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the agent first came"
    )
)]
pub struct WasmNodeSpec {}

/// Facts about a node that runs components.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WasmNodeStatus {
    /// Version of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::WORD))]
    pub agent_version: Option<String>,
    /// Version of wasmtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::WORD))]
    pub wasmtime_version: Option<String>,
    /// Hash of everything that machine code depends on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::NAME))]
    pub engine_hash: Option<String>,
    /// What the agent can do; the operator asks a node for nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::FEATURES), inner(length(max = bound::WORD)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub features: Vec<String>,
    /// The Pod of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_ref: Option<PodReference>,
    /// What the node can hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
}

/// The Pod of an agent.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodReference {
    /// Name of the Pod, in the namespace of the system.
    #[schemars(length(max = bound::NAME))]
    pub name: String,
    /// UID of the Pod.
    #[schemars(length(max = bound::UID))]
    pub uid: String,
}

/// What a node can hold.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Memory for components: what the sum of `resources.requests.memory` stays below.
    #[schemars(schema_with = "schema::quantity")]
    pub memory: Bytes,
    /// Instances that can be live at once.
    pub instances: u32,
    /// Components whose code can be mapped at once.
    pub components: u32,
}

/// What agents can do: the words of [`WasmNodeStatus::features`]. A component that
/// needs one is placed only on nodes whose agents name it, so that an agent of the
/// last version is never handed what it does not know.
pub mod feature {
    /// Answers HTTP requests.
    pub const HTTP: &str = "http";
    /// Runs components by themselves: their `wasi:cli/run`.
    pub const RUN: &str = "run";
    /// Lets those that run listen on ports.
    pub const RUN_PORTS: &str = "run-ports";
    /// Calls functions that components export.
    pub const INVOKE: &str = "invoke";
    /// Runs components of WASI 0.3.
    pub const P3: &str = "p3";
    /// Holds capabilities, volumes and credentials at every call.
    pub const CAPABILITIES: &str = "capabilities";
    /// Starts executables of the platform: its spawner is on.
    pub const PROCESS: &str = "process";
}
