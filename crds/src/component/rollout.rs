//! How a new revision shows that it is healthy and takes over.

use capability::Span;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::percent::Percent;
use crate::{bound, schema};

/// How a new revision takes over.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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
    /// Old revisions that are kept.
    #[serde(default = "default_revision_history_limit")]
    #[schemars(range(min = 0, max = bound::REVISION_HISTORY_MAX))]
    pub revision_history_limit: u32,
    /// What happens with a revision that fails on a node, or does not get on.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub on_failure: OnFailure,
    /// How long a new revision may take to reach one more node before it counts as failed, in
    /// seconds; what minReadySeconds asks for comes on top.
    #[serde(default = "default_progress_deadline_seconds")]
    #[schemars(range(min = 1, max = bound::PROGRESS_DEADLINE_MAX_SECONDS))]
    pub progress_deadline_seconds: u32,
    /// Shares of the requests that a new revision is given before it is given all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Whether no further node is given another revision than the one that serves. What a
    /// node has begun it finishes, and replicas are added and moved as ever.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub paused: bool,
    /// A revision that is kept, to run in place of what the spec asks for: an undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Steps of the canary that are passed without waiting: what `kubectl lm rollout resume` and
    /// `promote` write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote: Option<Promote>,
    /// The request that is approved although it asks for more than the last one: the hash
    /// that the condition Admitted names. Only who holds the verb `approve` may change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::APPROVAL))]
    #[x_kube(validation = schema::matches("^[0-9a-f]*$", "must be the hash that the condition Admitted names"))]
    pub approve: Option<String>,
}

/// Shares of the requests that a new revision is given on every node before it is given all.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.steps.map(step, step.weight).isSorted() && self.steps.all(step, self.steps.exists_one(other, other.weight == step.weight))")
    .message("steps: each must give more than the one before; write the weights in rising order"))]
pub struct Canary {
    /// The shares, one after the other.
    #[schemars(length(min = 1, max = bound::CANARY_STEPS))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub steps: Vec<CanaryStep>,
    /// What the requests of the new revision must come to in each step; absent: nobody looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
}

/// How the requests of a new revision must go. A revision whose requests go worse has failed. It
/// is judged by what agents count, from the beginning of each step, and until the old one is let
/// go. Answers of 4xx never count.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.maxErrorRate) || has(self.maxLatencyP99) || has(self.maxRegression)")
    .message("analysis judges nothing; write maxErrorRate, maxLatencyP99 or maxRegression"))]
pub struct Analysis {
    /// Requests that a step needs: with fewer nothing is judged, and the step goes on until they
    /// have come or progressDeadlineSeconds have passed since its pause.
    #[serde(default = "default_min_requests")]
    #[schemars(range(min = 1, max = bound::ANALYSIS_REQUESTS))]
    pub min_requests: u32,
    /// The largest share of its requests that may fail: traps, limits, timeouts. What it answers
    /// itself with 5xx is only compared, by maxRegression: callers may choose that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::percent")]
    #[x_kube(validation = schema::percent_to(Percent::WHOLE))]
    pub max_error_rate: Option<Percent>,
    /// The longest that 99 of 100 of its response heads may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    #[x_kube(validation = schema::duration_between(bound::LATENCY_MIN, bound::LATENCY_MAX))]
    pub max_latency_p99: Option<Span>,
    /// How much worse than the old revision it may be in the same step, beyond what chance
    /// explains: in the share of requests that failed or were answered with 5xx, and in the time
    /// that 99 of 100 take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::percent")]
    #[x_kube(validation = schema::percent_to(Percent::MAX))]
    pub max_regression: Option<Percent>,
}

/// A share of the requests, and how long it stays so.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryStep {
    /// The share on every node, in percent.
    #[schemars(range(min = 1, max = 99))]
    pub weight: u32,
    /// How long all nodes give it this share before the next step; absent: no longer than it
    /// takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<CanaryPause>,
}

/// How long a step of a canary lasts.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryPause {
    /// So long, at most 24h; absent: until `kubectl lm rollout resume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    #[x_kube(validation = schema::duration_between(bound::CANARY_PAUSE_MIN, bound::CANARY_PAUSE_MAX))]
    pub duration: Option<Span>,
}

/// Steps of a canary that are passed without waiting.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promote {
    /// Name of the revision: what holds for it holds for no other.
    #[schemars(length(min = 1, max = bound::NAME))]
    pub revision: String,
    /// How many steps; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bound::CANARY_STEPS))]
    pub step: Option<i32>,
}

/// A revision that is kept, to run in place of what the spec asks for. It needs no registry.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// Name of the revision, as `kubectl lm rollout history` lists it.
    #[schemars(length(min = 1, max = bound::NAME))]
    #[x_kube(validation = schema::matches("^wc-[a-z0-9-]+$", "must be the name of a revision; write one that kubectl lm rollout history lists, such as wc-orders-0123456789"))]
    pub revision: String,
    /// The generation of the component that the pin is written in. Whoever changes more of the
    /// spec afterwards than replicas, rollout.paused, promote and approve makes it void.
    #[schemars(range(min = 1))]
    pub for_generation: i64,
}

/// What happens with a revision that fails on a node, or does not get on. Neither touches the
/// spec, and neither stops what serves.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum OnFailure {
    /// The revision that served before is put back on every node.
    #[default]
    Rollback,
    /// No further node is given it, and each node keeps what it has.
    Pause,
    /// A choice of a later version.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// How a new revision shows that it is healthy.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// A request that must be answered with 2xx or 3xx, of a component that answers requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGet>,
    /// How long the first good answer may take, at most 10m; of a component that runs, how long
    /// it may listen on less than all of its ports.
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
            revision_history_limit: default_revision_history_limit(),
            on_failure: OnFailure::Rollback,
            progress_deadline_seconds: default_progress_deadline_seconds(),
            canary: None,
            paused: false,
            pin: None,
            promote: None,
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

fn default_revision_history_limit() -> u32 {
    10
}

fn default_progress_deadline_seconds() -> u32 {
    600
}

fn default_min_requests() -> u32 {
    100
}
