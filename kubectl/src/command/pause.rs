//! `kubectl lm rollout pause` and `resume`: whether further nodes are given another revision.
//!
//! Writes one field, `spec.rollout.paused`.

use std::fmt;

use crds::WasmComponent;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::json;

use crate::args::Pause;
use crate::change::Change;
use crate::failure::Failure;
use crate::sight::Cluster;

/// What the field says now.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    namespace: String,
    name: String,
    paused: bool,
    /// Whether it said so before.
    unchanged: bool,
}

/// Sets the field to `paused`.
pub(super) async fn run(cluster: &Cluster, args: &Pause, paused: bool) -> Result<Answer, Failure> {
    let component = cluster.component(&args.name).await?;
    let (answer, change) = decide(&component, paused, args.force.force)?;
    if let Some(change) = change {
        change.write(cluster).await?;
    }
    Ok(answer)
}

/// What to answer, and what to write; pure.
fn decide(
    component: &WasmComponent,
    paused: bool,
    force: bool,
) -> Result<(Answer, Option<Change>), Failure> {
    let unchanged = component.spec.rollout.paused == paused;
    let change = match unchanged {
        true => None,
        false => Some(Change::of_rollout(
            component,
            "paused",
            json!(paused),
            force,
        )?),
    };
    let answer = Answer {
        namespace: component.namespace().unwrap_or_default(),
        name: component.name_any(),
        paused,
        unchanged,
    };
    Ok((answer, change))
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace, name, ..
        } = self;
        let before = if self.unchanged { " already" } else { "" };
        match self.paused {
            true => write!(
                f,
                "{namespace}/{name}: the rollout is paused{before}\nto go on: kubectl lm rollout resume {name} -n {namespace}"
            ),
            false => write!(f, "{namespace}/{name}: the rollout goes on{before}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sight::fixture::{self, UPDATING};

    #[test]
    fn what_is_as_it_should_be_is_not_written() {
        let component = fixture::sight(UPDATING).component;
        let (answer, change) = decide(&component, false, false).unwrap();
        assert!(answer.unchanged && change.is_none(), "{answer}");
        let (answer, change) = decide(&component, true, false).unwrap();
        assert!(!answer.unchanged && change.is_some(), "{answer}");
    }
}
