//! Kubernetes' label selector (metav1 LabelSelector): all of `matchLabels` and
//! all of `matchExpressions`. Pure; used by trust policies to select
//! namespaces.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::PolicyError;

/// A selector that was checked when it was read. Empty, it selects everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Selector(Vec<Requirement>);

#[derive(Debug, Clone)]
enum Requirement {
    In { key: String, values: Vec<String> },
    NotIn { key: String, values: Vec<String> },
    Exists { key: String },
    DoesNotExist { key: String },
}

/// As it stands in the policy.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SelectorDocument {
    #[serde(default)]
    match_labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    match_expressions: Option<Vec<ExpressionDocument>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpressionDocument {
    key: String,
    operator: String,
    #[serde(default)]
    values: Option<Vec<String>>,
}

impl Selector {
    /// Whether a namespace with these labels is selected.
    pub(super) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels))
    }

    pub(super) fn read(document: SelectorDocument) -> Result<Self, PolicyError> {
        let labels = document
            .match_labels
            .into_iter()
            .flatten()
            .map(|(key, value)| {
                Ok(Requirement::In {
                    key,
                    values: vec![value],
                })
            });
        let expressions = document
            .match_expressions
            .into_iter()
            .flatten()
            .map(Requirement::read);
        Ok(Self(labels.chain(expressions).collect::<Result<_, _>>()?))
    }
}

impl Requirement {
    fn read(document: ExpressionDocument) -> Result<Self, PolicyError> {
        let ExpressionDocument {
            key,
            operator,
            values,
        } = document;
        let values = values.unwrap_or_default();
        match (operator.as_str(), values.is_empty()) {
            ("In", false) => Ok(Self::In { key, values }),
            ("NotIn", false) => Ok(Self::NotIn { key, values }),
            ("Exists", true) => Ok(Self::Exists { key }),
            ("DoesNotExist", true) => Ok(Self::DoesNotExist { key }),
            ("In" | "NotIn", true) => Err(PolicyError::new(format!(
                "namespaceSelector: operator {operator} on {key:?} needs values; give at least one"
            ))),
            ("Exists" | "DoesNotExist", false) => Err(PolicyError::new(format!(
                "namespaceSelector: operator {operator} on {key:?} takes no values; leave them out"
            ))),
            _ => Err(PolicyError::new(format!(
                "namespaceSelector: {operator:?} is no operator; use In, NotIn, Exists or DoesNotExist"
            ))),
        }
    }

    /// As in Kubernetes, `NotIn` holds for a namespace without the label.
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In { key, values } => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn { key, values } => {
                labels.get(key).is_none_or(|value| !values.contains(value))
            }
            Self::Exists { key } => labels.contains_key(key),
            Self::DoesNotExist { key } => !labels.contains_key(key),
        }
    }
}
