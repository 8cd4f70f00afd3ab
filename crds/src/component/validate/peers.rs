//! Who may call a trigger: what the schema says about `from`, and what the API server
//! would only say of the NetworkPolicy that is made of it.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicyPeer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::bound;
use crate::problem::Problems;

const EXAMPLE: &str = "write for example podSelector: {matchLabels: {app: web}}";

/// The faults of one trigger's `from`.
pub fn peers(problems: &mut Problems, field: &str, peers: &[NetworkPolicyPeer]) {
    problems.entries(field, peers.len(), bound::PEERS);
    for (index, peer) in peers.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let NetworkPolicyPeer {
            namespace_selector,
            pod_selector,
            ip_block,
        } = peer;
        let selects = namespace_selector.is_some() || pod_selector.is_some();
        if ip_block.is_some() == selects {
            problems.add(
                field.as_str(),
                "names nobody, or both Pods and addresses",
                EXAMPLE,
            );
        }
        for (name, selector) in [
            ("namespaceSelector", namespace_selector),
            ("podSelector", pod_selector),
        ] {
            if let Some(selector) = selector {
                self::selector(problems, &format!("{field}.{name}"), selector);
            }
        }
        if let Some(block) = ip_block {
            self::block(problems, &format!("{field}.ipBlock"), block);
        }
    }
}

fn selector(problems: &mut Problems, field: &str, selector: &LabelSelector) {
    let labels = selector.match_labels.iter().flatten();
    let expressions = selector.match_expressions.iter().flatten();
    let no_label = labels
        .map(|(key, value)| (key, std::slice::from_ref(value)))
        .chain(
            expressions
                .clone()
                .map(|of| (&of.key, of.values.as_deref().unwrap_or_default())),
        )
        .find(|(key, values)| {
            !is_label_key(key) || !values.iter().all(|value| is_label_value(value))
        });
    if let Some((key, _)) = no_label {
        problems.add(
            field,
            format!("has `{key}`, which with its value is no label"),
            EXAMPLE,
        );
    }
    for expression in expressions {
        let values = expression.values.as_deref().unwrap_or_default();
        let fits = match expression.operator.as_str() {
            "In" | "NotIn" => !values.is_empty(),
            "Exists" | "DoesNotExist" => values.is_empty(),
            _ => false,
        };
        if !fits {
            problems.add(
                format!("{field}.matchExpressions"),
                format!(
                    "has `{}` with values that do not fit its operator",
                    expression.key
                ),
                "write values with operator In or NotIn, and none with Exists or DoesNotExist",
            );
        }
    }
}

fn block(problems: &mut Problems, field: &str, block: &IPBlock) {
    let whole = range(&block.cidr);
    let inside = |part: &String| {
        let (Some(whole), Some(part)) = (whole, range(part)) else {
            return false;
        };
        whole.0.is_ipv4() == part.0.is_ipv4()
            && part.1 >= whole.1
            && prefix(part.0, whole.1) == prefix(whole.0, whole.1)
    };
    if whole.is_none() || !block.except.iter().flatten().all(inside) {
        problems.add(
            field,
            "is no range of addresses, or excepts what is not in it",
            "write for example cidr: 192.0.2.0/24",
        );
    }
}

fn range(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits: u32 = bits.parse().ok()?;
    (bits <= width(address)).then_some((address, bits))
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The first `bits` bits of an address.
fn prefix(address: IpAddr, bits: u32) -> u128 {
    let all = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    all.checked_shr(width(address) - bits).unwrap_or_default()
}

fn is_label_key(key: &str) -> bool {
    let (domain, name) = match key.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, key),
    };
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_part = |part: &str| {
        part.starts_with(lower)
            && part.ends_with(lower)
            && part.chars().all(|c| lower(c) || c == '-')
    };
    !name.is_empty()
        && is_label_value(name)
        && domain.is_none_or(|domain| {
            domain.len() <= bound::NAME as usize && domain.split('.').all(is_part)
        })
}

fn is_label_value(value: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    value.is_empty()
        || value.len() <= bound::LABEL as usize
            && value.starts_with(edge)
            && value.ends_with(edge)
            && value.chars().all(|c| edge(c) || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(peer: serde_json::Value) -> usize {
        let mut problems = Problems::default();
        let peer = serde_json::from_value(peer).unwrap();
        peers(&mut problems, "from", &[peer]);
        problems.into_vec().len()
    }

    #[test]
    fn every_shape_of_a_peer_passes() {
        for peer in [
            serde_json::json!({"namespaceSelector": {}}),
            serde_json::json!({"podSelector": {"matchLabels": {"app.kubernetes.io/name": "web", "tier": ""}}}),
            serde_json::json!({"namespaceSelector": {}, "podSelector": {"matchExpressions": [
                {"key": "app", "operator": "In", "values": ["a"]}, {"key": "b", "operator": "Exists"}]}}),
            serde_json::json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}),
            serde_json::json!({"ipBlock": {"cidr": "2001:db8::/32", "except": ["2001:db8:1::/48"]}}),
            serde_json::json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["192.0.2.0/24"]}}),
        ] {
            assert_eq!(faults(peer.clone()), 0, "{peer}");
        }
    }

    #[test]
    fn what_a_network_policy_cannot_say_is_refused() {
        for peer in [
            serde_json::json!({}),
            serde_json::json!({"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}),
            serde_json::json!({"podSelector": {"matchLabels": {"app": "a b"}}}),
            serde_json::json!({"podSelector": {"matchLabels": {"/app": "a"}}}),
            serde_json::json!({"podSelector": {"matchLabels": {"A.example/app": "a"}}}),
            serde_json::json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
            serde_json::json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}),
            serde_json::json!({"ipBlock": {"cidr": "10.0.0.0"}}),
            serde_json::json!({"ipBlock": {"cidr": "10.0.0.0/33"}}),
            serde_json::json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["192.0.2.0/24"]}}),
            serde_json::json!({"ipBlock": {"cidr": "10.0.0.0/16", "except": ["10.0.0.0/8"]}}),
            serde_json::json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["::/16"]}}),
        ] {
            assert_eq!(faults(peer.clone()), 1, "{peer}");
        }
    }
}
