//! What a door offers, as an OpenAPI 3.1 document: what `GET /openapi.json` answers.
//!
//! Made once when the component is loaded. Names of types are not in a component's machine code,
//! so each type stands where it is used. Says exactly what `typed` reads and writes.

use crate::typed::{Function, Shape, Signature};
use serde_json::{Map, Value, json};

/// The document of these functions, each with its path.
pub(super) fn document(component: &str, functions: &[(String, &Function)]) -> String {
    let mut paths = Map::new();
    for (path, function) in functions {
        if let Ok(signature) = function.signature() {
            paths.insert(
                format!("/{path}"),
                json!({"post": operation(function, signature)}),
            );
        }
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {"title": component, "version": "1"},
        "paths": paths,
        "components": {
            "schemas": {
                "Problem": {
                    "type": "object",
                    "description": "Why there is no answer of the component.",
                    "properties": {
                        "reason": {"type": "string"},
                        "message": {"type": "string"},
                        "path": {"type": "string", "description": "Where in the request's JSON, as $.point.x"},
                    },
                    "required": ["reason", "message"],
                },
            },
        },
    });
    document.to_string()
}

fn operation(function: &Function, signature: &Signature) -> Value {
    let mut responses = Map::new();
    let mut answer = |status: &str, description: &str, schema: Value| {
        let content = json!({"application/json": {"schema": schema}});
        let answer = json!({"description": description, "content": content});
        responses.insert(status.to_owned(), answer);
    };
    match &signature.result {
        Some(Shape::Result(ok, err)) => {
            answer("200", "What is ok.", payload(ok.as_deref()));
            answer("422", "What is not.", member("err", err.as_deref()));
        }
        other => answer("200", "What it gives.", payload(other.as_ref())),
    }
    let problem = json!({"$ref": "#/components/schemas/Problem"});
    answer("default", "There is no answer of the component.", problem);
    let interface = function.interface().unwrap_or_default();
    json!({
        "operationId": format!("{interface}#{}", function.name()),
        "summary": format!("{}: {signature}", function.name()),
        "requestBody": {
            "required": true,
            "content": {"application/json": {"schema": schema(&signature.parameters)}},
        },
        "responses": responses,
    })
}

/// What JSON has to be to be a value of a shape.
fn schema(shape: &Shape) -> Value {
    match shape {
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Int(int) => {
            let (least, most) = int.range();
            // All of them are integers of JSON as it is written here.
            let bound = |number: i128| {
                let unsigned = u64::try_from(number).map(Value::from);
                unsigned.or_else(|_| i64::try_from(number).map(Value::from))
            };
            let mut schema = json!({"type": "integer"});
            for (name, number) in [("minimum", least), ("maximum", most)] {
                if let Ok(number) = bound(number) {
                    insert(&mut schema, name, number);
                }
            }
            schema
        }
        Shape::F32 => float("float"),
        Shape::F64 => float("double"),
        Shape::Char => json!({"type": "string", "minLength": 1, "maxLength": 1}),
        Shape::String => json!({"type": "string"}),
        Shape::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Shape::List(element) => json!({"type": "array", "items": schema(element)}),
        Shape::Tuple(parts) => json!({
            "type": "array",
            "prefixItems": parts.iter().map(schema).collect::<Vec<_>>(),
            "minItems": parts.len(),
            "maxItems": parts.len(),
        }),
        Shape::Record(fields) => {
            let properties: Map<String, Value> = fields
                .iter()
                .map(|(name, shape)| (String::from(&**name), schema(shape)))
                .collect();
            let required = fields
                .iter()
                .filter(|(_, shape)| !matches!(shape, Shape::Option(_)));
            let required: Vec<&str> = required.map(|(name, _)| &**name).collect();
            json!({
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": false,
            })
        }
        Shape::Variant(cases) => {
            let cases = cases.iter();
            let cases = cases.map(|(name, payload)| member(name, payload.as_ref()));
            json!({"oneOf": cases.collect::<Vec<_>>()})
        }
        Shape::Enum(names) => json!({"type": "string", "enum": names}),
        Shape::Flags(names) => json!({
            "type": "array",
            "items": {"type": "string", "enum": names},
            "uniqueItems": true,
        }),
        Shape::Option(inner) => {
            let some = match **inner {
                Shape::Option(_) => member("some", Some(inner)),
                _ => schema(inner),
            };
            json!({"oneOf": [some, {"type": "null"}]})
        }
        Shape::Result(ok, err) => json!({
            "oneOf": [member("ok", ok.as_deref()), member("err", err.as_deref())],
        }),
    }
}

fn float(format: &str) -> Value {
    json!({
        "oneOf": [
            {"type": "number", "format": format},
            {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]},
        ],
    })
}

/// What stands where a payload may be.
fn payload(shape: Option<&Shape>) -> Value {
    shape.map_or_else(|| json!({"type": "null"}), schema)
}

/// An object of one member.
fn member(name: &str, shape: Option<&Shape>) -> Value {
    let mut properties = Map::new();
    properties.insert(name.to_owned(), payload(shape));
    json!({
        "type": "object",
        "properties": properties,
        "required": [name],
        "additionalProperties": false,
    })
}

fn insert(schema: &mut Value, name: &str, value: Value) {
    if let Some(members) = schema.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}
