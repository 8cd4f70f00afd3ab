//! `CapabilityPolicy`: the ceiling of what components may be granted.
//!
//! The platform team writes the spec, the operator the status. What a ceiling means
//! is for the crate `capability`, which [`CapabilityPolicySpec::ceiling`] converts to.

mod ceiling;
mod validate;

use capability::{Bytes, Limits, Span};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{Processes, Protocol, Reach};
use crate::policy_status::PolicyStatus;
use crate::trust_policy::PolicyMode;
use crate::{bound, schema};
pub use validate::problems;

/// The ceiling of what components may be granted. All policies that match a namespace
/// apply together; where none with mode: Enforce does, nothing can be granted.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "lighterman.dev",
    version = "v1alpha1",
    kind = "CapabilityPolicy",
    plural = "capabilitypolicies",
    category = "lighterman",
    status = "PolicyStatus",
    derive = "PartialEq",
    doc = "The ceiling of what components may be granted. Where no policy with mode: Enforce matches, nothing can be granted.",
    printcolumn(
        name = "Mode",
        type_ = "string",
        json_path = ".spec.mode",
        description = "Whether the policy decides"
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].status"#,
        description = "Whether the policy can be applied"
    ),
    printcolumn(
        name = "Components",
        type_ = "integer",
        json_path = ".status.components",
        description = "Components in the namespaces that the policy covers"
    ),
    printcolumn(
        name = "Refused",
        type_ = "integer",
        json_path = ".status.refused",
        description = "Components that it refuses, or would refuse with mode: Enforce"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the policy was created"
    ),
    printcolumn(
        name = "On Increase",
        type_ = "string",
        json_path = ".spec.onIncrease",
        description = "What happens with a version that asks for more than the last one",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct CapabilityPolicySpec {
    /// Namespaces that the policy covers. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// Whether the policy decides. Audit never allows and never refuses; what it would
    /// refuse is reported, so that a policy can be tried before it counts.
    #[serde(default)]
    pub mode: PolicyMode,
    /// What may be granted. Absent: nothing.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub allow: Allow,
    /// The most that a component's resources may name. Absent: no more than everywhere.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub limits: LimitCeilings,
    /// The most that the components of one namespace may take together.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub totals: Totals,
    /// Whether a component must carry a signed manifest that says what it asks for.
    #[serde(default)]
    pub require_manifest: bool,
    /// What happens with a version that asks for more than the last approved one.
    #[serde(default)]
    pub on_increase: OnIncrease,
}

/// What may be granted.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.hostPaths) || size(self.hostPaths) == 0 || (has(self.volumes) && 'hostPath' in self.volumes)")
    .message("hostPaths has no effect while volumes does not allow hostPath; add hostPath to volumes, or remove hostPaths"))]
pub struct Allow {
    /// Kinds of volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = VolumeKind::COUNT))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub volumes: Vec<VolumeKind>,
    /// Directories of the node that hostPath volumes may name, as globs such as
    /// `/srv/models/**`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::path_globs")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub host_paths: Vec<String>,
    /// What may be reached in the network.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub network: AllowNetwork,
    /// Which executables of the platform may be started.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub process: Processes,
    /// Whether an instance may answer more than one request, so that one caller might be shown
    /// what another has left in its memory.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub instance_reuse: bool,
}

/// What may be reached in the network.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowNetwork {
    /// Where components may connect to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::OUTBOUND))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub outbound: Vec<AllowOutbound>,
}

/// Places that components may connect to.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowOutbound {
    /// The host: exact, `*.suffix` for every name below a domain, an address, or `*` for
    /// any host.
    #[schemars(length(min = 1, max = bound::HOST))]
    #[x_kube(validation = schema::host_or_any("must be a lower-case host name, *. and a domain of two labels or more, an address, or * for any host; write for example *.example.com"))]
    pub host: String,
    /// The port, or a range such as `"8000-8099"`. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::port_or_range")]
    pub port: Option<IntOrString>,
    /// What may be spoken.
    #[serde(default)]
    pub protocol: Protocol,
    /// Which addresses names may stand for.
    #[serde(default)]
    pub reach: Reach,
}

/// The most that a component's `resources` may name.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitCeilings {
    /// The most that one call may use.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub per_call: PerCallCeiling,
    /// The most that a replica may hold at once.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub per_replica: PerReplicaCeiling,
}

/// The most that `resources.perCall` may name.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PerCallCeiling {
    /// Memory of one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(validation = schema::quantity_between(Limits::MEMORY_MIN, Limits::PER_CALL_MEMORY_MAX))]
    pub memory: Option<Bytes>,
    /// Time on a processor of one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    #[x_kube(validation = schema::duration_between(Limits::TIME_MIN, Limits::TIMEOUT_MAX))]
    pub cpu_time: Option<Span>,
    /// Time until the response head of one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    #[x_kube(validation = schema::duration_between(Limits::TIME_MIN, Limits::TIMEOUT_MAX))]
    pub timeout: Option<Span>,
    /// Instructions of one call, in units of fuel. A component that names no limit is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = Limits::FUEL_MIN, max = Limits::FUEL_MAX))]
    pub fuel: Option<u64>,
    /// Bytes that one call reads and writes. A component that names no limit is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(validation = schema::quantity_between(Limits::IO_MIN, Limits::IO_MAX))]
    pub io: Option<Bytes>,
}

/// The most that `resources.perReplica` may name.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerReplicaCeiling {
    /// Calls in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = Limits::CONCURRENCY_MAX))]
    pub concurrency: Option<u32>,
    /// Memory of all calls in flight together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(validation = schema::quantity_between(Limits::MEMORY_MIN, Limits::PER_REPLICA_MEMORY_MAX))]
    pub memory: Option<Bytes>,
}

/// The most that the components of one namespace may take together. Those that came
/// first keep what they have.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Components.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = bound::TOTAL_COMPONENTS))]
    pub components: Option<u32>,
    /// Memory that `resources.requests` sets aside, over all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(validation = schema::quantity_between(Bytes(0), bound::TOTAL_MEMORY_MAX))]
    pub memory: Option<Bytes>,
    /// Triggers that take a port of the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = bound::TOTAL_PORTS))]
    pub ports: Option<u32>,
}

/// A kind of volume, by the name of its field in a component's `volumes`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum VolumeKind {
    /// Scratch space on the node.
    EmptyDir,
    /// A ConfigMap as files.
    ConfigMap,
    /// A Secret as files.
    Secret,
    /// A directory of the node.
    HostPath,
    /// A kind of a later version. Nothing is allowed by it.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// What happens with a version that asks for more than the last approved one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum OnIncrease {
    /// The old version goes on until somebody with the verb `approve` writes
    /// rollout.approve.
    #[default]
    Hold,
    /// It rolls out like any other, as far as it is granted.
    Allow,
    /// A choice of a later version. Treated as Hold.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl CapabilityPolicySpec {
    /// Whether the policy takes part in decisions. One with a mode of a later version
    /// does, and allows nothing.
    pub fn decides(&self) -> bool {
        self.mode != PolicyMode::Audit
    }

    /// Whether it holds versions that ask for more.
    pub fn holds_increases(&self) -> bool {
        self.on_increase != OnIncrease::Allow
    }
}

impl VolumeKind {
    /// How many there are.
    const COUNT: u32 = 4;
}
