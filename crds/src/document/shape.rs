//! Compares a document with the OpenAPI schema of its kind: fields, types, bounds,
//! enumerations and keys of list-maps.
//!
//! Patterns and CEL rules are not read here; the types' own parsers and the
//! `problems` functions say the same with better words.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::nearest::nearest;
use crate::problem::Problems;

/// Adds every fault of the document's shape.
pub(super) fn compare(document: &Value, schema: &Value, problems: &mut Problems) {
    Comparison { problems }.value("", document, schema);
}

struct Comparison<'a> {
    problems: &'a mut Problems,
}

impl Comparison<'_> {
    fn value(&mut self, path: &str, value: &Value, schema: &Value) {
        // As the API server does: a null is a field left out.
        if value.is_null() {
            return;
        }
        let wanted = kind_of_schema(schema);
        if !wanted.admits(value) {
            self.add(
                path,
                format!("is {}, not {}", kind_of(value), wanted.name()),
                wanted.mend(value),
            );
            return;
        }
        match value {
            Value::Object(members) => self.object(path, members, schema),
            Value::Array(items) => self.array(path, items, schema),
            Value::String(text) => self.text(path, text, schema),
            Value::Number(_) => self.number(path, value, schema),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn object(&mut self, path: &str, members: &Map<String, Value>, schema: &Value) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let rest = schema
            .get("additionalProperties")
            .filter(|rest| rest.is_object());
        for (name, member) in members {
            let field = join(path, name);
            match (properties.and_then(|properties| properties.get(name)), rest) {
                (Some(schema), _) | (None, Some(schema)) => self.value(&field, member, schema),
                (None, None) => {
                    let known = properties
                        .into_iter()
                        .flat_map(Map::keys)
                        .map(String::as_str);
                    let mend = mend_unknown(name, known.collect());
                    self.add(&field, "is not a field".to_owned(), mend);
                }
            }
        }
        let required = schema.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if members.get(name).is_none_or(Value::is_null) {
                let meaning = properties
                    .and_then(|properties| properties.get(name))
                    .and_then(|property| property.get("description"))
                    .and_then(Value::as_str)
                    .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
                    .unwrap_or_else(|| "it is required".to_owned());
                let meaning = meaning
                    .split(". ")
                    .next()
                    .unwrap_or_default()
                    .trim_end_matches('.');
                self.add(
                    &join(path, name),
                    "is missing".to_owned(),
                    format!("add it ({meaning})"),
                );
            }
        }
        if let Some(most) =
            bound(schema, "maxProperties").filter(|most| members.len() as u64 > *most)
        {
            self.add(
                path,
                format!("has {} entries", members.len()),
                format!("keep at most {most}"),
            );
        }
    }

    fn array(&mut self, path: &str, items: &[Value], schema: &Value) {
        if let Some(most) = bound(schema, "maxItems").filter(|most| items.len() as u64 > *most) {
            self.add(
                path,
                format!("has {} entries", items.len()),
                format!("keep at most {most}"),
            );
            return;
        }
        if let Some(least) = bound(schema, "minItems").filter(|least| (items.len() as u64) < *least)
        {
            self.add(path, "is empty".to_owned(), format!("add at least {least}"));
        }
        let keys = schema
            .get("x-kubernetes-list-map-keys")
            .and_then(Value::as_array);
        let keys: Vec<&str> = keys
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut seen = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let field = format!("{path}[{index}]");
            if item.is_null() {
                self.add(
                    &field,
                    "is empty".to_owned(),
                    "write the entry, or remove it".to_owned(),
                );
                continue;
            }
            if let Some(items) = schema.get("items") {
                self.value(&field, item, items);
            }
            let key: Vec<&Value> = keys.iter().filter_map(|key| item.get(key)).collect();
            if !key.is_empty() && seen.contains(&key) {
                let name = keys.join(" and ");
                self.add(
                    &format!("{field}.{name}"),
                    "is there for the second time".to_owned(),
                    format!("give each entry a {name} of its own"),
                );
            }
            seen.push(key);
        }
    }

    fn text(&mut self, path: &str, text: &str, schema: &Value) {
        let allowed = schema.get("enum").and_then(Value::as_array);
        let allowed: Vec<&str> = allowed
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !allowed.is_empty() && !allowed.contains(&text) {
            let mend = match nearest(text, allowed.iter().copied()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("write {}", allowed.join(" or ")),
            };
            self.add(path, format!("is {text}"), mend);
        }
        let is_time = schema.get("format").and_then(Value::as_str) == Some("date-time");
        if is_time && text.parse::<Timestamp>().is_err() {
            self.add(
                path,
                format!("is {text}, not a time"),
                "write for example 2026-01-31T12:00:00Z".to_owned(),
            );
        }
        let length = text.chars().count() as u64;
        if let Some(most) = bound(schema, "maxLength").filter(|most| length > *most) {
            self.add(
                path,
                format!("has {length} characters"),
                format!("keep at most {most}"),
            );
        }
        if bound(schema, "minLength").is_some_and(|least| length < least) {
            self.add(path, "is empty".to_owned(), "write a value".to_owned());
        }
    }

    fn number(&mut self, path: &str, number: &Value, schema: &Value) {
        let Some(found) = number.as_f64() else { return };
        let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
        if let Some(least) = limit("minimum").filter(|least| found < *least) {
            self.add(
                path,
                format!("is {number}"),
                format!("write at least {least}"),
            );
        }
        if let Some(most) = limit("maximum").filter(|most| found > *most) {
            self.add(
                path,
                format!("is {number}"),
                format!("write at most {most}"),
            );
        }
    }

    fn add(&mut self, path: &str, message: String, mend: String) {
        let path = if path.is_empty() {
            "the document"
        } else {
            path
        };
        self.problems.add(path, message, mend);
    }
}

/// What a schema asks for.
#[derive(Clone, Copy)]
enum Kind {
    Object,
    Array,
    String,
    Integer,
    Boolean,
    IntegerOrString,
    Any,
}

impl Kind {
    fn admits(self, value: &Value) -> bool {
        match self {
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Boolean => value.is_boolean(),
            Self::IntegerOrString => value.is_string() || value.is_i64() || value.is_u64(),
            Self::Any => true,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "a list",
            Self::String => "a text",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
            Self::IntegerOrString => "a whole number or a text",
            Self::Any => "a value",
        }
    }

    fn mend(self, found: &Value) -> String {
        match (self, found) {
            (Self::String, Value::Number(_) | Value::Bool(_)) => {
                format!("put it in quotes: \"{found}\"")
            }
            (Self::Integer | Self::Boolean, Value::String(text)) => {
                format!("write it without quotes: {text}")
            }
            (Self::Array, _) => "begin each entry with `- `".to_owned(),
            (Self::Object, _) => "write its fields below it, indented".to_owned(),
            _ => format!("write {}", self.name()),
        }
    }
}

fn kind_of_schema(schema: &Value) -> Kind {
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        return Kind::IntegerOrString;
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => Kind::Object,
        Some("array") => Kind::Array,
        Some("string") => Kind::String,
        Some("integer") => Kind::Integer,
        Some("boolean") => Kind::Boolean,
        _ => Kind::Any,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn bound(schema: &Value, name: &str) -> Option<u64> {
    schema.get(name).and_then(Value::as_u64)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn mend_unknown(name: &str, known: Vec<&str>) -> String {
    match nearest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean {meant}?"),
        None if known.is_empty() => "remove it; nothing can be written here".to_owned(),
        None => format!("remove it, or write one of {}", known.join(", ")),
    }
}
