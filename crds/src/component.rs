//! `WasmComponent`: what to run, what it is given, how it is triggered and rolled out.
//!
//! The user writes the spec, the operator the status. Knows neither; `validate`
//! holds the checks that the schema's CEL rules have too, for everybody who reads
//! a component from a file.

mod capabilities;
mod environment;
pub(crate) mod grant;
mod invoke;
mod outbound;
mod placement;
mod preview;
mod process;
mod resources;
mod rollout;
mod run;
mod service;
mod status;
mod trigger;
pub mod validate;
mod volume;

use capability::{Limits, Span};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub use capabilities::{AuditLevel, Capabilities, GrantMode, MountGrant, NetworkGrants};
pub use environment::{
    ConfigMapKeySelector, EnvFromSource, EnvVar, EnvVarSource, ObjectReference, SecretKeySelector,
};
pub use invoke::{InvokeAuth, InvokeTrigger, NoAuth};
pub use outbound::{Credentials, OutboundGrant, Protocol, Reach};
pub use placement::{PlacementMode, PlacementSpec, SpreadConstraint, WhenUnsatisfiable};
pub use preview::Preview;
pub use process::Processes;
pub use resources::{Instances, PerCall, PerReplica, Requests, Resources};
pub use rollout::{
    Analysis, Canary, CanaryPause, CanaryStep, Health, HttpGet, OnFailure, Pin, Promote, Rollout,
};
pub use run::{PortProtocol, RestartPolicy, RunPort, RunTrigger};
pub use service::{ServiceSpec, ServiceType, TrafficDistribution};
pub use status::{
    ActiveRevision, CapabilitiesStatus, PinnedRevision, PreviewStatus, ResolvedImage,
    RolloutFailure, TriggerStatus, UpdatingRevision, WasmComponentStatus, WouldRefuse,
};
pub use trigger::{HttpTrigger, Trigger};
pub use validate::problems;
pub use volume::{
    ConfigMapVolume, EmptyDirVolume, HostPathVolume, KeyToPath, SecretVolume, Volume,
};

pub use crate::problem::Problem;
use crate::{bound, schema};

/// What to run, what it is given, how it is triggered and rolled out.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "lighterman.dev",
    version = "v1alpha1",
    kind = "WasmComponent",
    plural = "wasmcomponents",
    shortname = "wc",
    category = "lighterman",
    namespaced,
    status = "WasmComponentStatus",
    derive = "PartialEq",
    doc = "A signed WebAssembly component that runs on the cluster's nodes.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether every part of the component is as its spec says"
    ),
    printcolumn(
        name = "Replicas",
        type_ = "integer",
        json_path = ".status.readyReplicas",
        description = "Replicas that serve"
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.current.version",
        description = "Version of the revision that serves"
    ),
    printcolumn(
        name = "URL",
        type_ = "string",
        json_path = ".status.url",
        description = "Address inside the cluster"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the component was created"
    ),
    printcolumn(
        name = "Signer",
        type_ = "string",
        json_path = ".status.current.signer",
        description = "Authority whose signature admitted the revision",
        priority = 1
    ),
    printcolumn(
        name = "Digest",
        type_ = "string",
        json_path = ".status.current.digest",
        description = "Digest of the revision that serves",
        priority = 1
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why the component is ready or not",
        priority = 1
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$')")
        .message("metadata.name must be 1 to 52 lower-case letters, digits and `-`, and start with a letter, because it becomes the name of a Service; rename the component"),
    validation = Rule::new("!has(self.spec.previews) || self.spec.previews.all(p, size(self.metadata.name) + 1 + size(p.name) <= 52)")
        .message("previews: the name of the component, - and the name of a preview must be at most 52 characters, because they become the name of a Service; give the preview a shorter name")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = run::says_nothing_without_ports_in("service", "self.service.type == 'ClusterIP' && !has(self.service.labels) && !has(self.service.annotations) && !has(self.service.trafficDistribution)"),
    validation = run::says_nothing_in("instances", "!has(self.instances)"),
    validation = run::says_nothing_without_ports_in("resources.perReplica.concurrency", "self.resources.perReplica.concurrency == 100"),
    validation = run::says_nothing_in("resources.perCall.cpuTime", "duration(self.resources.perCall.cpuTime) == duration('200ms')"),
    validation = run::says_nothing_in("resources.perCall.timeout", "duration(self.resources.perCall.timeout) == duration('30s')"),
    validation = run::says_nothing_in("resources.perCall.fuel", "!has(self.resources.perCall.fuel)"),
    validation = run::says_nothing_in("resources.perCall.io", "!has(self.resources.perCall.io)"),
    validation = run::says_nothing_without_ports_in("health", "!has(self.health)"),
    validation = run::health_fits(),
    validation = run::says_nothing_in("rollout.canary", "!has(self.rollout.canary)"),
    validation = run::says_nothing_without_ports_in("previews", "!has(self.previews)"),
    validation = invoke::needs_handler("health", "!has(self.health)"),
    validation = invoke::needs_handler("instances", "!has(self.instances)")
)]
#[x_kube(validation = Rule::new("self.placement.mode != 'EveryNode' || self.replicas <= 1").message("placement.mode EveryNode runs one replica on each node; remove replicas or write placement.mode: Spread"))]
#[x_kube(
    validation = Rule::new("!has(self.capabilities) || !has(self.capabilities.filesystem) || self.capabilities.filesystem.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.volume))")
        .message("capabilities.filesystem names a volume that is not in volumes; add it there, or correct the name"),
    validation = Rule::new("!has(self.capabilities) || !has(self.capabilities.filesystem) || self.capabilities.filesystem.all(m, !has(m.write) || size(m.write) == 0 || !has(self.volumes) || self.volumes.all(v, v.name != m.volume || has(v.emptyDir) || has(v.hostPath)))")
        .message("volumes from a configMap or secret cannot be written; remove write, or use an emptyDir"),
    validation = Rule::new("!has(self.instances) || self.instances.maxRequests <= 1 || !has(self.capabilities) || !has(self.capabilities.network) || !has(self.capabilities.network.outbound) || self.capabilities.network.outbound.all(o, !has(o.credentials))")
        .message("instances.maxRequests: an instance that answers more than one request could show one caller what it fetched with a credential for another; remove instances, or the credentials")
)]
pub struct WasmComponentSpec {
    /// The image to run: `registry/repository:tag`, or with `@sha256:` and a digest.
    #[schemars(length(min = 1, max = bound::IMAGE))]
    #[x_kube(validation = Rule::new("!self.matches('[[:space:]]')").message("must not contain spaces; write registry/repository:tag"))]
    pub image: String,

    /// Secrets of type kubernetes.io/dockerconfigjson to pull the image with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::PULL_SECRETS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// How often to look whether the tag has moved, 30s to 24h. Absent: a tag is
    /// resolved when the spec changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    #[x_kube(validation = schema::duration_between(bound::POLL_INTERVAL_MIN, bound::POLL_INTERVAL_MAX))]
    pub image_poll_interval: Option<Span>,

    /// Replicas over all nodes. A node with n of them gives n times `resources.perReplica`.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = bound::REPLICAS))]
    pub replicas: i32,

    /// Which nodes the component runs on.
    #[serde(default)]
    pub placement: PlacementSpec,

    /// The Service in front of the component.
    #[serde(default)]
    pub service: ServiceSpec,

    /// What starts the component's code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::TRIGGERS))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = trigger::distinct_ports(),
        validation = trigger::run_stands_alone()
    )]
    pub triggers: Vec<Trigger>,

    /// Arguments of the component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::ARGS), inner(length(max = bound::ARG)))]
    pub args: Vec<String>,

    /// Environment variables of the component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::VARIABLES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvVar>,

    /// Sources of environment variables; `env` wins over them, later over earlier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::ENV_FROM))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub env_from: Vec<EnvFromSource>,

    /// What the component reads through `wasi:config/store`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::VARIABLES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub config: Vec<EnvVar>,

    /// Files for the component, which `capabilities.filesystem` mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::VOLUMES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub volumes: Vec<Volume>,

    /// What the component may do. Absent: nothing but answer.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub capabilities: Capabilities,

    /// What of its use of them is recorded.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub audit: AuditLevel,

    /// How long one instance of it lives.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub instances: Instances,

    /// What the component may use.
    #[serde(default)]
    pub resources: Resources,

    /// How a new revision shows that it is healthy. Absent: it is once it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,

    /// How a new revision takes over.
    #[serde(default)]
    pub rollout: Rollout,

    /// Other images of the component, each beside it under a Service of its own. They get none
    /// of its requests, and nothing is set aside for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::PREVIEWS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub previews: Vec<Preview>,
}

/// An object of the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LocalObjectReference {
    /// Name of the object.
    #[schemars(length(min = 1, max = bound::NAME))]
    pub name: String,
}

impl WasmComponentSpec {
    /// Whether it runs by itself, and nothing calls it.
    pub fn is_run(&self) -> bool {
        self.triggers.iter().any(|trigger| trigger.run.is_some())
    }

    /// The limits the component runs under.
    pub fn limits(&self) -> Limits {
        self.resources.limits(&self.instances)
    }
}

impl Default for WasmComponentSpec {
    /// An empty image and otherwise what the API server fills in.
    fn default() -> Self {
        Self {
            image: String::new(),
            image_pull_secrets: Vec::new(),
            image_poll_interval: None,
            replicas: default_replicas(),
            placement: PlacementSpec::default(),
            service: ServiceSpec::default(),
            triggers: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            env_from: Vec::new(),
            config: Vec::new(),
            volumes: Vec::new(),
            capabilities: Capabilities::default(),
            audit: AuditLevel::default(),
            instances: Instances::default(),
            resources: Resources::default(),
            health: None,
            rollout: Rollout::default(),
            previews: Vec::new(),
        }
    }
}

fn default_replicas() -> i32 {
    1
}
