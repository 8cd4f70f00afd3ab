//! How a new revision shows that it is healthy and takes over.

use capability::Span;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{bound, schema};

/// How a new revision takes over.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.progressDeadlineSeconds > self.minReadySeconds")
    .message("progressDeadlineSeconds must be more than minReadySeconds; raise it, or lower minReadySeconds"))]
pub struct Rollout {
    /// Nodes that are prepared and switched at once: a number, or a percentage rounded up.
    #[serde(default = "default_max_parallel")]
    #[schemars(schema_with = "schema::count_or_percent")]
    pub max_parallel: IntOrString,
    /// How long a revision must stay healthy before the next nodes follow, in seconds.
    #[serde(default)]
    #[schemars(range(min = 0, max = bound::MIN_READY_MAX_SECONDS))]
    pub min_ready_seconds: u32,
    /// How long requests may end on the old revision, in seconds.
    #[serde(default = "default_termination_grace_period_seconds")]
    #[schemars(range(min = 0, max = bound::GRACE_PERIOD_MAX_SECONDS))]
    pub termination_grace_period_seconds: u32,
    /// How long nodes that are given a revision may make no progress with it before it counts
    /// as failed, in seconds. More than minReadySeconds.
    #[serde(default = "default_progress_deadline_seconds")]
    #[schemars(range(min = 1, max = bound::PROGRESS_DEADLINE_MAX_SECONDS))]
    pub progress_deadline_seconds: u32,
    /// What becomes of a revision that fails while another one could serve.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub on_failure: OnFailure,
    /// A kept revision that is to run in place of what the rest of the spec describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Old revisions that are kept.
    #[serde(default = "default_revision_history_limit")]
    #[schemars(range(min = 0, max = bound::REVISION_HISTORY_MAX))]
    pub revision_history_limit: u32,
    /// Whether no further node is given another revision than the one that serves. What a
    /// node has begun it finishes, and replicas are added and moved as ever.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub paused: bool,
    /// The request that is approved although it asks for more than the last one: the hash
    /// that the condition Admitted names. Only who holds the verb `approve` may change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::APPROVAL))]
    #[x_kube(validation = schema::matches("^[0-9a-f]*$", "must be the hash that the condition Admitted names"))]
    pub approve: Option<String>,
}

/// What becomes of a revision that fails.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum OnFailure {
    /// The one that served before is put back on every node, and the failed one is not tried
    /// again before the image or the spec changes.
    #[default]
    Rollback,
    /// No further node is given it. Nodes that serve it go on.
    Pause,
    /// A way of a later version. Counts as Pause.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// A kept revision that is to run.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// Name of the revision, as `kubectl lm rollout history` lists it.
    #[schemars(length(min = 1, max = bound::NAME))]
    pub revision: String,
    /// The generation of the component that this pin is part of. As soon as the rest of the
    /// spec changes the pin is void; replicas and the other fields of rollout may change.
    #[schemars(range(min = 1))]
    pub for_generation: i64,
}

/// How a new revision shows that it is healthy.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// A request that must be answered with 2xx or 3xx.
    pub http_get: HttpGet,
    /// How long the first good answer may take, at most 10m.
    #[serde(default = "Health::default_start_timeout")]
    #[schemars(schema_with = "schema::duration")]
    #[x_kube(validation = schema::duration_between(bound::START_TIMEOUT_MIN, bound::START_TIMEOUT_MAX))]
    pub start_timeout: Span,
}

/// A GET request to the component itself.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpGet {
    /// Path to ask for, such as `/healthz`.
    #[schemars(length(min = 1, max = bound::PATH))]
    #[x_kube(validation = schema::matches("^/[!-~]*$", "must begin with / and have no spaces; write for example /healthz"))]
    pub path: String,
}

impl Rollout {
    /// How many of `nodes` nodes may be switched at once: at least one, so that a
    /// rollout always moves.
    pub fn parallel(&self, nodes: usize) -> usize {
        let wanted = match &self.max_parallel {
            IntOrString::Int(count) => usize::try_from(*count).unwrap_or(0),
            IntOrString::String(text) => {
                let percent = text
                    .strip_suffix('%')
                    .and_then(|number| number.parse::<usize>().ok());
                nodes
                    .saturating_mul(percent.unwrap_or(0).min(100))
                    .div_ceil(100)
            }
        };
        wanted.max(1)
    }
}

impl Health {
    /// How long the first good answer may take unless the spec says otherwise.
    pub fn default_start_timeout() -> Span {
        Span::seconds(10)
    }
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            max_parallel: default_max_parallel(),
            min_ready_seconds: 0,
            termination_grace_period_seconds: default_termination_grace_period_seconds(),
            progress_deadline_seconds: default_progress_deadline_seconds(),
            on_failure: OnFailure::default(),
            pin: None,
            revision_history_limit: default_revision_history_limit(),
            paused: false,
            approve: None,
        }
    }
}

fn default_max_parallel() -> IntOrString {
    IntOrString::String("25%".to_owned())
}

fn default_termination_grace_period_seconds() -> u32 {
    30
}

fn default_progress_deadline_seconds() -> u32 {
    600
}

fn default_revision_history_limit() -> u32 {
    10
}
