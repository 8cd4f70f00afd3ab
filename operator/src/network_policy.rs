//! The NetworkPolicy of a component: who reaches its ports on the agents.
//!
//! Pure, but for `sweep`. All components answer on the agents' Pods, so policies
//! of their own namespaces never apply to them; these are in the agents'
//! namespace and open one port each, over a baseline of the chart that opens
//! none. No owner reference reaches over namespaces: `sweep` takes away what a
//! component has left. Called by `component::plan` and the driver.

pub mod sweep;

use std::collections::BTreeMap;

use crds::component::Trigger;
use crds::names;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::component::{Changes, Key};

/// The label that Kubernetes gives every namespace: its name.
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Where the policies are.
#[derive(Debug, Clone, PartialEq)]
pub struct Home {
    /// The namespace of the agents.
    pub namespace: String,
    /// The operator's own account, with which they go; `None` where it has none.
    pub owner: Option<OwnerReference>,
}

/// What stands under the policy's name now.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Where it is, or belongs.
    pub home: Home,
    /// The policy, if there is one.
    pub existing: Option<Box<NetworkPolicy>>,
}

/// What is to be done so that the policy says who may call `triggers` on `ports`.
pub fn changes(
    key: &Key,
    uid: &str,
    triggers: &[Trigger],
    ports: &BTreeMap<String, u16>,
    standing: &Standing,
) -> Changes<NetworkPolicy> {
    let mut changes = Changes::default();
    let wanted = network_policy(key, uid, triggers, ports, &standing.home);
    match (wanted, standing.existing.as_deref()) {
        (Some(wanted), None) => changes.create.push(wanted),
        (Some(wanted), Some(existing)) if !is_current(existing, &wanted) => {
            let mut updated = existing.clone();
            updated
                .labels_mut()
                .extend(wanted.metadata.labels.unwrap_or_default());
            updated.metadata.owner_references = wanted.metadata.owner_references;
            updated.spec = wanted.spec;
            changes.update.push(updated);
        }
        (None, Some(existing)) => changes.delete.push(existing.clone()),
        (Some(_) | None, _) => {}
    }
    changes
}

/// The policy, or `None` if no port of an agent is this component's.
fn network_policy(
    key: &Key,
    uid: &str,
    triggers: &[Trigger],
    ports: &BTreeMap<String, u16>,
    home: &Home,
) -> Option<NetworkPolicy> {
    let mut ingress = Vec::new();
    let mut has_port = false;
    for trigger in triggers {
        let own = trigger.ports().filter_map(|(name, _)| ports.get(name));
        let own: Vec<NetworkPolicyPort> = own.map(|port| policy_port(*port)).collect();
        if own.is_empty() {
            continue;
        }
        has_port = true;
        let from = match trigger.from.as_deref() {
            // Kubernetes reads an empty list as everybody; ours means nobody.
            Some([]) => continue,
            Some(peers) => Some(peers.iter().map(|peer| translate(key, peer)).collect()),
            None => None,
        };
        ingress.push(NetworkPolicyIngressRule {
            from,
            ports: Some(own),
        });
    }
    let labels = [
        (names::COMPONENT_LABEL, key.name.as_str()),
        (names::COMPONENT_NAMESPACE_LABEL, &key.namespace),
        (names::COMPONENT_UID_LABEL, uid),
        (names::MANAGED_BY_LABEL, names::MANAGED_BY),
    ];
    has_port.then(|| NetworkPolicy {
        metadata: ObjectMeta {
            namespace: Some(home.namespace.clone()),
            name: Some(names::network_policy_name(&key.namespace, &key.name)),
            labels: Some(owned(&labels)),
            owner_references: home.owner.clone().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(labelled(names::NAME_LABEL, names::AGENT_NAME)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(ingress).filter(|rules| !rules.is_empty()),
            egress: None,
        }),
    })
}

fn policy_port(port: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(port))),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    }
}

/// A caller, as seen from the agents' namespace.
fn translate(key: &Key, peer: &NetworkPolicyPeer) -> NetworkPolicyPeer {
    let NetworkPolicyPeer {
        namespace_selector,
        pod_selector,
        ip_block,
    } = peer;
    // Alone, it would select Pods of the namespace that the policy is in: the agents'.
    let own = || labelled(NAMESPACE_NAME_LABEL, &key.namespace);
    let namespaces = match (namespace_selector, pod_selector) {
        (Some(selector), _) => Some(as_stored(selector)),
        (None, Some(_)) => Some(own()),
        (None, None) => None,
    };
    let mut ip_block = ip_block.clone();
    if let Some(block) = &mut ip_block {
        block.except = block.except.take().filter(|parts| !parts.is_empty());
    }
    NetworkPolicyPeer {
        namespace_selector: namespaces,
        pod_selector: pod_selector.as_ref().map(as_stored),
        ip_block,
    }
}

/// A selector as the API server gives it back: it drops lists and maps that are empty, and
/// a policy that never came back as it was written would be written for ever.
fn as_stored(selector: &LabelSelector) -> LabelSelector {
    let LabelSelector {
        match_labels,
        match_expressions,
    } = selector.clone();
    let expressions = match_expressions.filter(|list| !list.is_empty());
    LabelSelector {
        match_labels: match_labels.filter(|labels| !labels.is_empty()),
        match_expressions: expressions.map(|list| {
            let mut list = list;
            for expression in &mut list {
                expression.values = expression.values.take().filter(|values| !values.is_empty());
            }
            list
        }),
    }
}

fn labelled(label: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(owned(&[(label, value)])),
        match_expressions: None,
    }
}

fn owned(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels
        .iter()
        .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
        .collect()
}

fn is_current(existing: &NetworkPolicy, wanted: &NetworkPolicy) -> bool {
    existing.spec == wanted.spec
        && existing.metadata.owner_references == wanted.metadata.owner_references
        && wanted
            .labels()
            .iter()
            .all(|(label, value)| existing.labels().get(label) == Some(value))
}

#[cfg(test)]
mod tests;
