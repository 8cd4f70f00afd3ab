//! `networking/v1.NetworkPolicyPeer`: who may call.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::label_selector;
use crate::bound;

/// A list of `networking/v1.NetworkPolicyPeer`.
pub fn peers(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": bound::PEERS,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "properties": {
                "namespaceSelector": selector(
                    generator,
                    "Namespaces whose Pods may call; an empty selector means all.",
                ),
                "podSelector": selector(
                    generator,
                    "Pods that may call, of the selected namespaces, or of the component's own where none are selected; an empty selector means all.",
                ),
                "ipBlock": {
                    "type": "object",
                    "required": ["cidr"],
                    "description": "Addresses that may call, for callers from outside the cluster.",
                    "properties": {
                        "cidr": {
                            "type": "string",
                            "maxLength": bound::CIDR,
                            "description": "A range of addresses, such as 192.0.2.0/24.",
                        },
                        "except": {
                            "type": "array",
                            "maxItems": bound::PEERS,
                            "items": {"type": "string", "maxLength": bound::CIDR},
                            "x-kubernetes-list-type": "atomic",
                            "description": "Parts of the range that may not.",
                        },
                    },
                    "x-kubernetes-validations": [{
                        "rule": "isCIDR(self.cidr) && (!has(self.except) || self.except.all(part, isCIDR(part) && cidr(self.cidr).containsCIDR(part)))",
                        "message": "cidr and except must be ranges of addresses, and except inside cidr; write for example 192.0.2.0/24",
                    }],
                },
            },
            "x-kubernetes-validations": [{
                "rule": "has(self.ipBlock) != (has(self.namespaceSelector) || has(self.podSelector))",
                "message": "needs namespaceSelector, podSelector or both, or ipBlock alone; write for example podSelector: {matchLabels: {app: web}}",
            }],
        },
    })
}

fn selector(generator: &mut SchemaGenerator, description: &str) -> Value {
    let mut schema = label_selector(generator).to_value();
    if let Some(members) = schema.as_object_mut() {
        members.insert("description".to_owned(), json!(description));
    }
    schema
}
