//! A component that runs by itself: what it exports as `wasi:cli/run`, once on each replica.

use kube::{KubeSchema, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// That a spec with a run trigger says nothing in `field`, which is so when `unsaid` holds.
pub(super) fn says_nothing_in(field: &str, unsaid: &str) -> Rule {
    Rule::new(format!(
        "!has(self.triggers) || self.triggers.all(t, !has(t.run)) || ({unsaid})"
    ))
    .message(
        format!(
            "{field}: it is about calls, and nothing calls a component with a run trigger; remove it"
        )
        .as_str(),
    )
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
