//! `core/v1.NodeAffinity`, without `matchFields`: a component names no node by
//! field, the label `kubernetes.io/hostname` is enough.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::bound;

/// `core/v1.NodeAffinity`.
pub fn node_affinity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "type": "object",
                "required": ["nodeSelectorTerms"],
                "description": "What a node must meet: one of the terms. A node that no longer does loses its replicas once others serve.",
                "properties": {
                    "nodeSelectorTerms": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": bound::AFFINITY_TERMS,
                        "x-kubernetes-list-type": "atomic",
                        "description": "One of these must match.",
                        "items": term(),
                    },
                },
            },
            "preferredDuringSchedulingIgnoredDuringExecution": {
                "type": "array",
                "maxItems": bound::AFFINITY_TERMS,
                "x-kubernetes-list-type": "atomic",
                "description": "Which nodes come first among those that hold equally few replicas: the one with the greatest sum of weights. Nothing moves for it.",
                "items": {
                    "type": "object",
                    "required": ["weight", "preference"],
                    "properties": {
                        "weight": {
                            "type": "integer",
                            "format": "int32",
                            "minimum": 1,
                            "maximum": 100,
                            "description": "What a node that matches is worth.",
                        },
                        "preference": term(),
                    },
                },
            },
        },
    })
}

fn term() -> Value {
    json!({
        "type": "object",
        "description": "Requirements that must all hold; without any, it matches no node.",
        "properties": {
            "matchExpressions": {
                "type": "array",
                "maxItems": bound::SELECTOR_EXPRESSIONS,
                "x-kubernetes-list-type": "atomic",
                "description": "Requirements on labels of the node.",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "type": "string",
                            "minLength": 1,
                            "maxLength": bound::QUALIFIED_NAME,
                            "description": "Key of the label.",
                        },
                        "operator": {
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"],
                            "description": "How the label is judged.",
                        },
                        "values": {
                            "type": "array",
                            "maxItems": bound::SELECTOR_EXPRESSIONS,
                            "items": {"type": "string", "maxLength": bound::LABEL},
                            "x-kubernetes-list-type": "atomic",
                            "description": "Values for In and NotIn, one whole number for Gt and Lt; none for Exists and DoesNotExist.",
                        },
                    },
                    "x-kubernetes-validations": [{
                        "rule": "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 \
                                 : self.operator in ['Exists', 'DoesNotExist'] ? !has(self.values) || size(self.values) == 0 \
                                 : has(self.values) && size(self.values) == 1 && self.values[0].matches('^-?[0-9]{1,18}$')",
                        "message": "In and NotIn take values, Exists and DoesNotExist none, Gt and Lt one whole number",
                    }],
                },
            },
        },
    })
}
