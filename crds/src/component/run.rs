//! A component that runs by itself: what it exports as `wasi:cli/run`, once on each replica.

use kube::{KubeSchema, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// That a spec with a run trigger says nothing of calls, a Service or shares of requests.
pub(super) fn says_nothing_of_calls() -> Rule {
    let unsaid = [
        "!has(self.health)",
        "!has(self.instances)",
        "!has(self.rollout.canary)",
        "self.service.type == 'ClusterIP'",
        "!has(self.service.labels)",
        "!has(self.service.annotations)",
        "!has(self.service.trafficDistribution)",
        "self.resources.perReplica.concurrency == 100",
        "duration(self.resources.perCall.cpuTime) == duration('200ms')",
        "duration(self.resources.perCall.timeout) == duration('30s')",
        "!has(self.resources.perCall.fuel)",
        "!has(self.resources.perCall.io)",
    ];
    let unsaid = unsaid.join(" && ");
    Rule::new(format!(
        "!has(self.triggers) || self.triggers.all(t, !has(t.run)) || ({unsaid})"
    ))
    .message("nothing calls a component with a run trigger; remove health, instances, service, rollout.canary, resources.perReplica.concurrency and all of resources.perCall but memory")
}

/// `wasi:cli/run` of the component, once on each replica, for as long as it likes.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunTrigger {
    /// When a replica that has ended is started again, as in a Pod. One that the platform ended,
    /// for example with its node, is started again in any case.
    #[serde(default)]
    pub restart_policy: RestartPolicy,
}

/// When a replica that has ended by itself is started again.
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
pub enum RestartPolicy {
    /// However it has ended.
    #[default]
    Always,
    /// Unless it went well.
    OnFailure,
    /// Not at all.
    Never,
    /// A policy of a later version. Nothing is started by it.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
