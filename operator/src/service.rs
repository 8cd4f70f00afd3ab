//! The Service of a component, as it should be.
//!
//! Pure. A Service of ours has no selector: its endpoints are the agents that
//! serve the component, and the operator writes them (`slices`). Called by
//! `component::plan`.

mod slices;

use std::collections::{BTreeMap, BTreeSet};

use crds::component::{ServiceSpec, ServiceType, TrafficDistribution, Trigger};
use crds::names;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec as CoreServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

pub use slices::{ENDPOINTS_PER_SLICE, slices, withdraws};

use crate::component::{Key, owner};

/// What stands under the Service's name now.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// Nothing.
    Absent,
    /// The Service of this component.
    Ours(Box<Service>),
    /// Somebody else's. It is never adopted: its users did not ask for us.
    Foreign,
}

/// The Service that `key` should have, or `None` if nothing of it is reached
/// over the network.
pub fn service(
    key: &Key,
    uid: &str,
    spec: &ServiceSpec,
    triggers: &[Trigger],
    ports: &BTreeMap<String, u16>,
    standing: &Standing,
) -> Option<Service> {
    let listed: Vec<ServicePort> = triggers
        .iter()
        .flat_map(Trigger::ports)
        .filter_map(|(name, port)| {
            let target = ports.get(name)?;
            Some(ServicePort {
                name: Some(name.to_owned()),
                port,
                target_port: Some(IntOrString::Int(i32::from(*target))),
                protocol: Some("TCP".to_owned()),
                ..ServicePort::default()
            })
        })
        .collect();
    if listed.is_empty() {
        return None;
    }
    let existing = match standing {
        Standing::Ours(service) => Some(service),
        Standing::Absent | Standing::Foreign => None,
    };
    let type_ = match spec.type_ {
        ServiceType::Unknown => existing.and_then(|service| service.spec.as_ref()?.type_.clone()),
        known => Some(known.to_string()),
    };
    let mut labels = spec.labels.clone();
    labels.insert(names::COMPONENT_LABEL.to_owned(), key.name.clone());
    labels.insert(
        names::MANAGED_BY_LABEL.to_owned(),
        names::MANAGED_BY.to_owned(),
    );
    Some(Service {
        metadata: ObjectMeta {
            namespace: Some(key.namespace.clone()),
            name: Some(names::service_name(&key.name)),
            labels: Some(labels),
            annotations: Some(spec.annotations.clone())
                .filter(|annotations| !annotations.is_empty()),
            owner_references: Some(vec![owner(&key.name, uid)]),
            // Fences against a Service made anew under the name since we looked.
            uid: existing.and_then(|service| service.uid()),
            ..ObjectMeta::default()
        },
        spec: Some(CoreServiceSpec {
            type_,
            ports: Some(listed),
            traffic_distribution: spec
                .traffic_distribution
                .filter(|wanted| *wanted != TrafficDistribution::Unknown)
                .map(|wanted| wanted.to_string()),
            ..CoreServiceSpec::default()
        }),
        status: None,
    })
}

/// Whether the Service on the server already says what `wanted` says. What the
/// server or others added to it does not count.
pub fn service_is_current(existing: &Service, wanted: &Service) -> bool {
    let contains = |have: &BTreeMap<String, String>, want: &BTreeMap<String, String>| {
        want.iter().all(|(key, value)| have.get(key) == Some(value))
    };
    let (Some(have), Some(want)) = (&existing.spec, &wanted.spec) else {
        return false;
    };
    let ports = |spec: &CoreServiceSpec| -> BTreeSet<(Option<String>, i32, Option<String>)> {
        let listed = spec.ports.iter().flatten();
        listed
            .map(|port| {
                (
                    port.name.clone(),
                    port.port,
                    port.target_port.as_ref().map(target),
                )
            })
            .collect()
    };
    contains(existing.labels(), wanted.labels())
        && contains(existing.annotations(), wanted.annotations())
        && ports(have) == ports(want)
        && (want.type_.is_none() || have.type_ == want.type_)
        && have.traffic_distribution == want.traffic_distribution
}

fn target(port: &IntOrString) -> String {
    match port {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(name) => name.clone(),
    }
}

#[cfg(test)]
mod tests;
