//! `kubectl lm rollout undo`: back to a version that is kept. `promote` goes forward again.
//!
//! Writes one field, `spec.rollout.pin`. It holds for the spec as it is: whoever changes the
//! image or what it is given afterwards has the last word. Needs no registry.

use std::fmt;

use crds::WasmComponent;
use crds::component::WasmComponentStatus;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::json;

use crate::args::Undo;
use crate::change::Change;
use crate::failure::Failure;
use crate::sight::{Cluster, Seen};

/// What is pinned now.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    namespace: String,
    name: String,
    /// The revision that is pinned.
    revision: String,
    /// Whether it was so before.
    unchanged: bool,
}

/// Pins a version that is kept.
pub(super) async fn run(cluster: &Cluster, args: &Undo) -> Result<Answer, Failure> {
    let sight = cluster.look(&args.name).await?;
    let (answer, change) = decide(&sight.component, &sight.revisions, args)?;
    if let Some(change) = change {
        change.write(cluster).await?;
    }
    Ok(answer)
}

/// What to answer, and what to write; pure.
fn decide(
    component: &WasmComponent,
    revisions: &Seen<ControllerRevision>,
    args: &Undo,
) -> Result<(Answer, Option<Change>), Failure> {
    let (namespace, name) = (
        component.namespace().unwrap_or_default(),
        component.name_any(),
    );
    if let Some(hidden) = revisions.hidden() {
        return Err(Failure::new(
            format!("the versions of {name} cannot be seen: {hidden}"),
            "ask for the right to list controllerrevisions",
        ));
    }
    // Whoever undoes wants the old version now; that would not happen, and look as if it had.
    if component.spec.rollout.paused {
        return Err(Failure::new(
            format!("the rollout of {name} is paused, so no node would go back"),
            format!("kubectl lm rollout resume {name} -n {namespace}"),
        ));
    }
    let status = component.status.clone().unwrap_or_default();
    let revision = match &args.to_revision {
        Some(to) => named(revisions.known(), to),
        None => earlier(&status, revisions.known()),
    };
    let revision = revision.ok_or_else(|| {
        let what = match &args.to_revision {
            Some(to) => format!("{name} has no version {to} that is kept"),
            None => format!("{name} has no earlier version that is kept"),
        };
        let mend = format!("kubectl lm rollout history {name} -n {namespace}");
        Failure::new(what, mend)
    })?;
    let pinned = status.pinned.as_ref();
    let unchanged = pinned.is_some_and(|pinned| pinned.revision == revision);
    let change = match unchanged {
        true => None,
        false => {
            let generation = component.metadata.generation.unwrap_or_default();
            // The generation that this very change makes.
            let pin =
                json!({ "revision": revision, "forGeneration": generation.saturating_add(1) });
            let change = Change::of_rollout(component, "pin", pin, args.force.force)?;
            Some(change.only_for(component))
        }
    };
    let answer = Answer {
        namespace,
        name,
        revision,
        unchanged,
    };
    Ok((answer, change))
}

/// The version of that number or name.
fn named(revisions: &[ControllerRevision], to: &str) -> Option<String> {
    let mut revisions = revisions.iter();
    let found = revisions
        .find(|revision| revision.revision.to_string() == to || revision.name_any() == to)?;
    Some(found.name_any())
}

/// The version before: the one that serves while another takes over or has failed, and
/// otherwise the latest that is older than it.
fn earlier(status: &WasmComponentStatus, revisions: &[ControllerRevision]) -> Option<String> {
    let current = status.current.as_ref()?.revision.clone();
    let is_between = status.updating.is_some() || status.failed_digest.is_some();
    let number = |name: &String| {
        let mut revisions = revisions.iter();
        let found = revisions.find(|revision| revision.name_any() == *name);
        found.map(|revision| revision.revision)
    };
    let serves = number(&current)?;
    if is_between {
        return Some(current);
    }
    let older = revisions.iter().filter(|of| of.revision < serves);
    older
        .max_by_key(|of| of.revision)
        .map(ResourceExt::name_any)
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            name,
            revision,
            unchanged,
        } = self;
        let before = if *unchanged { " already" } else { "" };
        write!(
            f,
            "{namespace}/{name}: {revision} is to serve{before}, until the spec is another\nto see it: kubectl lm rollout status {name} -n {namespace}\nto go forward again: kubectl lm rollout promote {name} -n {namespace}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Force;
    use crate::sight::fixture::{self, UPDATING};

    fn undo(to: Option<&str>) -> Undo {
        Undo {
            name: "orders".to_owned(),
            to_revision: to.map(str::to_owned),
            force: Force { force: false },
        }
    }

    #[test]
    fn a_version_that_is_taking_over_is_undone_to_the_one_that_serves() {
        let sight = fixture::sight(UPDATING);
        let (answer, change) = decide(&sight.component, &sight.revisions, &undo(None)).unwrap();
        assert_eq!(answer.revision, "wc-orders-aaaaaaaaaa");
        let text = format!("{change:?}");
        assert!(text.contains(r#""forGeneration": Number(5)"#), "{text}");
    }

    #[test]
    fn what_serves_is_undone_to_the_one_before_it() {
        let mut sight = fixture::sight(UPDATING);
        let status = sight.component.status.as_mut().unwrap();
        status.current.as_mut().unwrap().revision = "wc-orders-bbbbbbbbbb".to_owned();
        status.updating = None;
        let (answer, _) = decide(&sight.component, &sight.revisions, &undo(None)).unwrap();
        assert_eq!(answer.revision, "wc-orders-aaaaaaaaaa");
    }

    #[test]
    fn a_version_is_found_by_its_number_and_by_its_name() {
        let sight = fixture::sight(UPDATING);
        for to in ["2", "wc-orders-bbbbbbbbbb"] {
            let undo = undo(Some(to));
            let (answer, _) = decide(&sight.component, &sight.revisions, &undo).unwrap();
            assert_eq!(answer.revision, "wc-orders-bbbbbbbbbb");
        }
        let failure = decide(&sight.component, &sight.revisions, &undo(Some("7"))).unwrap_err();
        assert!(failure.to_string().contains("no version 7"), "{failure}");
    }

    #[test]
    fn a_paused_rollout_is_not_undone() {
        let mut sight = fixture::sight(UPDATING);
        sight.component.spec.rollout.paused = true;
        let failure = decide(&sight.component, &sight.revisions, &undo(None)).unwrap_err();
        assert!(failure.to_string().contains("resume"), "{failure}");
    }
}
