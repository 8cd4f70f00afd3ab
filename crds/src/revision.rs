//! The content of a ControllerRevision: what exactly is run, and with what.
//!
//! A projection of digest, references and limits, written canonically with every
//! default left out: so the same object hashes the same for ever, also after an
//! upgrade that adds a field. Values of Secrets are never in it, only references.
//! The operator writes and seals it, the agent checks and runs it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use capability::{Bytes, Limits, Request};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::component::{
    AuditLevel, Capabilities, Credentials, EnvFromSource, EnvVar, Health, HttpTrigger, InvokeAuth,
    InvokeTrigger, Protocol, Reach, RestartPolicy, Rollout, RunPort, RunTrigger, Trigger, Volume,
};
use crate::names;

/// What exactly is run, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionDocument {
    /// Version of this form: [`RevisionDocument::VERSION`].
    pub version: u32,
    /// Whose revision it is.
    pub component: ComponentIdentity,
    /// `registry/repository`, without tag and digest.
    pub image: String,
    /// Digest of the image's manifest.
    pub digest: String,
    /// Arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment variables, unresolved.
    #[serde(default)]
    pub env: Vec<EnvVar>,
    /// Sources of environment variables, unresolved.
    #[serde(default)]
    pub env_from: Vec<EnvFromSource>,
    /// Configuration values, unresolved.
    #[serde(default)]
    pub config: Vec<EnvVar>,
    /// Files, unresolved.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// What it is granted.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// What of its use of them is recorded.
    #[serde(default)]
    pub audit: AuditLevel,
    /// What its manifests ask for, as the operator read them when it admitted the revision:
    /// what a later version is compared with. Whoever runs it reads them from the bytes.
    #[serde(default)]
    pub requests: Vec<Request>,
    /// What starts the code.
    #[serde(default)]
    pub triggers: Vec<RevisionTrigger>,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// How it shows that it is healthy.
    #[serde(default)]
    pub health: Option<Health>,
    /// How long its last requests may take, in seconds.
    #[serde(default = "default_grace_period")]
    pub termination_grace_period_seconds: u32,
}

/// Which component, of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ComponentIdentity {
    /// Namespace of the component.
    pub namespace: String,
    /// Name of the component.
    pub name: String,
    /// UID of the component.
    pub uid: String,
}

/// What starts the code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionTrigger {
    /// Name of the trigger.
    pub name: String,
    /// HTTP requests.
    #[serde(default)]
    pub http: Option<RevisionHttpTrigger>,
    /// A process on each replica.
    #[serde(default)]
    pub run: Option<RevisionRunTrigger>,
    /// Calls of functions that the component exports.
    #[serde(default)]
    pub invoke: Option<RevisionInvokeTrigger>,
}

/// Calls of functions that the component exports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RevisionInvokeTrigger {
    /// Port of the Service.
    pub port: i32,
    /// The interfaces whose functions can be called.
    pub interfaces: Vec<String>,
    /// The largest request body.
    pub max_request_body: Bytes,
    /// How callers show who they are.
    pub auth: InvokeAuth,
}

/// A process on each replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RevisionRunTrigger {
    /// When one that has ended is started again.
    pub restart_policy: RestartPolicy,
    /// What it listens on.
    pub ports: Vec<RevisionRunPort>,
}

/// A port that a component listens on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionRunPort {
    /// Its name.
    pub name: String,
    /// Its number.
    pub port: i32,
}

/// HTTP requests. The Service's port is part of it, because a component may see it
/// in the request's authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RevisionHttpTrigger {
    /// Port of the Service.
    pub port: i32,
    /// The largest request body.
    pub max_request_body: Bytes,
}

/// Ten lower-case hexadecimal characters that stand for a document's content in names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RevisionHash(String);

/// The operator's signature over a revision, in the annotation
/// [`names::SEAL_ANNOTATION`] as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seal {
    /// UID of the namespace `kube-system`, which stands for the cluster.
    pub cluster_uid: String,
    /// The component's generation that the revision was made from.
    pub generation: i64,
    /// Ed25519 signature over [`RevisionDocument::seal_statement`], in base64.
    pub signature: String,
}

impl RevisionDocument {
    /// The form that this version writes.
    pub const VERSION: u32 = 1;

    /// The canonical form: JSON with sorted keys, without spaces and without
    /// anything that has its default.
    pub fn canonical(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        omit_defaults(&mut value, &defaults());
        if let Some(health) = value.get_mut("health") {
            omit_defaults(
                health,
                &json!({"startTimeout": Health::default_start_timeout()}),
            );
        }
        if let Some(triggers) = value.get_mut("triggers").and_then(Value::as_array_mut) {
            let default = json!({"http": Value::Null, "run": Value::Null, "invoke": Value::Null});
            let http = serde_json::to_value(RevisionHttpTrigger::default()).unwrap_or_default();
            let run = serde_json::to_value(RevisionRunTrigger::default()).unwrap_or_default();
            let invoke = serde_json::to_value(RevisionInvokeTrigger::default()).unwrap_or_default();
            for trigger in triggers {
                omit_defaults(trigger, &default);
                for (name, default) in [("http", &http), ("run", &run), ("invoke", &invoke)] {
                    if let Some(member) = trigger.get_mut(name) {
                        omit_defaults(member, default);
                    }
                }
            }
        }
        if let Some(requests) = value.get_mut("requests").and_then(Value::as_array_mut) {
            let nothing = serde_json::to_value(Request::default()).unwrap_or_default();
            for request in requests {
                omit_defaults(request, &nothing);
            }
        }
        if let Some(outbound) = value
            .pointer_mut("/capabilities/network/outbound")
            .and_then(Value::as_array_mut)
        {
            for grant in outbound {
                omit_defaults(
                    grant,
                    &json!({
                        "protocol": Protocol::default(),
                        "reach": Reach::default(),
                        "credentials": {"format": Credentials::default_format()},
                    }),
                );
            }
        }
        value
    }

    /// What says that it runs by itself, if it does: the trigger's name, and how.
    pub fn run(&self) -> Option<(&str, &RevisionRunTrigger)> {
        let mut runs = self.triggers.iter();
        runs.find_map(|trigger| Some((trigger.name.as_str(), trigger.run.as_ref()?)))
    }

    /// Stands for the content in the revision's name.
    pub fn hash(&self) -> RevisionHash {
        RevisionHash(names::short_hash(self.canonical().to_string().as_bytes()))
    }

    /// Name of the ControllerRevision.
    pub fn revision_name(&self) -> String {
        names::revision_name(&self.component.name, self.hash().as_str())
    }

    /// What the operator signs: that this content is meant for this component of
    /// this cluster. It holds the whole digest of the content, because the hash in
    /// the name is too short to withstand somebody who looks for a second content.
    pub fn seal_statement(&self, cluster_uid: &str, generation: i64) -> Vec<u8> {
        let content = hex::encode(Sha256::digest(self.canonical().to_string()));
        let statement = json!({
            "type": SEAL_TYPE,
            "cluster": cluster_uid,
            "namespace": self.component.namespace,
            "component": self.component.uid,
            "generation": generation,
            "sha256": content,
        });
        statement.to_string().into_bytes()
    }
}

impl RevisionHash {
    /// The ten characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RevisionHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Seal {
    /// A seal with this signature.
    pub fn new(cluster_uid: &str, generation: i64, signature: &[u8]) -> Self {
        Self {
            cluster_uid: cluster_uid.to_owned(),
            generation,
            signature: BASE64.encode(signature),
        }
    }

    /// The bytes of the signature, unless they are no base64.
    pub fn signature_bytes(&self) -> Option<Vec<u8>> {
        BASE64.decode(&self.signature).ok()
    }
}

impl Default for RevisionHttpTrigger {
    fn default() -> Self {
        Self::from(&HttpTrigger::default())
    }
}

impl From<&Trigger> for RevisionTrigger {
    /// What of a trigger is part of what is run: not who may call, which the network holds.
    fn from(trigger: &Trigger) -> Self {
        let Trigger {
            name,
            http,
            run,
            invoke,
            from: _,
        } = trigger;
        Self {
            name: name.clone(),
            http: http.as_ref().map(Into::into),
            run: run.as_ref().map(Into::into),
            invoke: invoke.as_ref().map(Into::into),
        }
    }
}

impl From<&HttpTrigger> for RevisionHttpTrigger {
    fn from(trigger: &HttpTrigger) -> Self {
        let HttpTrigger {
            port,
            max_request_body,
        } = *trigger;
        Self {
            port,
            max_request_body,
        }
    }
}

impl From<&RunTrigger> for RevisionRunTrigger {
    fn from(trigger: &RunTrigger) -> Self {
        let RunTrigger {
            restart_policy,
            ports,
        } = trigger;
        Self {
            restart_policy: *restart_policy,
            ports: ports.iter().map(Into::into).collect(),
        }
    }
}

impl From<&RunPort> for RevisionRunPort {
    fn from(port: &RunPort) -> Self {
        let RunPort {
            name,
            port,
            protocol: _,
        } = port;
        Self {
            name: name.clone(),
            port: *port,
        }
    }
}

impl From<&InvokeTrigger> for RevisionInvokeTrigger {
    fn from(trigger: &InvokeTrigger) -> Self {
        let InvokeTrigger {
            port,
            interfaces,
            max_request_body,
            auth,
        } = trigger.clone();
        Self {
            port,
            interfaces,
            max_request_body,
            auth,
        }
    }
}

impl Default for RevisionInvokeTrigger {
    fn default() -> Self {
        Self::from(&InvokeTrigger::default())
    }
}

/// So that a signature over one thing never passes for one over another.
const SEAL_TYPE: &str = "lighterman.dev/seal/v1";

fn default_grace_period() -> u32 {
    Rollout::default().termination_grace_period_seconds
}

/// What is left out of the canonical form.
fn defaults() -> Value {
    json!({
        "args": [],
        "env": [],
        "envFrom": [],
        "config": [],
        "volumes": [],
        "capabilities": Capabilities::default(),
        "audit": AuditLevel::default(),
        "requests": [],
        "triggers": [],
        "limits": Limits::default(),
        "health": Value::Null,
        "terminationGracePeriodSeconds": default_grace_period(),
    })
}

/// Removes every member that equals its default, at any depth.
fn omit_defaults(value: &mut Value, defaults: &Value) {
    let (Some(members), Some(defaults)) = (value.as_object_mut(), defaults.as_object()) else {
        return;
    };
    members.retain(|name, member| {
        let Some(default) = defaults.get(name) else {
            return true;
        };
        if member != default {
            omit_defaults(member, default);
        }
        member != default
    });
}

#[cfg(test)]
mod tests;
