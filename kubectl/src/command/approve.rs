//! `kubectl lm approve`: lets a version ask for more than the last one that was admitted.
//!
//! Without a hash it shows what is asked for, so that what is approved was read. With it, one
//! field is written, `spec.rollout.approve`, with a field manager of its own: the admission
//! policy of the chart asks for the verb `approve`.

use std::fmt;

use crds::WasmComponent;
use crds::names;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::Approve;
use crate::failure::Failure;
use crate::ownership;
use crate::printable;
use crate::sight::Cluster;

/// Where the approval stands.
const FIELD: [&str; 3] = ["spec", "rollout", "approve"];

/// What was found or done.
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub(super) enum Answer {
    /// Nothing waits for an approval.
    Nothing { name: String },
    /// This waits; nothing was written.
    Waits {
        namespace: String,
        name: String,
        hash: String,
        requested: Vec<String>,
    },
    /// It was approved.
    Approved { name: String, hash: String },
}

/// Shows or approves.
pub(super) async fn run(cluster: &Cluster, args: &Approve) -> Result<Answer, Failure> {
    let component = cluster.component(&args.name).await?;
    let answer = decide(&component, args)?;
    if let Answer::Approved { name, hash } = &answer {
        let parameters = PatchParams {
            field_manager: Some(names::CLI_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let written = cluster
            .components()
            .patch(name, &parameters, &Patch::Merge(patch(&component, hash)))
            .await;
        written.map_err(|error| Failure::api(&format!("approve {name}"), &error))?;
    }
    Ok(answer)
}

/// What to answer, and whether to write; pure.
fn decide(component: &WasmComponent, args: &Approve) -> Result<Answer, Failure> {
    let name = component.name_any();
    let capabilities = component
        .status
        .as_ref()
        .and_then(|status| status.capabilities.clone())
        .unwrap_or_default();
    let Some(waiting) = capabilities.approval else {
        return match &args.hash {
            None => Ok(Answer::Nothing { name }),
            Some(_) => Err(Failure::new(
                format!("{name} has no version that waits for an approval"),
                format!("kubectl lm why {name}"),
            )),
        };
    };
    let Some(hash) = &args.hash else {
        return Ok(Answer::Waits {
            namespace: component.namespace().unwrap_or_default(),
            name,
            hash: waiting,
            requested: capabilities.requested,
        });
    };
    if *hash != waiting {
        return Err(Failure::new(
            format!("{name} waits for the approval of {waiting}, not of {hash}"),
            format!("read what it asks for now: kubectl lm approve {name}"),
        ));
    }
    let managers = component
        .metadata
        .managed_fields
        .as_deref()
        .unwrap_or_default();
    match ownership::kept_by(managers, &FIELD) {
        Some(manager) if !args.force.force => Err(Failure::new(
            format!(
                "{manager} keeps spec.rollout.approve of {name} as it is, and would put it back"
            ),
            format!(
                "change it where {manager} reads it: spec.rollout.approve: {waiting}; or add --force"
            ),
        )),
        _ => Ok(Answer::Approved {
            name,
            hash: waiting,
        }),
    }
}

/// The change. It holds for the object that was read, and for no later one of its name.
fn patch(component: &WasmComponent, hash: &str) -> Value {
    json!({
        "metadata": {"uid": component.uid()},
        "spec": {"rollout": {"approve": hash}},
    })
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Nothing { name } => write!(f, "{name}: nothing waits for an approval"),
            Answer::Approved { name, hash } => write!(f, "{name}: {hash} is approved"),
            Answer::Waits {
                namespace,
                name,
                hash,
                requested,
            } => {
                write!(
                    f,
                    "{namespace}/{name} waits for an approval. Its version asks for:"
                )?;
                for line in requested {
                    write!(f, "\n  {}", printable::line(line))?;
                }
                write!(
                    f,
                    "\n\nto let it: kubectl lm approve {name} {hash} -n {namespace}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
