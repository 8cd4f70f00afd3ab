//! `kubectl lm rollout undo`: a version that is kept runs again, until the spec changes.
//!
//! Writes one field, `spec.rollout.pin`. It says for which generation it was written, which is
//! the one that this very write makes, so it holds for the object as it was read only.

use std::fmt;

use crds::WasmComponent;
use crds::component::Pin;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::json;

use crate::args::Undo;
use crate::change::Change;
use crate::failure::Failure;
use crate::sight::{Cluster, Sight};

/// What runs from now on.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    namespace: String,
    name: String,
    /// The version that was asked for.
    revision: String,
    number: i64,
    /// The one that gives way.
    instead_of: String,
}

/// Pins the version that served before, or the one that is named.
pub(super) async fn run(cluster: &Cluster, args: &Undo) -> Result<Answer, Failure> {
    let sight = cluster.look(&args.name).await?;
    let (answer, change) = decide(&sight, args.to_revision.as_deref(), args.force.force)?;
    change.write(cluster).await?;
    Ok(answer)
}

/// What to answer, and what to write; pure.
fn decide(sight: &Sight, to: Option<&str>, force: bool) -> Result<(Answer, Change), Failure> {
    let component = &sight.component;
    let (namespace, name) = (
        component.namespace().unwrap_or_default(),
        component.name_any(),
    );
    if let Some(why) = sight.revisions.hidden() {
        return Err(Failure::new(
            format!("cannot see the versions of {name}: {why}"),
            "ask for the right to read controllerrevisions",
        ));
    }
    let history = format!("kubectl lm rollout history {name} -n {namespace}");
    let current = running(component);
    let known = sight.revisions.known();
    let chosen = match to {
        Some(wanted) => known.iter().find(|one| is_called(one, wanted)),
        None => previous(known, component),
    };
    let chosen = chosen.ok_or_else(|| match to {
        Some(wanted) => Failure::new(format!("{name} has no version {wanted}"), &*history),
        None => Failure::new(
            format!("{name} has no version to go back to"),
            format!("see which are kept: {history}"),
        ),
    })?;
    let revision = chosen.name_any();
    if current.as_ref() == Some(&revision) {
        return Err(Failure::new(
            format!("{revision} is what {name} is to run already"),
            format!("name another with --to-revision: {history}"),
        ));
    }
    let generation = component.metadata.generation.unwrap_or_default();
    let pin = Pin {
        revision: revision.clone(),
        for_generation: generation.saturating_add(1),
    };
    let change = Change::of_rollout(component, "pin", json!(pin), force)?.only_as_read(component);
    let answer = Answer {
        namespace,
        name,
        revision,
        number: chosen.revision,
        instead_of: current.unwrap_or_default(),
    };
    Ok((answer, change))
}

/// A version by its name, or its number.
fn is_called(revision: &ControllerRevision, wanted: &str) -> bool {
    revision.name_any() == wanted || revision.revision.to_string() == wanted
}

/// What the component is to run: what is taking over, else what serves.
fn running(component: &WasmComponent) -> Option<String> {
    let status = component.status.as_ref()?;
    let updating = status.updating.as_ref().map(|of| of.revision.clone());
    updating.or_else(|| status.current.as_ref().map(|of| of.revision.clone()))
}

/// The version before the one that runs: what served, while another takes over, else the
/// latest that is older.
fn previous<'a>(
    known: &'a [ControllerRevision],
    component: &WasmComponent,
) -> Option<&'a ControllerRevision> {
    let status = component.status.as_ref()?;
    let current = status.current.as_ref()?;
    let position = known
        .iter()
        .position(|one| one.name_any() == current.revision)?;
    match status.updating {
        Some(_) => known.get(position),
        None => known.get(position.checked_sub(1)?),
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            name,
            revision,
            number,
            instead_of,
        } = self;
        write!(
            f,
            "{namespace}/{name}: version {number} ({revision}) runs again in place of {instead_of}, until the spec changes\nto follow it: kubectl lm rollout status {name} -n {namespace}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sight::fixture::{self, UPDATING};

    #[test]
    fn in_the_middle_of_an_update_what_serves_is_gone_back_to() {
        let sight = fixture::sight(UPDATING);
        let status = sight.component.status.clone().unwrap();
        let (answer, _) = decide(&sight, None, false).unwrap();
        assert_eq!(answer.revision, status.current.unwrap().revision);
        assert_eq!(answer.instead_of, status.updating.unwrap().revision);
    }

    #[test]
    fn a_version_is_found_by_number_and_by_name_and_an_unknown_one_is_not() {
        let sight = fixture::sight(UPDATING);
        let first = &sight.revisions.known()[0];
        for wanted in [first.name_any(), first.revision.to_string()] {
            let (answer, _) = decide(&sight, Some(&wanted), false).unwrap();
            assert_eq!(answer.revision, first.name_any());
        }
        let failure = decide(&sight, Some("99"), false).unwrap_err();
        assert!(failure.to_string().contains("no version 99"), "{failure}");
    }

    #[test]
    fn with_one_version_there_is_nothing_to_go_back_to() {
        let mut sight = fixture::sight(UPDATING);
        sight.component.status.as_mut().unwrap().updating = None;
        let failure = decide(&sight, None, false);
        let current = sight.component.status.clone().unwrap().current.unwrap();
        let is_first = sight.revisions.known()[0].name_any() == current.revision;
        assert_eq!(failure.is_err(), is_first);
    }
}
