//! Attestations that a policy demands: a predicate type, and conditions over the
//! predicate. A condition names one field by its JSON pointer (RFC 6901) and the
//! values it may have, so that it can be read in one way only; there is no
//! expression language. Called by [`super::decide`].

use serde_json::Value;

use super::pattern::TextGlob;

/// One attestation that has to be there.
#[derive(Debug, Clone)]
pub(super) struct AttestationDemand {
    pub(super) predicate_type: String,
    /// All have to be met by one and the same attestation.
    pub(super) conditions: Vec<Condition>,
}

/// What one field of the predicate has to be.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    /// A JSON pointer: `/runDetails/builder/id`.
    pub(super) field: String,
    pub(super) accepts: Accepts,
}

/// One of these is enough.
#[derive(Debug, Clone)]
pub(super) enum Accepts {
    Equals(Vec<String>),
    Matches(Vec<(String, TextGlob)>),
}

impl AttestationDemand {
    /// The first condition that the predicate does not meet, in words.
    pub(super) fn unmet(&self, predicate: &Value) -> Option<String> {
        self.conditions
            .iter()
            .find_map(|condition| condition.unmet(predicate))
    }
}

impl Condition {
    fn unmet(&self, predicate: &Value) -> Option<String> {
        let Self { field, accepts } = self;
        let Some(value) = predicate.pointer(field) else {
            return Some(format!("it has no field {field}"));
        };
        let Some(text) = scalar(value) else {
            return Some(format!(
                "its field {field} is no text, whole number or boolean"
            ));
        };
        let (met, wanted) = match accepts {
            Accepts::Equals(values) => (
                values.contains(&text),
                values.iter().map(String::as_str).collect::<Vec<_>>(),
            ),
            Accepts::Matches(globs) => (
                globs.iter().any(|(_, glob)| glob.matches(&text)),
                globs.iter().map(|(source, _)| source.as_str()).collect(),
            ),
        };
        (!met).then(|| {
            let text: String = text.chars().take(SHOWN_MAX).collect();
            format!(
                "its field {field} is {text:?}, and wanted is {}",
                wanted.join(" or ")
            )
        })
    }
}

/// Characters of a predicate's text that a refusal shows.
const SHOWN_MAX: usize = 256;

/// What a condition can be about, as text. Fractions are left out, because the
/// same one can be written in many ways.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
