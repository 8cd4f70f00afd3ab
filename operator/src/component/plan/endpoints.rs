//! What is to be written behind the component's Service, and when.
//!
//! Pure; `plan` calls it. What the slices hold is `crate::service`'s; here it is
//! decided whether they are written now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crds::ComponentPlacement;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use super::Changes;
use crate::component::Key;
use crate::component::observe::Observed;
use crate::service;

/// The time between two writes of a component's EndpointSlices that only add.
pub const SLICE_PACE: Duration = Duration::from_secs(1);

/// Endpoints that come are gathered into one write a second: every write goes to the
/// proxy of every node. What was ready and is no longer is withdrawn at once. Also
/// says when to look again. `deleted` are the names of placements that go.
pub(super) fn plan(
    observed: &Observed,
    ports: &BTreeMap<String, u16>,
    deleted: &BTreeSet<String>,
) -> (Changes<EndpointSlice>, Option<Duration>) {
    let changes = slices(observed, ports, deleted);
    let left = observed
        .since_slices
        .map(|since| SLICE_PACE.saturating_sub(since))
        .filter(|left| !left.is_zero());
    match left {
        Some(left) if !changes.is_empty() && !service::withdraws(&observed.slices, &changes) => {
            (Changes::default(), Some(left))
        }
        _ => (changes, None),
    }
}

fn slices(
    observed: &Observed,
    ports: &BTreeMap<String, u16>,
    deleted: &BTreeSet<String>,
) -> Changes<EndpointSlice> {
    let service::Standing::Ours(service) = &observed.service else {
        return Changes::default();
    };
    // What was called before, and runs by itself now without ports: nobody answers.
    let spec = &observed.component.spec;
    let has_ports = spec.triggers.iter().any(|one| one.ports().next().is_some());
    if spec.is_run() && !has_ports {
        return Changes {
            delete: observed.slices.clone(),
            ..Changes::default()
        };
    }
    let key = Key::new(
        observed.component.namespace().unwrap_or_default(),
        observed.component.name_any(),
    );
    // A placement that goes now is taken out of the slices in the same plan, and
    // its agent goes on accepting while proxies learn of it.
    let placements: Vec<&ComponentPlacement> = observed
        .placements
        .iter()
        .map(|placed| &placed.object)
        .filter(|placement| !deleted.contains(&placement.name_any()))
        .collect();
    service::slices(
        &key,
        service,
        ports,
        &placements,
        &observed.nodes,
        &observed.slices,
    )
}
