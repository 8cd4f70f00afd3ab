//! Node affinity (core/v1 `NodeAffinity`), parsed once and matched against labels.
//!
//! Pure. `component::validate` parses, the planner asks. Differs from the pod
//! scheduler in one way: a node that no longer matches what is required loses its
//! replicas, surge first, because a placement is decided anew at every look.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::api::core::v1::{NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm};

/// Which nodes are required, and which are preferred among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Affinity {
    /// One of these must match; `None` requires nothing.
    required: Option<Vec<Term>>,
    /// What each match adds to a node's score.
    preferred: Vec<(i64, Term)>,
}

/// Why a node affinity cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AffinityError {
    /// Fields are matched by no component: `metadata.name` is the only one there is.
    #[error("matchFields is not supported; match the label kubernetes.io/hostname instead")]
    Fields,
    /// An operator, or its values.
    #[error(
        "{key} {operator} is no requirement: In and NotIn take values, Exists and DoesNotExist none, Gt and Lt one whole number"
    )]
    Requirement {
        /// The label's key.
        key: String,
        /// The operator as written.
        operator: String,
    },
}

/// Requirements that must all hold. One without any matches nothing, as in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    DoesNotExist,
    Greater(i64),
    Less(i64),
}

impl Affinity {
    /// Reads what a component asks for.
    ///
    /// # Errors
    /// `AffinityError`; the API server's schema lets none of them through.
    pub fn parse(affinity: &NodeAffinity) -> Result<Self, AffinityError> {
        let required = affinity
            .required_during_scheduling_ignored_during_execution
            .as_ref()
            .map(|selector| selector.node_selector_terms.iter().map(Term::parse))
            .map(Iterator::collect::<Result<_, _>>)
            .transpose()?;
        let preferred = affinity
            .preferred_during_scheduling_ignored_during_execution
            .iter()
            .flatten()
            .map(|term| Ok((i64::from(term.weight), Term::parse(&term.preference)?)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            required,
            preferred,
        })
    }

    /// Whether a node with these labels may run the component.
    pub(super) fn admits(&self, labels: &BTreeMap<String, String>) -> bool {
        self.required
            .as_ref()
            .is_none_or(|terms| terms.iter().any(|term| term.matches(labels)))
    }

    /// The sum of the weights of the preferences that a node meets.
    pub(super) fn score(&self, labels: &BTreeMap<String, String>) -> i64 {
        self.preferred
            .iter()
            .filter(|(_, term)| term.matches(labels))
            .fold(0, |sum: i64, (weight, _)| sum.saturating_add(*weight))
    }

    /// What is required, for a message.
    pub(super) fn requirement(&self) -> String {
        let terms = self.required.iter().flatten().map(Term::to_string);
        terms.collect::<Vec<_>>().join(" or ")
    }
}

impl Term {
    fn parse(term: &NodeSelectorTerm) -> Result<Self, AffinityError> {
        if term.match_fields.as_ref().is_some_and(|of| !of.is_empty()) {
            return Err(AffinityError::Fields);
        }
        let expressions = term.match_expressions.iter().flatten();
        Ok(Self(
            expressions
                .map(Requirement::parse)
                .collect::<Result<_, _>>()?,
        ))
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.0.is_empty() && self.0.iter().all(|requirement| requirement.matches(labels))
    }
}

impl Requirement {
    fn parse(written: &NodeSelectorRequirement) -> Result<Self, AffinityError> {
        let values = written.values.as_deref().unwrap_or_default();
        let set = || values.iter().cloned().collect();
        let number = || match values {
            [value] => value.parse().ok(),
            _ => None,
        };
        let test = match written.operator.as_str() {
            "In" if !values.is_empty() => Some(Test::In(set())),
            "NotIn" if !values.is_empty() => Some(Test::NotIn(set())),
            "Exists" if values.is_empty() => Some(Test::Exists),
            "DoesNotExist" if values.is_empty() => Some(Test::DoesNotExist),
            "Gt" => number().map(Test::Greater),
            "Lt" => number().map(Test::Less),
            _ => None,
        };
        let key = written.key.clone();
        match test {
            Some(test) => Ok(Self { key, test }),
            None => Err(AffinityError::Requirement {
                key,
                operator: written.operator.clone(),
            }),
        }
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            // As in Kubernetes, a label that is missing is not among them.
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
            Test::Greater(bound) => number().is_some_and(|number| number > *bound),
            Test::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed: Vec<String> = self.0.iter().map(Requirement::to_string).collect();
        f.write_str(&listed.join(" and "))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, test } = self;
        let list = |values: &BTreeSet<String>| {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            values.join(", ")
        };
        match test {
            Test::In(values) => write!(f, "{key} in ({})", list(values)),
            Test::NotIn(values) => write!(f, "{key} not in ({})", list(values)),
            Test::Exists => write!(f, "{key}"),
            Test::DoesNotExist => write!(f, "no {key}"),
            Test::Greater(bound) => write!(f, "{key} > {bound}"),
            Test::Less(bound) => write!(f, "{key} < {bound}"),
        }
    }
}
