//! What the cluster has to have before this operator does anything: definitions
//! that know every field of ours, and the admission policies that keep tenants
//! from writing placements and agents from writing about other nodes.
//!
//! An API server whose definitions are older prunes what it does not know, and
//! Helm installs admission policies after the workloads: both would be open for a
//! moment, or for ever, with nothing to see. Looked at by `app` at the start; the
//! hand-over stays closed and `/readyz` says why until it holds. Knows nothing of
//! components.

use std::time::Duration;

use axum::http;
use crds::{Reason, names};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::watch;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest wait for one answer of the API server.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What of an object is ours to define; the rest is Kubernetes'.
const PARTS: [&str; 2] = ["spec", "status"];

/// Whether the cluster has what it has to have.
pub type State = Result<(), Missing>;

/// What the cluster lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// Nobody has looked yet.
    #[error("the definitions and admission policies of the cluster have not been looked at yet")]
    Unknown,
    /// The API server did not say.
    #[error("{what} could not be read: {error}; is the operator's role bound?")]
    Unreadable {
        /// What was asked for.
        what: String,
        /// What the API server said.
        error: String,
    },
    /// A kind is not served.
    #[error("the API server does not serve {kind}: install the chart lighterman-crds")]
    Definition {
        /// The kind.
        kind: String,
    },
    /// A kind is served without a field of ours, which would be pruned from every write.
    #[error(
        "the served definition of {kind} has no {field}: upgrade the chart lighterman-crds to the version of this operator"
    )]
    Field {
        /// The kind.
        kind: String,
        /// Path of the field.
        field: String,
    },
    /// An admission policy is not there, not bound, or not seen by the API server yet.
    #[error(
        "the ValidatingAdmissionPolicy {name} is not in force ({lack}): install it with the chart lighterman"
    )]
    Policy {
        /// Its name.
        name: &'static str,
        /// What it lacks.
        lack: &'static str,
    },
}

impl Missing {
    /// The reason this is reported under.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Definition { .. } | Self::Field { .. } => Reason::CrdsOutdated,
            Self::Policy { .. } => Reason::AdmissionPolicyMissing,
            Self::Unknown | Self::Unreadable { .. } => Reason::Unknown,
        }
    }
}

/// Returns once the cluster has everything; says in `state` what it lacks until then.
pub async fn met(client: &Client, state: &watch::Sender<State>) {
    loop {
        let found = look(client).await;
        let has_changed = *state.borrow() != found;
        if let Err(missing) = &found
            && has_changed
        {
            tracing::warn!(reason = %missing.reason(), "{missing}");
        }
        let is_met = found.is_ok();
        let _before = state.send_replace(found);
        if is_met {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look(client: &Client) -> State {
    let served = served(client).await?;
    for definition in crds::definitions() {
        compare(&definition, &served)?;
    }
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    for name in names::ADMISSION_POLICIES {
        let policy = answer(name, policies.get_opt(name)).await?;
        let binding = answer(name, bindings.get_opt(name)).await?;
        guards(name, policy.as_ref(), binding.as_ref())?;
    }
    Ok(())
}

/// The schemas of our kinds as the API server applies them. Readable by everybody who has a
/// token, so that the operator's role need not name definitions.
async fn served(client: &Client) -> Result<Value, Missing> {
    let path = format!("/openapi/v3/apis/{}", crds::API_VERSION);
    let request = http::Request::get(&path)
        .body(Vec::new())
        .map_err(|error| unreadable(&path, &error))?;
    let document: Result<Value, _> = answer(&path, client.request(request)).await;
    match document {
        Ok(document) => Ok(document),
        // The group is not served at all.
        Err(Missing::Unreadable { error, .. }) if error.contains("404") => Ok(Value::Null),
        Err(missing) => Err(missing),
    }
}

async fn answer<T>(
    what: &str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Missing> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(unreadable(what, &error)),
        Err(_) => Err(unreadable(what, &"no answer in time")),
    }
}

fn unreadable(what: &str, error: &dyn std::fmt::Display) -> Missing {
    Missing::Unreadable {
        what: what.to_owned(),
        error: error.to_string(),
    }
}

/// Whether the served schema of a kind has every field of `definition`.
fn compare(definition: &CustomResourceDefinition, served: &Value) -> State {
    let kind = &definition.spec.names.kind;
    let absent = || Missing::Definition { kind: kind.clone() };
    let schemas = served.pointer("/components/schemas");
    let schemas = schemas.and_then(Value::as_object).ok_or_else(absent)?;
    let theirs = schemas
        .values()
        .find(|schema| is_of_kind(schema, kind))
        .ok_or_else(absent)?;
    for version in &definition.spec.versions {
        let schema = version.schema.as_ref();
        let schema = schema.and_then(|schema| schema.open_api_v3_schema.as_ref());
        let ours = serde_json::to_value(schema).unwrap_or_default();
        for part in PARTS {
            let part_of = |schema: &Value| schema.pointer(&format!("/properties/{part}")).cloned();
            let Some(ours) = part_of(&ours) else { continue };
            let theirs = part_of(theirs).unwrap_or_default();
            if let Some(field) = lacking(&ours, &theirs, part) {
                return Err(Missing::Field {
                    kind: kind.clone(),
                    field,
                });
            }
        }
    }
    Ok(())
}

fn is_of_kind(schema: &Value, kind: &str) -> bool {
    let kinds = schema.get("x-kubernetes-group-version-kind");
    let mut kinds = kinds.and_then(Value::as_array).into_iter().flatten();
    kinds.any(|entry| entry.get("kind").and_then(Value::as_str) == Some(kind))
}

/// The path of the first field that `ours` has and `theirs` has not.
fn lacking(ours: &Value, theirs: &Value, path: &str) -> Option<String> {
    let properties = ours.get("properties").and_then(Value::as_object);
    for (name, field) in properties.into_iter().flatten() {
        let path = format!("{path}.{name}");
        let found = theirs
            .get("properties")
            .and_then(|properties| properties.get(name));
        match found {
            None => return Some(path),
            Some(found) => {
                if let Some(lacking) = lacking(field, found, &path) {
                    return Some(lacking);
                }
            }
        }
    }
    for (inner, shown) in [("items", "[]"), ("additionalProperties", ".*")] {
        if let (Some(ours), Some(theirs)) = (ours.get(inner), theirs.get(inner))
            && let Some(lacking) = lacking(ours, theirs, &format!("{path}{shown}"))
        {
            return Some(lacking);
        }
    }
    None
}

/// Whether a policy refuses what it is there to refuse.
fn guards(
    name: &'static str,
    policy: Option<&ValidatingAdmissionPolicy>,
    binding: Option<&ValidatingAdmissionPolicyBinding>,
) -> State {
    let lacks = |lack| Err(Missing::Policy { name, lack });
    let Some(policy) = policy else {
        return lacks("it does not exist");
    };
    let observed = policy
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    if observed.is_none() {
        return lacks("the API server has not taken it up yet");
    }
    let spec = binding.and_then(|binding| binding.spec.as_ref());
    let denies = spec.is_some_and(|spec| {
        let actions = spec.validation_actions.iter().flatten();
        spec.policy_name.as_deref() == Some(name) && actions.clone().any(|action| action == "Deny")
    });
    if denies {
        Ok(())
    } else {
        lacks("no binding of its name denies by it")
    }
}

#[cfg(test)]
mod tests;
