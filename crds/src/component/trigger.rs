//! What starts a component's code. A list-map by name with exactly one member per
//! entry, so that later kinds of trigger are further members.

use capability::Bytes;
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use kube::{KubeSchema, core::Rule};
use serde::{Deserialize, Serialize};

use super::{InvokeTrigger, RunTrigger};
use crate::{bound, schema};

/// One way in.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("[has(self.http), has(self.run), has(self.invoke)].filter(given, given).size() == 1").message("needs exactly one member that says what starts the component; write http: {port: 80}, or run: {}"))]
#[x_kube(validation = Rule::new("!has(self.run) || (has(self.run.ports) && self.run.ports.size() > 0) || !has(self.from)").message("from says who may call, and nothing calls a component that runs without ports; remove it, or add run.ports"))]
pub struct Trigger {
    /// Name of the trigger and of the Service's port.
    #[schemars(length(min = 1, max = bound::TRIGGER_NAME))]
    #[x_kube(validation = schema::matches("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "must be lower-case letters, digits and -, because it becomes the name of a Service's port; write for example web"))]
    pub name: String,
    /// HTTP requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpTrigger>,
    /// A process on each replica, which nothing calls but over ports that it listens on: what it
    /// exports as wasi:cli/run. It stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunTrigger>,
    /// Calls of functions that the component exports, as JSON over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoke: Option<InvokeTrigger>,
    /// Who may call, as in a NetworkPolicy, where the cluster's network enforces those. Absent:
    /// whoever reaches the Service, from inside the cluster or outside. An empty list: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::peers")]
    pub from: Option<Vec<NetworkPolicyPeer>>,
}

/// HTTP requests to the component's Service.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpTrigger {
    /// Port of the Service.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The largest request body, at most 256Mi; larger ones are answered with 413.
    #[serde(default = "default_max_request_body")]
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(validation = schema::quantity_between(Bytes(0), bound::REQUEST_BODY_MAX))]
    pub max_request_body: Bytes,
}

impl Trigger {
    /// The port of the Service by which it is called; `None` of a trigger that is not called over
    /// the network.
    pub fn port(&self) -> Option<i32> {
        let Self {
            name: _,
            http,
            run: _,
            invoke,
            from: _,
        } = self;
        let http = http.as_ref().map(|http| http.port);
        http.or(invoke.as_ref().map(|invoke| invoke.port))
    }

    /// The ports of the Service that it takes, by name: its own, or those of a component that
    /// listens by itself.
    pub fn ports(&self) -> impl Iterator<Item = (&str, i32)> {
        let own = self.port().map(|port| (self.name.as_str(), port));
        let run = self.run.iter().flat_map(|run| &run.ports);
        let listened = run.map(|port| (port.name.as_str(), port.port));
        own.into_iter().chain(listened)
    }

    /// The members that say what starts the component: exactly one is right.
    pub(super) fn members(&self) -> Vec<&'static str> {
        let Self {
            name: _,
            http,
            run,
            invoke,
            from: _,
        } = self;
        let members = [
            ("http", http.is_some()),
            ("run", run.is_some()),
            ("invoke", invoke.is_some()),
        ];
        let given = members.into_iter().filter(|(_, given)| *given);
        given.map(|(member, _)| member).collect()
    }
}

/// That a run trigger stands alone: the rule of the list.
pub(super) fn run_stands_alone() -> Rule {
    Rule::new("self.size() == 1 || self.all(t, !has(t.run))").message(
        "a run trigger stands alone; make a component of its own, of the same image, of each",
    )
}

/// That no two triggers have the same port: the rule of the list, as [`Trigger::port`].
pub(super) fn distinct_ports() -> Rule {
    let port = |trigger: &str| {
        format!(
            "(has({trigger}.http) ? {trigger}.http.port : has({trigger}.invoke) ? {trigger}.invoke.port : 0)"
        )
    };
    let (one, other) = (port("t"), port("o"));
    Rule::new(format!(
        "self.all(t, {one} == 0 || self.exists_one(o, {other} == {one}))"
    ))
    .message("two triggers have the same port; give each its own")
}

impl Default for HttpTrigger {
    fn default() -> Self {
        Self {
            port: default_port(),
            max_request_body: default_max_request_body(),
        }
    }
}

fn default_port() -> i32 {
    80
}

fn default_max_request_body() -> Bytes {
    Bytes::mib(10)
}
