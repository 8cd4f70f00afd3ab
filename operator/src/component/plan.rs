//! What is to be written so that the cluster is as a component wants it.
//!
//! Pure: no client, no clock, no randomness. The plan is a value; `apply` has no
//! choices left and `report` derives the status from it. Old code keeps serving
//! until new code has shown that it serves: nodes are switched in waves, and a
//! placement that has to go leaves only when the others carry the load.

mod endpoints;
mod outlook;
mod planned;
mod rollout;
mod runs;
mod stop;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crds::placement::{ComponentReference, PlacedPort};
use crds::revision::RevisionDocument;
use crds::{ComponentPlacement, ComponentPlacementSpec, WasmComponent, names};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

pub use endpoints::SLICE_PACE;
pub use outlook::{Outlook, Progress, Target};
pub use runs::Runs;
pub(super) use target::remembered;

use super::admit::Admission;
use super::observe::{Observed, Placed};
use super::{Validated, owner, preview};
use crate::network_policy;
use crate::service;
use planned::Planned;
use rollout::Rollout;
use stop::Stops;

/// Changes to objects of one kind, each list in order of names.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes<K> {
    /// Objects that are not there yet.
    pub create: Vec<K>,
    /// Objects that are there and become this.
    pub update: Vec<K>,
    /// Objects that are there and go.
    pub delete: Vec<K>,
}

/// Everything that is to be written for one component, and what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// A revision that is not there yet.
    pub revision: Option<NewRevision>,
    /// The Service, if it is not yet as it should be.
    pub service: Option<Service>,
    /// Changes to its EndpointSlices.
    pub slices: Changes<EndpointSlice>,
    /// Changes to its NetworkPolicy.
    pub network_policies: Changes<NetworkPolicy>,
    /// Changes to its placements.
    pub placements: Changes<ComponentPlacement>,
    /// Changes to the components that are its previews.
    pub previews: Changes<WasmComponent>,
    /// Names of revisions beyond the history limit that nothing uses.
    pub expired_revisions: Vec<String>,
    /// What the status will say.
    pub outlook: Outlook,
    /// Placements that lose what a trust policy stops.
    pub stopped: usize,
    /// When to look again though nothing changes: a wave waits for time to pass.
    pub again: Option<Duration>,
}

/// A revision to be sealed and written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRevision {
    /// What it says.
    pub document: RevisionDocument,
    /// Its number.
    pub number: i64,
    /// The component's generation it was made from.
    pub generation: i64,
}

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self {
            create: Vec::new(),
            update: Vec::new(),
            delete: Vec::new(),
        }
    }
}

impl<K> Changes<K> {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.create.is_empty() && self.update.is_empty() && self.delete.is_empty()
    }
}

impl Changes<ComponentPlacement> {
    /// Takes in what is stopped: nothing else that was planned for such a placement
    /// may bring it back.
    fn take(&mut self, update: Vec<ComponentPlacement>, delete: Vec<ComponentPlacement>) {
        for stopped in delete {
            let name = stopped.name_any();
            self.update.retain(|planned| planned.name_any() != name);
            if !self.delete.iter().any(|planned| planned.name_any() == name) {
                self.delete.push(stopped);
            }
        }
        for stopped in update {
            let name = stopped.name_any();
            if self.delete.iter().any(|planned| planned.name_any() == name) {
                continue;
            }
            match self
                .update
                .iter_mut()
                .find(|planned| planned.name_any() == name)
            {
                Some(planned) => planned.spec.revisions = stopped.spec.revisions,
                None => self.update.push(stopped),
            }
        }
    }
}

/// Plans for a component whose spec makes sense, as far as `admission` lets it start.
pub fn plan(observed: &Observed, validated: &Validated, admission: Admission) -> Plan {
    let (asked, new_revision) = target::find(observed, validated, &admission);
    let stops = Stops::of(observed);
    let asked = asked.filter(|asked| !stops.names(&asked.digest));
    let new_revision = new_revision.filter(|new| !stops.names(&new.document.digest));
    let planned = Planned::new(observed, validated, asked.as_ref());
    let present: BTreeMap<&str, &Placed> = observed
        .placements
        .iter()
        .map(|placed| (placed.object.spec.node_name.as_str(), placed))
        .collect();
    let ports = match &observed.ports {
        Ok(ports) => ports.clone(),
        // Whoever has a port keeps it; nobody new starts.
        Err(_) => held_ports(observed),
    };
    // Values that are missing stop new revisions from going anywhere, not what runs;
    // and so does a refusal.
    let is_refused = |target: &Target| {
        stop::is_refused(observed, &target.digest) || admission.barred.contains(&target.name)
    };
    let may_run = observed.ports.is_ok() && !asked.as_ref().is_some_and(is_refused);
    let Rollout {
        turn,
        target,
        state,
    } = Rollout::plan(
        observed,
        validated,
        &stops,
        asked.as_ref(),
        may_run,
        &planned.assigned,
    );
    let refused = target.as_ref().is_some_and(is_refused);
    let held = |node: &String| turn.as_ref()?.held.get(node).cloned();
    // What takes the place of something that is stopped: nothing that waits itself.
    let is_paused = turn.as_ref().is_none_or(|turn| turn.is_paused);
    let replacement = target
        .as_ref()
        .filter(|_| observed.ports.is_ok() && !refused && !is_paused);

    let may_begin = observed.ports.is_ok() && observed.values.is_ok() && !refused;
    let mut placements = Changes::default();
    for (node, replicas) in &planned.assigned {
        match present.get(node.as_str()) {
            Some(placed) => {
                let mut wanted = placed.object.clone();
                let replicas = i32::try_from(*replicas).unwrap_or(i32::MAX);
                // What is refused may shrink and does not grow.
                wanted.spec.replicas = match refused {
                    true => replicas.min(placed.object.spec.replicas),
                    false => replicas,
                };
                if observed.ports.is_ok() {
                    wanted.spec.ports = placed_ports(&ports);
                }
                if let Some(revisions) = held(node) {
                    wanted.spec.revisions = revisions;
                }
                if wanted.spec != placed.object.spec {
                    placements.update.push(wanted);
                }
            }
            None => {
                let revisions = held(node).map(|given| stops.remaining(&given, replacement));
                let revisions = revisions.unwrap_or_default();
                if !revisions.is_empty() && may_begin {
                    placements
                        .create
                        .push(placement(validated, node, *replicas, &ports, revisions));
                }
            }
        }
    }
    placements.delete = planned.departures(observed, validated);
    let wave = stops.wave(observed, validated, replacement, &planned.assigned);
    let stopped = wave.update.len() + wave.delete.len();
    placements.take(wave.update, wave.delete);
    let deleted: BTreeSet<String> = placements
        .delete
        .iter()
        .map(ResourceExt::name_any)
        .collect();

    let standing = observed.network_policy.as_ref();
    let network_policies = standing.map(|standing| {
        network_policy::changes(
            &validated.key,
            &validated.uid,
            &validated.triggers,
            &ports,
            standing,
        )
    });
    let wanted_service = service::service(
        &validated.key,
        &validated.uid,
        &validated.service,
        &validated.triggers,
        &ports,
        &observed.service,
    );
    let (slices, slices_again) = endpoints::plan(observed, &ports, &deleted);
    let service_pending = wanted_service.is_some() && observed.service == service::Standing::Absent;
    let service = wanted_service
        .clone()
        .filter(|wanted| match &observed.service {
            service::Standing::Ours(existing) => !service::service_is_current(existing, wanted),
            service::Standing::Absent => true,
            service::Standing::Foreign => false,
        });
    let kept = [asked.as_ref(), target.as_ref()];
    let expired_revisions = expired(observed, validated, kept, &placements);
    let again = [
        turn.as_ref().and_then(|turn| turn.again),
        wave.again,
        service_pending.then_some(Duration::ZERO),
        slices_again,
    ];
    let again = again.into_iter().flatten().min();
    let has_service = wanted_service.is_some();
    let mut outlook = Outlook::new(observed, validated, target, &planned, ports, has_service);
    outlook.admission = admission;
    outlook.take(asked, state, turn);
    if refused {
        outlook.hold(observed);
    }
    Plan {
        revision: new_revision,
        service,
        slices,
        network_policies: network_policies.unwrap_or_default(),
        placements,
        previews: preview::changes(observed),
        expired_revisions,
        outlook,
        stopped,
        again,
    }
}

/// Plans for a component whose spec cannot be used: what runs goes on, and its
/// endpoints still follow the nodes.
pub fn plan_unusable(observed: &Observed) -> Plan {
    let ports = held_ports(observed);
    let (slices, again) = endpoints::plan(observed, &ports, &BTreeSet::new());
    Plan {
        revision: None,
        service: None,
        slices,
        network_policies: Changes::default(),
        placements: Changes::default(),
        previews: Changes::default(),
        expired_revisions: Vec::new(),
        outlook: Outlook::unusable(observed, ports),
        stopped: 0,
        again,
    }
}

/// Replicas that the component would have on nodes, were it admitted.
pub(super) fn assigned_replicas(observed: &Observed, validated: &Validated) -> u32 {
    let planned = Planned::new(observed, validated, None);
    planned.assigned.into_values().fold(0, u32::saturating_add)
}

fn placed_ports(ports: &BTreeMap<String, u16>) -> Vec<PlacedPort> {
    ports
        .iter()
        .map(|(trigger, port)| PlacedPort {
            trigger: trigger.clone(),
            port: i32::from(*port),
        })
        .collect()
}

/// The ports that placements have now.
fn held_ports(observed: &Observed) -> BTreeMap<String, u16> {
    let listed = observed
        .placements
        .iter()
        .flat_map(|placed| &placed.object.spec.ports);
    listed
        .filter_map(|port| Some((port.trigger.clone(), u16::try_from(port.port).ok()?)))
        .collect()
}

fn placement(
    validated: &Validated,
    node: &str,
    replicas: u32,
    ports: &BTreeMap<String, u16>,
    revisions: Vec<crds::placement::PlacedRevision>,
) -> ComponentPlacement {
    let key = &validated.key;
    ComponentPlacement {
        metadata: ObjectMeta {
            namespace: Some(key.namespace.clone()),
            name: Some(names::placement_name(&key.name, node)),
            labels: Some(BTreeMap::from([
                (names::COMPONENT_LABEL.to_owned(), key.name.clone()),
                (names::NODE_LABEL.to_owned(), names::node_hash(node)),
                (
                    names::MANAGED_BY_LABEL.to_owned(),
                    names::MANAGED_BY.to_owned(),
                ),
            ])),
            owner_references: Some(vec![owner(&key.name, &validated.uid)]),
            ..ObjectMeta::default()
        },
        spec: ComponentPlacementSpec {
            component_ref: ComponentReference {
                name: key.name.clone(),
                uid: validated.uid.clone(),
            },
            node_name: node.to_owned(),
            replicas: i32::try_from(replicas).unwrap_or(i32::MAX),
            ports: placed_ports(ports),
            revisions,
        },
        status: None,
    }
}

/// Revisions beyond the limit, oldest first, that no placement names, and that are neither
/// asked for nor to be gone back to.
fn expired(
    observed: &Observed,
    validated: &Validated,
    kept: [Option<&Target>; 2],
    placements: &Changes<ComponentPlacement>,
) -> Vec<String> {
    let status = observed.component.status.as_ref();
    let current = status.and_then(|status| status.current.as_ref());
    let present = observed.placements.iter().map(|placed| &placed.object);
    let used: BTreeSet<&str> = present
        .chain(&placements.update)
        .chain(&placements.create)
        .flat_map(|placement| {
            placement
                .spec
                .revisions
                .iter()
                .map(|revision| revision.name.as_str())
        })
        .chain(kept.into_iter().flatten().map(|kept| kept.name.as_str()))
        .chain(current.map(|current| current.revision.as_str()))
        .collect();
    let idle: Vec<&str> = observed
        .revisions
        .iter()
        .map(|revision| revision.name.as_str())
        .filter(|name| !used.contains(name))
        .collect();
    let limit = usize::try_from(validated.rollout.revision_history_limit).unwrap_or(usize::MAX);
    let surplus = idle.len().saturating_sub(limit);
    idle.into_iter().take(surplus).map(str::to_owned).collect()
}
