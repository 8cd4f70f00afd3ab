//! The JSON of `attestations`: predicate types and conditions over predicates.

use serde::Deserialize;

use super::super::PolicyError;
use super::super::attestation::{Accepts, AttestationDemand, Condition};
use super::super::pattern::TextGlob;
use super::check_count;
use crate::limits::{ATTESTATIONS_MAX, CONDITION_TEXT_MAX, CONDITIONS_MAX};
use crate::signature::COSIGN_SIGN;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AttestationDocument {
    predicate_type: String,
    #[serde(default)]
    conditions: Vec<ConditionDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionDocument {
    field: String,
    #[serde(default)]
    equals: Option<Vec<String>>,
    #[serde(default)]
    matches: Option<Vec<String>>,
}

pub(super) fn read(
    documents: Vec<AttestationDocument>,
) -> Result<Vec<AttestationDemand>, PolicyError> {
    check_count("attestations", documents.len(), ATTESTATIONS_MAX)?;
    documents
        .into_iter()
        .map(|document| {
            let AttestationDocument {
                predicate_type,
                conditions,
            } = document;
            check_length("attestations: predicateType", &predicate_type)?;
            if predicate_type == COSIGN_SIGN {
                return Err(PolicyError::new(format!(
                    "attestations: predicateType {COSIGN_SIGN} is that of a signature, which authorities ask for already; remove the entry"
                )));
            }
            let field = format!("attestations: conditions of {predicate_type:?}");
            check_count(&field, conditions.len(), CONDITIONS_MAX)?;
            let conditions = conditions
                .into_iter()
                .map(|condition| read_condition(&field, condition))
                .collect::<Result<_, _>>()?;
            Ok(AttestationDemand {
                predicate_type,
                conditions,
            })
        })
        .collect()
}

fn read_condition(at: &str, document: ConditionDocument) -> Result<Condition, PolicyError> {
    let ConditionDocument {
        field,
        equals,
        matches,
    } = document;
    check_length(&format!("{at}: field"), &field)?;
    if !is_pointer(&field) {
        return Err(PolicyError::new(format!(
            "{at}: field {field:?} is no JSON pointer into the predicate; write for example /runDetails/builder/id"
        )));
    }
    let checked = |values: Vec<String>| {
        let values_field = format!("{at}: values of {field}");
        check_count(&values_field, values.len(), CONDITIONS_MAX)?;
        for value in &values {
            check_length(&values_field, value)?;
        }
        Ok(values)
    };
    let accepts = match (equals, matches) {
        (Some(values), None) if !values.is_empty() => Accepts::Equals(checked(values)?),
        (None, Some(globs)) if !globs.is_empty() => Accepts::Matches(
            checked(globs)?
                .into_iter()
                .map(|glob| {
                    let compiled = TextGlob::new(&format!("{at}: matches of {field}"), &glob)?;
                    Ok((glob, compiled))
                })
                .collect::<Result<_, _>>()?,
        ),
        _ => {
            return Err(PolicyError::new(format!(
                "{at}: field {field} needs exactly one of equals and matches, with at least one value; write the values it may have"
            )));
        }
    };
    Ok(Condition { field, accepts })
}

/// RFC 6901: every step begins with `/`, and `~` is written `~0`, `/` within a
/// step `~1`.
fn is_pointer(text: &str) -> bool {
    let mut escapes = text.split('~');
    escapes.next();
    text.starts_with('/') && escapes.all(|rest| rest.starts_with(['0', '1']))
}

fn check_length(field: &str, text: &str) -> Result<(), PolicyError> {
    if (1..=CONDITION_TEXT_MAX).contains(&text.len()) {
        return Ok(());
    }
    Err(PolicyError::new(format!(
        "{field} takes {} bytes, and has to take 1 to {CONDITION_TEXT_MAX}; correct it",
        text.len()
    )))
}
