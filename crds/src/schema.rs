//! Schemas of values whose Rust types come from elsewhere: quantities, durations,
//! label maps, and the parts of Kubernetes' own types that the kinds embed.
//!
//! Kubernetes' types carry no bounds in their schemas; these do, because an
//! unbounded text makes the API server refuse the CEL rules around it. Named by
//! the `schema_with` attributes of the kinds.

mod affinity;
mod peers;

use capability::{Bytes, Span};
use kube::core::Rule;
use schemars::{Schema, SchemaGenerator, json_schema};

pub use affinity::node_affinity;
pub use peers::peers;

use crate::bound;
use crate::percent::Percent;

/// Names whose last label is a number are addresses to a C library: `127.1`, `0x7f.1`.
const HOST: &str = "isIP(self) || (self.matches('^([*][.]([a-z0-9-]+[.])+|([a-z0-9-]+[.])*)[a-z0-9-]+$') \
                    && !self.matches('(^|[.])([0-9]+|0x[0-9a-f]*)$'))";
/// GEP-2257.
const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// Whether a field says what its absence means, and need not be written.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// [`capability::Bytes`]: digits with a suffix or without. Goes with
/// [`quantity_between`], whose message is better than a pattern's.
///
/// A text and not `x-kubernetes-int-or-string`: before Kubernetes 1.33 the API server
/// does not count `maxLength` there, finds the rules too expensive, and refuses the kind.
pub fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": bound::QUANTITY})
}

/// The rule of a quantity. Only what [`Bytes`] reads: `isQuantity` alone would admit
/// `1.5Gi` and `500m`.
pub fn quantity_between(least: Bytes, most: Bytes) -> Rule {
    Rule::new(format!(
        "self.matches('^[0-9]{{1,19}}(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?$') \
         && isQuantity(self) \
         && quantity(self).compareTo(quantity('{least}')) >= 0 \
         && quantity(self).compareTo(quantity('{most}')) <= 0"
    ))
    .message(
        format!("must be an amount of memory from {least} to {most}; write a whole number with Ki, Mi, Gi, k, M, G or no suffix, such as 64Mi")
            .as_str(),
    )
}

/// [`capability::Span`]. Goes with [`duration_between`].
pub fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": bound::DURATION})
}

/// The rule of a duration. Only what [`Span`] reads: `duration()` alone would admit
/// `-1s` and `1.5h`.
pub fn duration_between(least: Span, most: Span) -> Rule {
    Rule::new(format!(
        "self.matches('{DURATION}') \
         && duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
    ))
    .message(
        format!("must be a duration from {least} to {most}; write digits with h, m, s or ms, such as 30s or 1m30s")
            .as_str(),
    )
}

/// The rule that a quantity is no more than another. What is no quantity is refused
/// by its own rule, and would only end this one with an error.
pub fn quantity_part_of(part: &str, whole: &str) -> Rule {
    Rule::new(format!(
        "!isQuantity(self.{part}) || !isQuantity(self.{whole}) \
         || quantity(self.{part}).compareTo(quantity(self.{whole})) <= 0"
    ))
    .message(format!("{part} is more than {whole}; lower {part} or raise {whole}").as_str())
}

/// The rule that a duration is no more than another, as [`quantity_part_of`].
pub fn duration_part_of(part: &str, whole: &str) -> Rule {
    Rule::new(format!(
        "!self.{part}.matches('{DURATION}') || !self.{whole}.matches('{DURATION}') \
         || duration(self.{part}) <= duration(self.{whole})"
    ))
    .message(format!("{part} is more than {whole}; lower {part} or raise {whole}").as_str())
}

/// The rule of a text that has a form.
pub fn matches(pattern: &str, message: &str) -> Rule {
    Rule::new(format!("self.matches('{pattern}')")).message(message)
}

/// A host, `*.suffix` or an address. What is left, `capability` refuses, whose parser the
/// operator asks.
pub fn host(message: &str) -> Rule {
    Rule::new(HOST).message(message)
}

/// The same, or `*` for any host.
pub fn host_or_any(message: &str) -> Rule {
    Rule::new(format!("self == '*' || {HOST}")).message(message)
}

/// A port, or a range of them as a text. A pattern and no rule, because before Kubernetes
/// 1.33 the API server does not count `maxLength` here and finds a rule too expensive.
pub fn port_or_range(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "minimum": 1,
        "maximum": 65535,
        "maxLength": bound::PORT_RANGE,
        "pattern": "^[1-9][0-9]{0,4}-[1-9][0-9]{0,4}$",
    })
}

/// Globs of paths inside a component.
pub fn path_globs(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": bound::PATH_GLOBS,
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": bound::GUEST_PATH,
            "x-kubernetes-validations": [
                {
                    "rule": "self.matches('^(/[^/]+)+$') && !self.matches('/[.][.]?(/|$)')",
                    "message": "must be an absolute path without . and .. and without a slash at its end; write for example /data/input/**",
                },
                {
                    "rule": "!self.matches('[*][*].') && !self.matches('[^/][*][*]') && !self.matches('[*][^/*]+[*]')",
                    "message": "a segment has at most one *, and ** can only be the last segment, as in /data/input/**",
                },
            ],
        },
    })
}

/// Exact paths of executables.
pub fn executables(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": bound::EXECUTABLES,
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": bound::GUEST_PATH,
            "x-kubernetes-validations": [
                {
                    "rule": "self.matches('^(/[^/*]+)+$') && !self.matches('/[.][.]?(/|$)')",
                    "message": "must be the exact path of an executable: absolute, without *, . and .. and without a slash at its end; write for example /tools/bin/git",
                },
            ],
        },
    })
}

/// `rollout.maxParallel`: a number of nodes, or a percentage of them.
pub fn count_or_percent(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "maxLength": 4,
        "x-kubernetes-validations": [{
            "rule": format!(
                "type(self) == int ? self >= 1 && self <= {} : self.matches('^([1-9]|[1-9][0-9]|100)%$')",
                bound::REPLICAS
            ),
            "message": "must be a number of nodes from 1, or a percentage from 1% to 100%; write for example 25%",
        }],
    })
}

/// [`Percent`]. Goes with [`percent_to`].
pub fn percent(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": bound::PERCENT})
}

/// The rule of a percentage up to `most`, which is one that [`Percent`] reads.
pub fn percent_to(most: Percent) -> Rule {
    let syntax = match most {
        Percent::WHOLE => "^(100|[0-9]{1,2}([.][0-9]{1,2})?)%$",
        _ => "^[0-9]{1,3}([.][0-9]{1,2})?%$",
    };
    Rule::new(format!("self.matches('{syntax}')")).message(
        format!("must be a percentage up to {most}; write digits with %, such as 1% or 0.5%")
            .as_str(),
    )
}

/// A map of labels, as a node selector has it.
pub fn node_selector(_: &mut SchemaGenerator) -> Schema {
    labels(bound::NODE_SELECTOR)
}

/// Labels put on an object.
pub fn object_labels(_: &mut SchemaGenerator) -> Schema {
    labels(bound::ANNOTATIONS)
}

/// Annotations put on an object.
pub fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": {"type": "string", "maxLength": bound::ANNOTATION},
        "maxProperties": bound::ANNOTATIONS,
    })
}

/// `core/v1.Toleration`.
pub fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": bound::TOLERATIONS,
        "items": {
            "type": "object",
            "properties": {
                "key": {
                    "type": "string",
                    "maxLength": bound::QUALIFIED_NAME,
                    "description": "Key of the taint; absent with operator Exists tolerates every taint.",
                },
                "operator": {
                    "type": "string",
                    "enum": ["Exists", "Equal"],
                    "description": "How the value is compared; Equal when absent.",
                },
                "value": {
                    "type": "string",
                    "maxLength": bound::LABEL,
                    "description": "Value of the taint; only with operator Equal.",
                },
                "effect": {
                    "type": "string",
                    "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"],
                    "description": "Effect of the taint; absent tolerates every effect.",
                },
                "tolerationSeconds": {
                    "type": "integer",
                    "format": "int64",
                    "description": "How long a NoExecute taint is tolerated, in seconds; absent means for ever.",
                },
            },
            "x-kubernetes-validations": [
                {
                    "rule": "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
                    "message": "a toleration without a key tolerates every taint; say so with operator: Exists, or add a key",
                },
                {
                    "rule": "!has(self.value) || self.value == '' || !has(self.operator) || self.operator != 'Exists'",
                    "message": "operator Exists takes no value; remove value or write operator: Equal",
                },
            ],
        },
    })
}

/// `meta/v1.LabelSelector`.
pub fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "type": "object",
                "additionalProperties": {"type": "string", "maxLength": bound::LABEL},
                "maxProperties": bound::SELECTOR_LABELS,
                "description": "Labels that must all be there.",
            },
            "matchExpressions": {
                "type": "array",
                "maxItems": bound::SELECTOR_EXPRESSIONS,
                "x-kubernetes-list-type": "atomic",
                "description": "Expressions that must all hold.",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "type": "string",
                            "maxLength": bound::QUALIFIED_NAME,
                            "description": "Key of the label.",
                        },
                        "operator": {
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                            "description": "How the label is judged.",
                        },
                        "values": {
                            "type": "array",
                            "maxItems": bound::SELECTOR_EXPRESSIONS,
                            "items": {"type": "string", "maxLength": bound::LABEL},
                            "x-kubernetes-list-type": "atomic",
                            "description": "Values for In and NotIn; none for Exists and DoesNotExist.",
                        },
                    },
                },
            },
        },
    })
}

/// A list of `meta/v1.Condition`, one of each type.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": bound::CONDITIONS,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "type": "string",
                    "maxLength": bound::WORD,
                    "description": "What is said to hold or not.",
                },
                "status": {
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                    "description": "Whether it holds.",
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "The generation of the object that was judged.",
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "maxLength": bound::TIMESTAMP,
                    "description": "When the status last changed.",
                },
                "reason": {
                    "type": "string",
                    "maxLength": bound::WORD,
                    "description": "Why, as one word of a closed list.",
                },
                "message": {
                    "type": "string",
                    "maxLength": bound::MESSAGE,
                    "description": "Why, for people: what is at fault and what mends it.",
                },
            },
        },
    })
}

/// `meta/v1.Time`.
pub fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "format": "date-time",
        "maxLength": bound::TIMESTAMP,
    })
}

fn labels(most: u32) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": {"type": "string", "maxLength": bound::LABEL},
        "maxProperties": most,
    })
}
