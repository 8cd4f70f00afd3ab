//! What the operator says about a component. Written on transitions only: no
//! ticking times and no counters.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{bound, schema};

/// What the operator says about a component.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WasmComponentStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What the image's tag stood for when it was last resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<ResolvedImage>,
    /// Address inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::URL))]
    pub url: Option<String>,
    /// Replicas that are placed.
    #[serde(default)]
    pub replicas: i32,
    /// Replicas that serve.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Label selector for `/scale`; never empty, and matches no Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::QUALIFIED_NAME))]
    pub selector: Option<String>,
    /// The revision that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<ActiveRevision>,
    /// The revision that is taking over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updating: Option<UpdatingRevision>,
    /// Digest of the image that failed and is not tried again before it or the spec changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::DIGEST))]
    pub failed_digest: Option<String>,
    /// What failed of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<RolloutFailure>,
    /// The pin that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<PinnedRevision>,
    /// The port of each trigger on the nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::TRIGGERS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub triggers: Vec<TriggerStatus>,
    /// What became of each preview.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::PREVIEWS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub previews: Vec<PreviewStatus>,
    /// What the signed manifest asks for, and what becomes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<CapabilitiesStatus>,
    /// What trust and capability policies with mode: Audit would refuse the component
    /// for, were they to decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::WOULD_REFUSE))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["policy".into()]))]
    pub would_refuse: Vec<WouldRefuse>,
    /// What holds and what does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// What the signed manifest asks for, and what becomes of it: for people, one line each,
/// such as `read /data/input/**` or `connect api.example.com`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilitiesStatus {
    /// What the signed manifest asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::CAPABILITY_LINES), inner(length(max = bound::CAPABILITY_LINE)))]
    pub requested: Vec<String>,
    /// What the component grants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::CAPABILITY_LINES), inner(length(max = bound::CAPABILITY_LINE)))]
    pub granted: Vec<String>,
    /// What is asked for or granted, and refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::CAPABILITY_LINES), inner(length(max = bound::CAPABILITY_LINE)))]
    pub refused: Vec<String>,
    /// What `rollout.approve` has to say before the version that is held may run, while one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::APPROVAL))]
    pub approval: Option<String>,
}

/// What one policy with mode: Audit would refuse the component for.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WouldRefuse {
    /// Name of the TrustPolicy, or `CapabilityPolicy/` and the name of one.
    #[schemars(length(max = bound::QUALIFIED_NAME))]
    pub policy: String,
    /// Why, as one word of a closed list.
    pub reason: crate::Reason,
    /// Why, for people, with the mend.
    #[schemars(length(max = bound::FINDING))]
    pub message: String,
}

/// What an image's tag stood for.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResolvedImage {
    /// The image as the spec has it.
    #[schemars(length(max = bound::IMAGE))]
    pub image: String,
    /// The digest it stood for.
    #[schemars(length(max = bound::DIGEST))]
    pub digest: String,
    /// When the tag first stood for this digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub time: Option<Time>,
}

/// The revision that serves.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveRevision {
    /// Name of the ControllerRevision.
    #[schemars(length(max = bound::NAME))]
    pub revision: String,
    /// Digest of the image.
    #[schemars(length(max = bound::DIGEST))]
    pub digest: String,
    /// Version that the component or its tag names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::NAME))]
    pub version: Option<String>,
    /// Trust policy and authority whose signature admitted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::IMAGE))]
    pub signer: Option<String>,
}

/// The revision that is taking over.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdatingRevision {
    /// Name of the ControllerRevision.
    #[schemars(length(max = bound::NAME))]
    pub revision: String,
    /// Digest of the image.
    #[schemars(length(max = bound::DIGEST))]
    pub digest: String,
    /// Version that the component or its tag names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::NAME))]
    pub version: Option<String>,
    /// Trust policy and authority whose signature admitted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::IMAGE))]
    pub signer: Option<String>,
    /// Nodes that have prepared it.
    #[serde(default)]
    pub prepared_nodes: i32,
    /// Nodes that serve it.
    #[serde(default)]
    pub serving_nodes: i32,
    /// Nodes that are to serve it.
    #[serde(default)]
    pub nodes: i32,
    /// The most nodes that it has reached in this step, so far.
    #[serde(default)]
    pub reached_nodes: i32,
    /// Steps of its canary that it has passed; absent once it is given all requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<i32>,
    /// Its share of the requests in percent, in a step of its canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
    /// Since when it has not reached another node; absent while it is not its fault, because
    /// the rollout is paused or something else has to change first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub since: Option<Time>,
}

/// How a rollout failed, so that it is not tried again and people can read why.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutFailure {
    /// The revision that failed.
    #[schemars(length(max = bound::NAME))]
    pub revision: String,
    /// Hash of the spec that it failed for: of all but replicas and paused, promote and approve of
    /// rollout, which do not make it worth another attempt.
    #[schemars(length(max = bound::SPEC_HASH))]
    pub spec_hash: String,
    /// Why, as one word of a closed list.
    pub reason: crate::Reason,
    /// Why, for people.
    #[schemars(length(max = bound::FINDING))]
    pub message: String,
}

/// A pin that holds.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PinnedRevision {
    /// The revision that runs in place of what the spec describes.
    #[schemars(length(max = bound::NAME))]
    pub revision: String,
    /// Hash of the spec that it holds for, as that of a failure.
    #[schemars(length(max = bound::SPEC_HASH))]
    pub spec_hash: String,
}

/// The port of one trigger.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerStatus {
    /// Name of the trigger, or of the port of one that runs.
    #[schemars(length(max = bound::LABEL))]
    pub name: String,
    /// The port that agents listen on, the same on every node.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// What became of a preview.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewStatus {
    /// Name of the preview.
    #[schemars(length(max = bound::PREVIEW_NAME))]
    pub name: String,
    /// Address inside the cluster; absent while it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::URL))]
    pub url: Option<String>,
    /// Whether it serves.
    pub ready: bool,
    /// Why it does or does not, as one word of a closed list.
    pub reason: crate::Reason,
    /// Why, for people; the WasmComponent of the preview says more.
    #[schemars(length(max = bound::FINDING))]
    pub message: String,
}
