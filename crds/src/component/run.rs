//! A component that runs by itself: what it exports as `wasi:cli/run`, once on each replica.

use kube::{KubeSchema, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{bound, schema};

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

/// The same of a spec whose run trigger has no ports either.
pub(super) fn says_nothing_without_ports_in(field: &str, unsaid: &str) -> Rule {
    Rule::new(format!(
        "!has(self.triggers) || self.triggers.all(t, !has(t.run) || (has(t.run.ports) && t.run.ports.size() > 0)) || ({unsaid})"
    ))
    .message(
        format!(
            "{field}: nothing calls a component whose run trigger has no ports; remove it, or add ports to the trigger"
        )
        .as_str(),
    )
}

/// What a health check says: a path where something answers requests, and of a component that
/// runs only how long it may take until it listens.
pub(super) fn health_fits() -> Rule {
    Rule::new("!has(self.health) || has(self.health.httpGet) != (has(self.triggers) && self.triggers.exists(t, has(t.run)))")
        .message("health.httpGet asks a component that answers HTTP requests, and each of those needs it; one with a run trigger has none, and is healthy when it listens on its ports")
}

/// `wasi:cli/run` of the component, once on each replica, for as long as it likes.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.ports) || self.ports.size() == 0 || self.restartPolicy == 'Always'").message("a component with ports is a server, and no job; write restartPolicy: Always, or remove ports"))]
pub struct RunTrigger {
    /// When a replica that has ended is started again, as in a Pod. One that the platform ended,
    /// for example with its node, is started again in any case.
    #[serde(default)]
    pub restart_policy: RestartPolicy,
    /// Ports of the component's Service on which it listens by itself, through wasi:sockets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::RUN_PORTS))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new("self.all(one, self.exists_one(other, other.port == one.port))").message("two ports have the same number; give each its own")
    )]
    pub ports: Vec<RunPort>,
}

/// A port that a component listens on, as in a Pod.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPort {
    /// Name of the port, also of the Service's.
    #[schemars(length(min = 1, max = bound::TRIGGER_NAME))]
    #[x_kube(validation = schema::matches("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "must be lower-case letters, digits and -, because it becomes the name of a Service's port; write for example tcp"))]
    pub name: String,
    /// The port that the component binds, and that of the Service.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// What is spoken on it.
    #[serde(default)]
    pub protocol: PortProtocol,
}

/// What is spoken on a port.
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
#[serde(rename_all = "UPPERCASE")]
#[strum(serialize_all = "UPPERCASE")]
pub enum PortProtocol {
    /// Connections.
    #[default]
    Tcp,
    /// A protocol of a later version. Nobody listens for it.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
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
