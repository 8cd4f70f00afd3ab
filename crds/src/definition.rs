//! The custom resource definitions of the kinds, as values and as the YAML files
//! that the chart `lighterman-crds` installs.
//!
//! Pure. Called by the `crdgen` binary, by `document` for its messages, and by the
//! operator, which compares them with what the API server serves.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::Value;

use crate::{CapabilityPolicy, ComponentPlacement, TrustPolicy, WasmComponent, WasmNode};

/// The annotation that tells helm what to do with an object it would delete.
const RESOURCE_POLICY: &str = "helm.sh/resource-policy";

/// Why a definition could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no JSON.
    #[error("the definition cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// It is no YAML.
    #[error("the definition cannot be written as YAML")]
    Yaml(#[from] serde_saphyr::SerializeError),
}

/// A file of `crds/generated`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, such as `wasmcomponents.yaml`.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// The definitions of the five kinds, in a stable order.
pub fn definitions() -> [CustomResourceDefinition; 5] {
    [
        definition::<CapabilityPolicy>(),
        definition::<ComponentPlacement>(),
        definition::<TrustPolicy>(),
        definition::<WasmComponent>(),
        definition::<WasmNode>(),
    ]
}

/// The definition of one kind. Not quite what `crd()` derives: see [`settle`].
pub fn definition<K: CustomResourceExt>() -> CustomResourceDefinition {
    let mut definition = K::crd();
    for version in &mut definition.spec.versions {
        let schema = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut());
        if let Some(schema) = schema {
            settle(schema);
        }
    }
    definition
}

/// The files of the five kinds, in a stable order and each with stable content.
///
/// # Errors
/// None that these types can cause.
pub fn files() -> Result<Vec<File>, Error> {
    definitions().iter().map(file).collect()
}

/// The same as templates of the chart `lighterman-crds`: helm leaves them, and with them
/// all that users wrote, when it uninstalls.
///
/// # Errors
/// As [`files`].
pub fn templates() -> Result<Vec<File>, Error> {
    let mut definitions = definitions();
    for definition in &mut definitions {
        definition.metadata.annotations = Some(BTreeMap::from([(
            RESOURCE_POLICY.to_owned(),
            "keep".to_owned(),
        )]));
    }
    definitions.iter().map(file).collect()
}

/// The OpenAPI schema of a kind's only version.
pub(crate) fn schema(definition: &CustomResourceDefinition) -> Value {
    definition
        .spec
        .versions
        .first()
        .and_then(|version| version.schema.as_ref())
        .and_then(|schema| serde_json::to_value(&schema.open_api_v3_schema).ok())
        .unwrap_or_default()
}

fn file(definition: &CustomResourceDefinition) -> Result<File, Error> {
    // By way of a JSON value, whose members are sorted.
    let mut value = serde_json::to_value(definition)?;
    whole_numbers(&mut value);
    let text = serde_saphyr::to_string(&value)?;
    Ok(File {
        name: format!("{}.yaml", definition.spec.names.plural),
        text: format!(
            "# Generated from the types in crds/src; `make crds` writes it again.\n---\n{text}"
        ),
    })
}

/// Takes out of a derived schema what Kubernetes reads differently from JSON Schema.
///
/// An `Option` is derived as `nullable`, under which the API server stores an explicit
/// null and hands it to CEL and to us; without it, it drops the null or fills in the
/// default. And it warns of formats it does not know, such as `uint32`.
fn settle(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    schema.format = schema
        .format
        .take()
        .filter(|format| !format.starts_with("uint"));
    for property in schema.properties.iter_mut().flat_map(BTreeMap::values_mut) {
        settle(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => settle(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(settle),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        settle(values);
    }
}

/// Bounds are floating-point in Kubernetes' types; `65535.0` would be written for a port.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number
                .as_f64()
                .filter(|_| number.is_f64())
                .filter(|float| float.fract() == 0.0);
            // Every bound of ours is far below 2^53, up to which a float counts exactly.
            if let Some(whole) = whole
                .map(|float| format!("{float:.0}"))
                .and_then(|text| text.parse::<i64>().ok())
            {
                *value = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
