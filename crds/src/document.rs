//! Objects from files, read as strictly as an API server with
//! `fieldValidation=Strict` reads them, and with better messages.
//!
//! For `lighterman run` and `lighterman check`, which have no API server. Every
//! document is compared with the schema of its kind, so that a misspelt field is
//! named with the one that was meant instead of being dropped.

mod nearest;
mod shape;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::CustomResourceExt;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::definition;
use crate::{
    API_VERSION, CapabilityPolicy, TrustPolicy, WasmComponent, capability_policy, component,
    problem, trust_policy,
};

/// One object of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// A component.
    WasmComponent(Box<WasmComponent>),
    /// A trust policy.
    TrustPolicy(Box<TrustPolicy>),
    /// A capability policy.
    CapabilityPolicy(Box<CapabilityPolicy>),
    /// A core Secret.
    Secret(Box<Secret>),
    /// A core ConfigMap.
    ConfigMap(Box<ConfigMap>),
}

/// One fault of a file, with its mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("document {}: {field} {message}; {mend}", document + 1)]
pub struct Problem {
    /// Index of the document in the file, from 0.
    pub document: usize,
    /// Path of the field at fault.
    pub field: String,
    /// What is wrong with it, to be read after the field.
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

/// Kinds that a file may hold.
const KINDS: [&str; 5] = [
    "WasmComponent",
    "TrustPolicy",
    "CapabilityPolicy",
    "Secret",
    "ConfigMap",
];

/// Reads the objects of a file: their shape, not yet the rules between fields.
///
/// # Errors
/// Every fault that was found, with its mend.
pub fn parse(text: &str) -> Result<Vec<Document>, Vec<Problem>> {
    let values: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| vec![syntax(text, &error)])?;
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    for (index, value) in values.iter().filter(|value| !value.is_null()).enumerate() {
        match read(value) {
            Ok(document) => documents.push(document),
            Err(found) => problems.extend(in_document(index, found)),
        }
    }
    if problems.is_empty() {
        Ok(documents)
    } else {
        Err(problems)
    }
}

/// Reads the objects of a file and applies every rule that the API server would.
///
/// # Errors
/// Every fault that was found, with its mend.
pub fn check(text: &str) -> Result<Vec<Document>, Vec<Problem>> {
    let documents = parse(text)?;
    let problems: Vec<Problem> = documents
        .iter()
        .enumerate()
        .flat_map(|(index, document)| in_document(index, document.problems()))
        .collect();
    if problems.is_empty() {
        Ok(documents)
    } else {
        Err(problems)
    }
}

impl Document {
    /// Every rule between fields that the object breaks.
    pub fn problems(&self) -> Vec<problem::Problem> {
        match self {
            Self::WasmComponent(component) => component::problems(component),
            Self::TrustPolicy(policy) => trust_policy::problems(policy),
            Self::CapabilityPolicy(policy) => capability_policy::problems(policy),
            Self::Secret(_) | Self::ConfigMap(_) => Vec::new(),
        }
    }
}

fn in_document(document: usize, problems: Vec<problem::Problem>) -> impl Iterator<Item = Problem> {
    problems.into_iter().map(
        move |problem::Problem {
                  field,
                  message,
                  mend,
              }| Problem {
            document,
            field,
            message,
            mend,
        },
    )
}

/// A file that is no YAML: the parser stops there, and says where.
fn syntax(text: &str, error: &serde_saphyr::Error) -> Problem {
    let location = error.location();
    let line = location.map_or(1, |location| location.line());
    let before = text
        .lines()
        .take(usize::try_from(line).unwrap_or(usize::MAX));
    Problem {
        document: documents_ended(before),
        field: match location {
            Some(location) => format!("line {}, column {}", location.line(), location.column()),
            None => "the file".to_owned(),
        },
        message: format!("is no YAML: {}", first_clause(error)),
        mend: "correct it there".to_owned(),
    }
}

fn read(value: &Value) -> Result<Document, Vec<problem::Problem>> {
    let kind = value
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match kind {
        "WasmComponent" => custom(value).map(|read| Document::WasmComponent(Box::new(read))),
        "TrustPolicy" => custom(value).map(|read| Document::TrustPolicy(Box::new(read))),
        "CapabilityPolicy" => custom(value).map(|read| Document::CapabilityPolicy(Box::new(read))),
        "Secret" => core::<Secret>(value).map(|read| Document::Secret(Box::new(read))),
        "ConfigMap" => core::<ConfigMap>(value).map(|read| Document::ConfigMap(Box::new(read))),
        other => {
            let mut problems = problem::Problems::default();
            let message = match other {
                "" => "is missing or no text".to_owned(),
                other => format!("is {other}, which is not read from files"),
            };
            let mend = match nearest::nearest(other, KINDS) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("write one of {}, or remove the document", KINDS.join(", ")),
            };
            problems.add("kind", message, mend);
            Err(problems.into_vec())
        }
    }
}

/// An object of one of our kinds.
fn custom<T: DeserializeOwned + CustomResourceExt>(
    value: &Value,
) -> Result<T, Vec<problem::Problem>> {
    let mut schema = definition::schema(&definition::definition::<T>());
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("apiVersion".to_owned(), json!({"type": "string"}));
        properties.insert("kind".to_owned(), json!({"type": "string"}));
        properties.insert("metadata".to_owned(), core_schema::<ObjectMeta>());
    }
    typed(value, API_VERSION, &schema)
}

/// An object of a kind of Kubernetes itself.
fn core<T: DeserializeOwned + JsonSchema>(value: &Value) -> Result<T, Vec<problem::Problem>> {
    typed(value, "v1", &core_schema::<T>())
}

fn typed<T: DeserializeOwned>(
    value: &Value,
    api_version: &str,
    schema: &Value,
) -> Result<T, Vec<problem::Problem>> {
    let mut problems = problem::Problems::default();
    let found = value
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if found != api_version {
        let message = if found.is_empty() {
            "is missing".to_owned()
        } else {
            format!("is {found}")
        };
        problems.add("apiVersion", message, format!("write {api_version}"));
    }
    let name = value
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if name.is_empty() {
        problems.add("metadata.name", "is missing", "name the object");
    }
    shape::compare(value, schema, &mut problems);
    let problems = problems.into_vec();
    if !problems.is_empty() {
        return Err(problems);
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let field = error.path().to_string();
        // Our own parsers write their mend after a semicolon.
        let text = error.into_inner().to_string();
        let (message, mend) = text
            .split_once("; ")
            .unwrap_or((&text, "write a value of the right form"));
        vec![problem::Problem {
            field,
            message: format!("cannot be read: {message}"),
            mend: mend.to_owned(),
        }]
    })
}

/// The schema of a type of Kubernetes itself.
fn core_schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// How many documents end within these lines; one without content is none.
fn documents_ended<'a>(lines: impl Iterator<Item = &'a str>) -> usize {
    let mut ended = 0;
    let mut has_content = false;
    for line in lines.map(str::trim_end) {
        if line == "---" {
            ended += usize::from(has_content);
            has_content = false;
        } else if !line.is_empty() && !line.starts_with('#') {
            has_content = true;
        }
    }
    ended
}

/// What the parser says, without the place, which is in the field, and without its
/// advice to programmers.
fn first_clause(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or_default();
    let clause = line.split(" at line ").next().unwrap_or_default();
    clause.split(", set ").next().unwrap_or_default().to_owned()
}
