//! `ComponentPlacement`: that a node is to run a component. A pointer only.
//!
//! It holds no grants and no values, because whoever may write objects in a
//! namespace could forge one: what the node executes comes sealed over the
//! hand-over. The operator writes the spec, the agent of `spec.nodeName` the status.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{bound, schema};

/// That a node is to run a component.
#[derive(
    CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[kube(
    group = "lighterman.dev",
    version = "v1alpha1",
    kind = "ComponentPlacement",
    plural = "componentplacements",
    shortname = "wcp",
    category = "lighterman",
    namespaced,
    status = "ComponentPlacementStatus",
    derive = "PartialEq",
    selectable = ".spec.nodeName",
    doc = "That a node is to run a component. Written by the operator only; describe the WasmComponent instead.",
    printcolumn(
        name = "Component",
        type_ = "string",
        json_path = ".spec.componentRef.name",
        description = "The component that is placed"
    ),
    printcolumn(
        name = "Node",
        type_ = "string",
        json_path = ".spec.nodeName",
        description = "The node it is placed on"
    ),
    printcolumn(
        name = "Ready",
        type_ = "boolean",
        json_path = ".status.ready",
        description = "Whether the node serves it"
    ),
    printcolumn(
        name = "Serving",
        type_ = "string",
        json_path = ".status.serving",
        description = "The revision that the node serves"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the placement was created"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ComponentPlacementSpec {
    /// The component, of the same namespace.
    pub component_ref: ComponentReference,
    /// The node that is to run it.
    #[schemars(length(min = 1, max = bound::NAME))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a placement never moves; the operator makes another"))]
    pub node_name: String,
    /// Replicas on this node: how many times the budget of one replica it gives.
    #[schemars(range(min = 0, max = bound::REPLICAS))]
    pub replicas: i32,
    /// The port of each trigger, the same on every node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::TRIGGERS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["trigger".into()]))]
    pub ports: Vec<PlacedPort>,
    /// One revision, or two while one takes over from the other.
    #[schemars(length(max = bound::PLACED_REVISIONS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub revisions: Vec<PlacedRevision>,
}

/// What the agent of the node says about a placement.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentPlacementStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Whether the node accepts requests for the component.
    #[serde(default)]
    pub ready: bool,
    /// Name of the revision that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::NAME))]
    pub serving: Option<String>,
    /// How far each revision is on this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub revisions: Vec<RevisionStatus>,
    /// How its replicas are, of a component that runs by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunStatus>,
    /// What holds and what does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

impl ComponentPlacement {
    /// Whether all its replicas have run to their end, with the revision that it is to run:
    /// nothing of it takes anything of the node any more.
    pub fn has_completed(&self) -> bool {
        let run = self.status.as_ref().and_then(|status| status.run.as_ref());
        let wanted = self.spec.revisions.first().map(|first| &first.name);
        run.is_some_and(|run| {
            self.spec.replicas > 0
                && run.completed >= self.spec.replicas
                && Some(&run.revision) == wanted
        })
    }
}

/// A component of the same namespace.
#[derive(
    KubeSchema, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ComponentReference {
    /// Name of the component.
    #[schemars(length(min = 1, max = bound::COMPONENT_NAME))]
    pub name: String,
    /// UID of the component, so that a later one of the same name is not meant.
    #[schemars(length(min = 1, max = bound::UID))]
    pub uid: String,
}

/// The port of one trigger.
#[derive(
    KubeSchema, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct PlacedPort {
    /// Name of the trigger, or of the port of one that runs.
    #[schemars(length(min = 1, max = bound::LABEL))]
    pub trigger: String,
    /// The port that the agent listens on.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// A revision that a node is to hold.
#[derive(
    KubeSchema, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct PlacedRevision {
    /// Name of the ControllerRevision.
    #[schemars(length(min = 1, max = bound::NAME))]
    pub name: String,
    /// Digest of the image.
    #[schemars(length(min = 1, max = bound::DIGEST))]
    pub digest: String,
    /// Its share of the requests in percent; 0 means only prepared.
    #[schemars(range(min = 0, max = 100))]
    pub weight: u32,
}

/// How far one revision is on a node.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionStatus {
    /// Name of the ControllerRevision.
    #[schemars(length(max = bound::NAME))]
    pub name: String,
    /// How far it is.
    pub phase: Phase,
    /// Why it is not further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<crate::Reason>,
    /// Why it is not further, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::MESSAGE))]
    pub message: Option<String>,
}

/// How the replicas of one revision are on a node, of a component that runs by itself. What is
/// not counted here is being started or ended.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Name of the ControllerRevision.
    #[schemars(length(max = bound::NAME))]
    pub revision: String,
    /// Replicas that run, and listen on all of their ports.
    #[serde(default)]
    pub running: i32,
    /// Replicas that have ended and wait to be started again.
    #[serde(default)]
    pub waiting: i32,
    /// Replicas that have ended well and are not started again.
    #[serde(default)]
    pub completed: i32,
    /// Replicas that have failed and are not started again.
    #[serde(default)]
    pub failed: i32,
    /// How a replica of it ended last, unless the node ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_end: Option<RunEnd>,
}

/// How a replica has ended.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEnd {
    /// Why, as one word of a closed list.
    pub reason: crate::Reason,
    /// What it said itself: 0 when all went well. Absent when it was ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The port that it did not listen on, when it was ended for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::LABEL))]
    pub port: Option<String>,
}

impl fmt::Display for RunEnd {
    /// After "it".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.exit_code, &self.port) {
            (Some(code), _) => write!(f, "exited with code {code}"),
            (None, Some(port)) => write!(
                f,
                "did not listen on port {port} within health.startTimeout; bind 0.0.0.0 or [::] and the number of that port"
            ),
            (None, None) => write!(f, "ended with {}", self.reason),
        }
    }
}

/// How far a revision is on a node.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
)]
pub enum Phase {
    /// Being fetched, verified, compiled or started.
    #[default]
    Preparing,
    /// Ready to serve.
    Prepared,
    /// Serving requests.
    Serving,
    /// Finishing its last requests.
    Draining,
    /// Given up; the reason says why.
    Failed,
    /// A phase of a later version. Counts as not ready.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
