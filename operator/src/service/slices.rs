//! The EndpointSlices behind a component's Service, as they should be.
//!
//! Pure. Addresses come from the agents' Pods (`crate::node`), readiness from the
//! placements and those Pods. An endpoint stays in the slice it is in, so that one
//! node's change is one write. Called by `component::plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crds::{ComponentPlacement, names};
use k8s_openapi::api::core::v1::{ObjectReference, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;

use crate::component::{Changes, Key, owned_by};
use crate::node::{Agent, Nodes};

/// Endpoints in one slice: what Kubernetes' own controller puts there, so that
/// one change costs proxies little.
pub const ENDPOINTS_PER_SLICE: usize = 100;

/// Two families never share a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

/// The slices behind `service`, as changes to what is there.
pub fn slices(
    key: &Key,
    service: &Service,
    ports: &BTreeMap<String, u16>,
    placements: &[&ComponentPlacement],
    nodes: &Nodes,
    existing: &[EndpointSlice],
) -> Changes<EndpointSlice> {
    let mut wanted: BTreeMap<(Family, IpAddr), Endpoint> = BTreeMap::new();
    for placement in placements {
        let Some(fact) = nodes.get(&placement.spec.node_name) else {
            continue;
        };
        let Some(agent) = &fact.agent else { continue };
        let going = placement.metadata.deletion_timestamp.is_some();
        for address in &agent.addresses {
            let family = if address.is_ipv4() {
                Family::V4
            } else {
                Family::V6
            };
            wanted.insert(
                (family, *address),
                endpoint(placement, *address, agent, fact.zone.as_deref(), going),
            );
        }
    }
    let mut changes = Changes::default();
    for family in [Family::V4, Family::V6] {
        let endpoints = wanted
            .iter()
            .filter(|((of, _), _)| *of == family)
            .map(|((_, address), endpoint)| (address.to_string(), endpoint.clone()))
            .collect();
        pack(
            key,
            service,
            ports,
            family,
            endpoints,
            existing,
            &mut changes,
        );
    }
    changes
}

/// Whether `changes` to the `existing` slices take a ready endpoint away.
pub fn withdraws(existing: &[EndpointSlice], changes: &Changes<EndpointSlice>) -> bool {
    let touched: BTreeSet<String> = changes
        .update
        .iter()
        .chain(&changes.delete)
        .map(ResourceExt::name_any)
        .collect();
    let after = ready(changes.create.iter().chain(&changes.update));
    let before = existing
        .iter()
        .filter(|slice| touched.contains(&slice.name_any()));
    !ready(before).is_subset(&after)
}

/// The addresses and ports that slices call ready.
fn ready<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
) -> BTreeSet<(Vec<String>, Vec<Option<i32>>)> {
    slices
        .flat_map(|slice| {
            let ports: Vec<Option<i32>> =
                slice.ports.iter().flatten().map(|port| port.port).collect();
            let ready = slice.endpoints.iter().filter(|endpoint| {
                let conditions = endpoint.conditions.as_ref();
                conditions.is_some_and(|conditions| conditions.ready == Some(true))
            });
            ready.map(move |endpoint| (endpoint.addresses.clone(), ports.clone()))
        })
        .collect()
}

impl Family {
    fn address_type(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }
}

fn endpoint(
    placement: &ComponentPlacement,
    address: IpAddr,
    agent: &Agent,
    zone: Option<&str>,
    going: bool,
) -> Endpoint {
    let serves = placement.status.as_ref().is_some_and(|status| status.ready);
    let terminating = going || agent.terminating;
    Endpoint {
        addresses: vec![address.to_string()],
        // All three said, none left to a default that proxies read differently.
        conditions: Some(EndpointConditions {
            ready: Some(serves && agent.ready && !terminating),
            serving: Some(serves && agent.ready),
            terminating: Some(terminating),
        }),
        node_name: Some(placement.spec.node_name.clone()),
        zone: zone.map(str::to_owned),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some(agent.namespace.clone()),
            name: Some(agent.name.clone()),
            uid: Some(agent.uid.clone()),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    }
}

/// Distributes `endpoints` over the family's slices, existing ones first.
fn pack(
    key: &Key,
    service: &Service,
    ports: &BTreeMap<String, u16>,
    family: Family,
    mut endpoints: BTreeMap<String, Endpoint>,
    existing: &[EndpointSlice],
    changes: &mut Changes<EndpointSlice>,
) {
    let mut ours: Vec<&EndpointSlice> = existing
        .iter()
        .filter(|slice| slice.address_type == family.address_type())
        .collect();
    ours.sort_by_key(|slice| slice.name_any());
    let mut packed: Vec<(&EndpointSlice, Vec<Endpoint>)> = ours
        .into_iter()
        .map(|slice| {
            let stay = slice
                .endpoints
                .iter()
                .filter_map(|endpoint| endpoints.remove(endpoint.addresses.first()?));
            (slice, stay.take(ENDPOINTS_PER_SLICE).collect())
        })
        .collect();
    let mut rest = endpoints.into_values();
    for (_, members) in &mut packed {
        let room = ENDPOINTS_PER_SLICE.saturating_sub(members.len());
        members.extend(rest.by_ref().take(room));
    }
    let mut last_empty = packed.iter().all(|(_, members)| members.is_empty());
    for (slice, mut members) in packed {
        // One slice stays when nothing serves: a Service without any slice looks
        // to some controllers as if nobody managed it.
        if members.is_empty() && !std::mem::take(&mut last_empty) {
            changes.delete.push(slice.clone());
            continue;
        }
        members.sort_by(|a, b| a.addresses.cmp(&b.addresses));
        let wanted = slice_object(key, service, ports, family, slice.name_any(), members);
        if !is_current(slice, &wanted) {
            let mut updated = slice.clone();
            updated.endpoints = wanted.endpoints;
            updated.ports = wanted.ports;
            updated
                .labels_mut()
                .extend(wanted.metadata.labels.unwrap_or_default());
            updated.metadata.owner_references = wanted.metadata.owner_references;
            changes.update.push(updated);
        }
    }
    let taken: BTreeSet<String> = existing.iter().map(ResourceExt::name_any).collect();
    let mut free = (0..).map(|index| names::endpoint_slice_name(&key.name, family.word(), index));
    loop {
        let members: Vec<Endpoint> = rest.by_ref().take(ENDPOINTS_PER_SLICE).collect();
        if members.is_empty() {
            break;
        }
        let Some(name) = free.by_ref().find(|name| !taken.contains(name)) else {
            break;
        };
        changes
            .create
            .push(slice_object(key, service, ports, family, name, members));
    }
}

fn slice_object(
    key: &Key,
    service: &Service,
    ports: &BTreeMap<String, u16>,
    family: Family,
    name: String,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let service_name = service.name_any();
    EndpointSlice {
        address_type: family.address_type().to_owned(),
        endpoints,
        metadata: ObjectMeta {
            namespace: Some(key.namespace.clone()),
            name: Some(name),
            labels: Some(BTreeMap::from([
                (names::SERVICE_NAME_LABEL.to_owned(), service_name.clone()),
                (
                    names::ENDPOINT_SLICE_MANAGED_BY_LABEL.to_owned(),
                    names::ENDPOINT_SLICE_MANAGED_BY.to_owned(),
                ),
                (names::COMPONENT_LABEL.to_owned(), key.name.clone()),
            ])),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Service".to_owned(),
                name: service_name,
                uid: service.uid().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(false),
            }]),
            ..ObjectMeta::default()
        },
        ports: Some(
            ports
                .iter()
                .map(|(trigger, port)| EndpointPort {
                    name: Some(trigger.clone()),
                    port: Some(i32::from(*port)),
                    protocol: Some("TCP".to_owned()),
                    ..EndpointPort::default()
                })
                .collect(),
        ),
    }
}

fn is_current(have: &EndpointSlice, want: &EndpointSlice) -> bool {
    let (mut endpoints, mut ports) = (
        have.endpoints.clone(),
        have.ports.clone().unwrap_or_default(),
    );
    endpoints.sort_by(|a, b| a.addresses.cmp(&b.addresses));
    ports.sort_by(|a, b| a.name.cmp(&b.name));
    endpoints == want.endpoints
        && Some(ports) == want.ports
        && want
            .labels()
            .iter()
            .all(|(key, value)| have.labels().get(key) == Some(value))
        && owned_by(&have.metadata) == owned_by(&want.metadata)
}
