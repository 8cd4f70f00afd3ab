//! `kubectl lm approve`: lets a version ask for more than the last one that was admitted.
//!
//! Without a hash it shows what is asked for, so that what is approved was read. With it, one
//! field is written, `spec.rollout.approve`, with a field manager of its own: the admission
//! policy of the chart asks for the verb `approve`.

use std::fmt;

use crds::WasmComponent;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::json;

use crate::args::Approve;
use crate::change::Change;
use crate::failure::Failure;
use crate::printable;
use crate::sight::Cluster;

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
    let (answer, change) = decide(&component, args)?;
    if let Some(change) = change {
        change.write(cluster).await?;
    }
    Ok(answer)
}

/// What to answer, and what to write; pure.
fn decide(component: &WasmComponent, args: &Approve) -> Result<(Answer, Option<Change>), Failure> {
    let name = component.name_any();
    let capabilities = component
        .status
        .as_ref()
        .and_then(|status| status.capabilities.clone())
        .unwrap_or_default();
    let Some(waiting) = capabilities.approval else {
        return match &args.hash {
            None => Ok((Answer::Nothing { name }, None)),
            Some(_) => Err(Failure::new(
                format!("{name} has no version that waits for an approval"),
                format!("kubectl lm why {name}"),
            )),
        };
    };
    let Some(hash) = &args.hash else {
        let waits = Answer::Waits {
            namespace: component.namespace().unwrap_or_default(),
            name,
            hash: waiting,
            requested: capabilities.requested,
        };
        return Ok((waits, None));
    };
    if *hash != waiting {
        return Err(Failure::new(
            format!("{name} waits for the approval of {waiting}, not of {hash}"),
            format!("read what it asks for now: kubectl lm approve {name}"),
        ));
    }
    let change = Change::of_rollout(component, "approve", json!(waiting), args.force.force)?;
    let hash = waiting;
    Ok((Answer::Approved { name, hash }, Some(change)))
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
