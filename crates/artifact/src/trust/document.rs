//! The JSON of a TrustPolicy's spec, and its reading. Strict: a field that is
//! not known here may be a demand that would otherwise go unmet. Called by
//! [`super::Policy::parse`].

mod attestation;
mod authority;

use std::collections::BTreeSet;

use capability::ImageGlob;
use jiff::Timestamp;
use semver::Version;
use serde::Deserialize;
use serde_json::Value;

use super::authority::{Authority, Signatory};
use super::selector::{Selector, SelectorDocument};
use super::version::MinVersion;
use super::{Demand, Mode, Policy, PolicyError, Revocation, WhenRunning};
use crate::Digest;
use crate::limits::{DENIED_MAX, GLOBS_MAX, MIN_VERSIONS_MAX, REVOKED_MAX};
use attestation::AttestationDocument;
use authority::AuthorityDocument;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SpecDocument {
    #[serde(default)]
    images: Option<Vec<ImageDocument>>,
    #[serde(default)]
    namespace_selector: Option<SelectorDocument>,
    #[serde(default)]
    mode: ModeDocument,
    #[serde(default)]
    when_running: WhenRunningDocument,
    #[serde(default)]
    authorities: Option<Vec<AuthorityDocument>>,
    #[serde(default)]
    minimum_matches: Option<usize>,
    #[serde(default)]
    attestations: Vec<AttestationDocument>,
    #[serde(default)]
    deny: DenyDocument,
    #[serde(default)]
    min_versions: Vec<MinVersionDocument>,
    #[serde(default)]
    not_before: Option<Timestamp>,
    #[serde(default)]
    revoked: Vec<RevocationDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageDocument {
    glob: String,
}

#[derive(Deserialize, Default)]
enum ModeDocument {
    #[default]
    Enforce,
    Audit,
}

#[derive(Deserialize, Default)]
enum WhenRunningDocument {
    #[default]
    Report,
    Stop,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct DenyDocument {
    #[serde(default)]
    digests: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MinVersionDocument {
    name: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RevocationDocument {
    key_id: String,
    #[serde(default)]
    after: Option<Timestamp>,
}

pub(super) fn parse(name: &str, spec: &Value) -> Result<Policy, PolicyError> {
    let document = SpecDocument::deserialize(spec).map_err(|error| {
        PolicyError::new(format!(
            "its spec cannot be read: {error}; correct that field"
        ))
    })?;
    let authorities = authority::read(document.authorities.unwrap_or_default())?;
    let demand = Demand {
        minimum_matches: minimum_matches(document.minimum_matches, &authorities)?,
        authorities,
        attestations: attestation::read(document.attestations)?,
        denied: denied(document.deny)?,
        min_versions: min_versions(document.min_versions)?,
        not_before: document.not_before,
        revoked: revoked(document.revoked)?,
    };
    Ok(Policy {
        name: name.to_owned(),
        images: images(document.images.unwrap_or_default())?,
        namespaces: Selector::read(document.namespace_selector.unwrap_or_default())?,
        mode: document.mode.into(),
        when_running: match document.when_running {
            WhenRunningDocument::Report => WhenRunning::Report,
            WhenRunningDocument::Stop => WhenRunning::Stop,
        },
        demand: Ok(demand),
        fingerprint: fingerprint(name, spec),
    })
}

/// What a policy covers that cannot be read as a whole. Each part that cannot
/// be read covers everything.
pub(super) fn coverage(spec: &Value) -> (Vec<ImageGlob>, Selector) {
    let globs = spec
        .get("images")
        .and_then(|value| Vec::<ImageDocument>::deserialize(value).ok())
        .and_then(|documents| images(documents).ok())
        .unwrap_or_else(everything);
    let namespaces = spec
        .get("namespaceSelector")
        .and_then(|value| SelectorDocument::deserialize(value).ok())
        .and_then(|document| Selector::read(document).ok())
        .unwrap_or_default();
    (globs, namespaces)
}

/// The mode of a policy that cannot be read as a whole: it decides, unless it
/// clearly says that it does not.
pub(super) fn mode(spec: &Value) -> Mode {
    spec.get("mode")
        .and_then(|value| ModeDocument::deserialize(value).ok())
        .unwrap_or_default()
        .into()
}

/// Digest of all that a policy's verdicts hang on. `serde_json` keeps the fields
/// of an object in the order of their names.
pub(super) fn fingerprint(name: &str, spec: &Value) -> Digest {
    Digest::of(format!("{name}\n{spec}").as_bytes())
}

fn everything() -> Vec<ImageGlob> {
    EVERYTHING
        .iter()
        .filter_map(|glob| glob.parse().ok())
        .collect()
}

/// Every image of every host.
const EVERYTHING: &[&str] = &["*/**"];

fn images(documents: Vec<ImageDocument>) -> Result<Vec<ImageGlob>, PolicyError> {
    check_count("images", documents.len(), GLOBS_MAX)?;
    documents
        .into_iter()
        .map(|ImageDocument { glob }| {
            glob.parse::<ImageGlob>()
                .map_err(|error| PolicyError::new(format!("images: glob {glob:?}: {error}")))
        })
        .collect()
}

/// A number that no set of signers can reach would refuse everything in silence.
fn minimum_matches(wanted: Option<usize>, authorities: &[Authority]) -> Result<usize, PolicyError> {
    let wanted = wanted.unwrap_or(1);
    if wanted == 0 {
        return Err(PolicyError::new(
            "minimumMatches: 0 would admit what nobody signed; write 1 or more",
        ));
    }
    let mut keys = BTreeSet::new();
    for authority in authorities {
        match &authority.signatory {
            Signatory::Key { key, .. } => keys.insert(key.key_id()),
            // One authority can stand for any number of identities.
            Signatory::Keyless { .. } => return Ok(wanted),
        };
    }
    if wanted > keys.len().max(1) {
        return Err(PolicyError::new(format!(
            "minimumMatches: {wanted} different signers are wanted, and the authorities have {} different keys; add keys or lower it",
            keys.len()
        )));
    }
    Ok(wanted)
}

fn denied(document: DenyDocument) -> Result<BTreeSet<Digest>, PolicyError> {
    check_count("deny.digests", document.digests.len(), DENIED_MAX)?;
    document
        .digests
        .iter()
        .map(|digest| {
            digest
                .parse()
                .map_err(|error| PolicyError::new(format!("deny.digests: {error}")))
        })
        .collect()
}

fn min_versions(documents: Vec<MinVersionDocument>) -> Result<Vec<MinVersion>, PolicyError> {
    check_count("minVersions", documents.len(), MIN_VERSIONS_MAX)?;
    documents
        .into_iter()
        .map(|MinVersionDocument { name, version }| {
            let version = Version::parse(&version).map_err(|error| {
                PolicyError::new(format!(
                    "minVersions: version {version:?} of {name:?}: {error}; write a semantic version such as 1.2.3"
                ))
            })?;
            Ok(MinVersion { name, version })
        })
        .collect()
}

fn revoked(documents: Vec<RevocationDocument>) -> Result<Vec<Revocation>, PolicyError> {
    check_count("revoked", documents.len(), REVOKED_MAX)?;
    documents
        .into_iter()
        .map(|RevocationDocument { key_id, after }| {
            // A misspelt id would revoke nothing.
            if Digest::from_hex(&key_id).is_err() {
                return Err(PolicyError::new(format!(
                    "revoked: keyId {key_id:?} is not the id of a key; write the 64 hexadecimal digits that `lighterman verify` shows for the signer"
                )));
            }
            Ok(Revocation { key_id, after })
        })
        .collect()
}

fn check_count(field: &str, count: usize, limit: usize) -> Result<(), PolicyError> {
    if count <= limit {
        return Ok(());
    }
    Err(PolicyError::new(format!(
        "{field}: {count} entries, and at most {limit} are allowed; split the policy"
    )))
}

impl From<ModeDocument> for Mode {
    fn from(document: ModeDocument) -> Self {
        match document {
            ModeDocument::Enforce => Self::Enforce,
            ModeDocument::Audit => Self::Audit,
        }
    }
}
