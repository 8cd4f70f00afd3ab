//! The previews of a component: which components are made, changed and removed for them, and
//! what is said of them.
//!
//! Pure; `plan` and `report` call it. A preview is a component like any other (ADR 12), so
//! everything else about it is this driver's work on that one. Whatever else stands under its
//! name is somebody's, and is never adopted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::component::{Preview, PreviewStatus};
use crds::condition::{self, ConditionType};
use crds::{Reason, WasmComponent, bound, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::observe::Observed;
use super::plan::Changes;
use super::{is_owned_by, owner};

/// What stands under the name of a preview.
enum Standing<'a> {
    Absent,
    Ours(&'a WasmComponent),
    Foreign,
}

/// The components that are to be written for the previews.
pub(super) fn changes(observed: &Observed) -> Changes<WasmComponent> {
    let component = &observed.component;
    let mut changes = Changes::default();
    for preview in &component.spec.previews {
        match standing(observed, preview) {
            Standing::Absent => changes.create.push(made(component, preview)),
            Standing::Ours(existing) => {
                let wanted = kept(component, preview, existing);
                if wanted.spec != existing.spec || wanted.labels() != existing.labels() {
                    changes.update.push(wanted);
                }
            }
            Standing::Foreign => {}
        }
    }
    let previews = component.spec.previews.iter();
    let wanted: BTreeSet<String> = previews
        .map(|preview| name_of(component, preview))
        .collect();
    changes.delete = ours(observed)
        .filter(|existing| !wanted.contains(&existing.name_any()))
        .cloned()
        .collect();
    changes
}

/// What is said of each preview.
pub(super) fn statuses(observed: &Observed) -> Vec<PreviewStatus> {
    let previews = observed.component.spec.previews.iter();
    // A spec that cannot be used may have more of them than a status has room for.
    let previews = previews.take(bound::PREVIEWS as usize);
    previews.map(|preview| status(observed, preview)).collect()
}

fn status(observed: &Observed, preview: &Preview) -> PreviewStatus {
    let whole = name_of(&observed.component, preview);
    let waiting = || {
        (
            false,
            Reason::Preparing,
            format!("WasmComponent {whole} is on its way"),
        )
    };
    let mut url = None;
    let (ready, reason, message) = match standing(observed, preview) {
        Standing::Absent => waiting(),
        Standing::Foreign => {
            let message = format!(
                "WasmComponent {whole} exists and is not a preview of this component; delete it, or give the preview another name"
            );
            (false, Reason::ServiceConflict, message)
        }
        Standing::Ours(existing) => {
            let status = existing.status.clone().unwrap_or_default();
            url = status.url;
            match condition::find(&status.conditions, ConditionType::Ready) {
                None => waiting(),
                Some(ready) => (
                    ready.status == "True",
                    Reason::named(&ready.reason),
                    ready.message.clone(),
                ),
            }
        }
    };
    PreviewStatus {
        name: preview.name.clone(),
        url,
        ready,
        reason,
        message: condition::bounded(message, bound::FINDING),
    }
}

fn name_of(component: &WasmComponent, preview: &Preview) -> String {
    names::preview_name(&component.name_any(), &preview.name)
}

fn standing<'a>(observed: &'a Observed, preview: &Preview) -> Standing<'a> {
    let name = name_of(&observed.component, preview);
    let mut previews = observed.previews.iter();
    match previews.find(|known| known.name_any() == name) {
        None => Standing::Absent,
        Some(known) if is_ours(observed, known) => Standing::Ours(known),
        Some(_) => Standing::Foreign,
    }
}

fn ours(observed: &Observed) -> impl Iterator<Item = &WasmComponent> {
    let previews = observed.previews.iter().map(Arc::as_ref);
    previews
        .filter(|known| is_ours(observed, known))
        .filter(|known| known.metadata.deletion_timestamp.is_none())
}

fn is_ours(observed: &Observed, known: &WasmComponent) -> bool {
    is_owned_by(
        &known.metadata,
        &observed.component.uid().unwrap_or_default(),
    )
}

/// The component that is made for a preview.
fn made(component: &WasmComponent, preview: &Preview) -> WasmComponent {
    let name = component.name_any();
    let metadata = ObjectMeta {
        namespace: component.namespace(),
        name: Some(name_of(component, preview)),
        labels: Some(labels(&name)),
        owner_references: Some(vec![owner(&name, &component.uid().unwrap_or_default())]),
        ..ObjectMeta::default()
    };
    WasmComponent {
        metadata,
        spec: component.spec.previewed(preview),
        status: None,
    }
}

/// What the component of a preview becomes: as the component says now, whoever changed it.
/// An approval stays: it is given to the preview, by somebody with the right to.
fn kept(component: &WasmComponent, preview: &Preview, existing: &WasmComponent) -> WasmComponent {
    let mut wanted = WasmComponent {
        metadata: existing.metadata.clone(),
        spec: component.spec.previewed(preview),
        status: None,
    };
    wanted.spec.rollout.approve = existing.spec.rollout.approve.clone();
    wanted.labels_mut().extend(labels(&component.name_any()));
    wanted
}

fn labels(component: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (names::PREVIEW_OF_LABEL.to_owned(), component.to_owned()),
        (
            names::MANAGED_BY_LABEL.to_owned(),
            names::MANAGED_BY.to_owned(),
        ),
    ])
}
