//! `kubectl lm rollout promote`, and `resume` in a canary: forward to what the spec asks for.
//!
//! Writes one field: removes `spec.rollout.pin` after an undo, or lets `spec.rollout.promote` pass
//! steps of the canary. That names the revision, so that it passes none of the next one's.

use std::fmt;

use crds::WasmComponent;
use crds::component::UpdatingRevision;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::Promote;
use crate::change::Change;
use crate::failure::Failure;
use crate::sight::Cluster;

/// What was done.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    namespace: String,
    name: String,
    outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Outcome {
    /// An undo has ended.
    Unpinned,
    /// All steps of the canary are passed.
    Promoted,
    /// The present step of the canary is passed.
    Stepped,
    /// Nothing holds the rollout.
    Nothing,
}

/// Goes forward, all the way.
pub(super) async fn run(cluster: &Cluster, args: &Promote) -> Result<Answer, Failure> {
    let component = cluster.component(&args.name).await?;
    let (outcome, change) = decide(&component, args.force.force)?;
    if let Some(change) = change {
        change.write(cluster).await?;
    }
    Ok(answer(&component, outcome))
}

/// Passes the step in which the canary is; `None` when there is none.
pub(super) async fn step(
    cluster: &Cluster,
    component: &WasmComponent,
    force: bool,
) -> Result<Option<Answer>, Failure> {
    let Some((revision, passed)) = canary(component) else {
        return Ok(None);
    };
    let value = json!({ "revision": revision, "step": passed.saturating_add(1) });
    let change = Change::of_rollout(component, "promote", value, force)?;
    change.write(cluster).await?;
    Ok(Some(answer(component, Outcome::Stepped)))
}

/// What to do, and what to write; pure.
fn decide(component: &WasmComponent, force: bool) -> Result<(Outcome, Option<Change>), Failure> {
    if component.spec.rollout.pin.is_some() {
        let change = Change::of_rollout(component, "pin", Value::Null, force)?;
        return Ok((Outcome::Unpinned, Some(change)));
    }
    let Some((revision, _)) = canary(component) else {
        return Ok((Outcome::Nothing, None));
    };
    let value = json!({ "revision": revision, "step": null });
    let change = Change::of_rollout(component, "promote", value, force)?;
    Ok((Outcome::Promoted, Some(change)))
}

/// The revision of a canary that is under way, and the steps that it has passed.
fn canary(component: &WasmComponent) -> Option<(String, i32)> {
    let status = component.status.as_ref()?;
    let UpdatingRevision { revision, step, .. } = status.updating.as_ref()?;
    Some((revision.clone(), (*step)?))
}

fn answer(component: &WasmComponent, outcome: Outcome) -> Answer {
    Answer {
        namespace: component.namespace().unwrap_or_default(),
        name: component.name_any(),
        outcome,
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            name,
            outcome,
        } = self;
        let done = match outcome {
            Outcome::Unpinned => "what the spec asks for is to serve",
            Outcome::Promoted => {
                "the new version is given all requests, on one wave of nodes after the other"
            }
            Outcome::Stepped => "the canary goes on to its next step",
            Outcome::Nothing => "nothing holds the rollout",
        };
        write!(
            f,
            "{namespace}/{name}: {done}\nto see it: kubectl lm rollout status {name} -n {namespace}"
        )
    }
}

#[cfg(test)]
mod tests {
    use crds::component::Pin;

    use super::*;
    use crate::sight::fixture::{self, UPDATING};

    #[test]
    fn without_an_undo_or_a_canary_there_is_nothing_to_promote() {
        let component = fixture::sight(UPDATING).component;
        let (outcome, change) = decide(&component, false).unwrap();
        assert!(outcome == Outcome::Nothing && change.is_none());
    }

    #[test]
    fn an_undo_ends_before_a_canary_does() {
        let mut component = fixture::sight(UPDATING).component;
        component.spec.rollout.pin = Some(Pin {
            revision: "wc-orders-aaaaaaaaaa".to_owned(),
            for_generation: 4,
        });
        let (outcome, _) = decide(&component, false).unwrap();
        assert_eq!(outcome, Outcome::Unpinned);
    }

    #[test]
    fn a_canary_is_promoted_by_the_name_of_its_revision() {
        let mut component = fixture::sight(UPDATING).component;
        let status = component.status.as_mut().unwrap();
        status.updating.as_mut().unwrap().step = Some(1);
        let (outcome, change) = decide(&component, false).unwrap();
        assert_eq!(outcome, Outcome::Promoted);
        let text = format!("{change:?}");
        assert!(text.contains("wc-orders-bbbbbbbbbb"), "{text}");
    }
}
