//! The JSON of `authorities`: who may sign, by key or by identity.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::super::PolicyError;
use super::super::authority::{Authority, Identity, Signatory};
use super::super::pattern::TextPattern;
use super::check_count;
use crate::evidence::TransparencyLog;
use crate::limits::{AUTHORITIES_MAX, IDENTITIES_MAX};
use crate::root::RootReference;
use crate::signature::PublicKey;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AuthorityDocument {
    name: String,
    #[serde(default)]
    key: Option<KeyDocument>,
    #[serde(default)]
    keyless: Option<KeylessDocument>,
    ctlog: TransparencyLogDocument,
    #[serde(default)]
    may_grant: Option<MayGrantDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyDocument {
    data: String,
    #[serde(default)]
    trusted_root: Option<TrustedRootDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeylessDocument {
    identities: Vec<IdentityDocument>,
    #[serde(default)]
    trusted_root: Option<TrustedRootDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityDocument {
    #[serde(default)]
    issuer: Option<String>,
    #[serde(default, rename = "issuerRegExp")]
    issuer_expression: Option<String>,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default, rename = "subjectRegExp")]
    subject_expression: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TrustedRootDocument {
    config_map_key_ref: ConfigMapKeyDocument,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigMapKeyDocument {
    name: String,
    key: String,
}

/// What a transparency log has to say about a signature. It has to be written,
/// so that nobody believes a log was asked that was not.
#[derive(Deserialize)]
enum TransparencyLogDocument {
    Required,
    Ignore,
}

/// What an authority may say beyond that it approves.
#[derive(Deserialize)]
enum MayGrantDocument {
    Manifest,
}

pub(super) fn read(documents: Vec<AuthorityDocument>) -> Result<Vec<Authority>, PolicyError> {
    check_count("authorities", documents.len(), AUTHORITIES_MAX)?;
    let mut names = BTreeSet::new();
    documents
        .into_iter()
        .map(|document| {
            let AuthorityDocument {
                name,
                key,
                keyless,
                ctlog,
                may_grant,
            } = document;
            if !names.insert(name.clone()) {
                return Err(PolicyError::new(format!(
                    "authorities: two are named {name:?}; give each its own name"
                )));
            }
            Ok(Authority {
                signatory: signatory(&name, key, keyless)?,
                log: match ctlog {
                    TransparencyLogDocument::Required => TransparencyLog::Required,
                    TransparencyLogDocument::Ignore => TransparencyLog::Ignore,
                },
                may_grant_manifest: matches!(may_grant, Some(MayGrantDocument::Manifest)),
                name,
            })
        })
        .collect()
}

fn signatory(
    name: &str,
    key: Option<KeyDocument>,
    keyless: Option<KeylessDocument>,
) -> Result<Signatory, PolicyError> {
    match (key, keyless) {
        (Some(KeyDocument { data, trusted_root }), None) => {
            let key = PublicKey::from_pem(&data).map_err(|error| {
                PolicyError::new(format!("authorities: key.data of {name:?}: {error}"))
            })?;
            Ok(Signatory::Key {
                key,
                root: trusted_root.map(RootReference::from),
            })
        }
        (
            None,
            Some(KeylessDocument {
                identities,
                trusted_root,
            }),
        ) => Ok(Signatory::Keyless {
            identities: read_identities(name, identities)?,
            root: trusted_root.map(RootReference::from),
        }),
        _ => Err(PolicyError::new(format!(
            "authorities: {name:?} needs exactly one of key and keyless; write the key, or the identities, or two authorities"
        ))),
    }
}

fn read_identities(
    name: &str,
    documents: Vec<IdentityDocument>,
) -> Result<Vec<Identity>, PolicyError> {
    let field = format!("authorities: keyless.identities of {name:?}");
    check_count(&field, documents.len(), IDENTITIES_MAX)?;
    if documents.is_empty() {
        // Without one, everybody with an account anywhere could sign.
        return Err(PolicyError::new(format!(
            "{field}: is empty; add the issuer and subject of whoever signs"
        )));
    }
    documents
        .into_iter()
        .map(|document| {
            Ok(Identity {
                issuer: pattern(
                    &format!("{field}: issuer"),
                    document.issuer,
                    document.issuer_expression,
                )?,
                subject: pattern(
                    &format!("{field}: subject"),
                    document.subject,
                    document.subject_expression,
                )?,
            })
        })
        .collect()
}

fn pattern(
    field: &str,
    exact: Option<String>,
    expression: Option<String>,
) -> Result<TextPattern, PolicyError> {
    match (exact, expression) {
        (Some(text), None) => TextPattern::exact(field, text),
        (None, Some(source)) => TextPattern::expression(&format!("{field}RegExp"), source),
        _ => Err(PolicyError::new(format!(
            "{field}: exactly one of it and its RegExp has to be given; write the exact text, or the expression"
        ))),
    }
}

impl From<TrustedRootDocument> for RootReference {
    fn from(document: TrustedRootDocument) -> Self {
        let ConfigMapKeyDocument { name, key } = document.config_map_key_ref;
        Self {
            config_map: name,
            key,
        }
    }
}
