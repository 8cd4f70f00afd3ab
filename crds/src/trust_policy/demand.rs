//! What a policy demands beside a signature: attestations, versions, times, and
//! what it denies whoever signed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{bound, schema};

/// An attestation that must be there, made by one of the authorities.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attestation {
    /// The predicate type of the in-toto statement, such as `https://slsa.dev/provenance/v1`.
    #[schemars(length(min = 1, max = bound::URL))]
    pub predicate_type: String,
    /// What the predicate must say; one attestation has to meet all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::CONDITIONS_ON_PREDICATE))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["field".into()]))]
    pub conditions: Vec<PredicateCondition>,
}

/// What one field of a predicate must say. Only texts, whole numbers and booleans are
/// compared, each as it is written in JSON without quotes.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.equals) != has(self.matches)").message("needs exactly one of equals and matches; write the values that the field may have"))]
pub struct PredicateCondition {
    /// The field, as a JSON pointer (RFC 6901) into the predicate, such as
    /// `/runDetails/builder/id`.
    #[schemars(length(min = 1, max = bound::URL))]
    #[x_kube(validation = schema::matches("^(/([^~/]|~[01])*)+$", "must be a JSON pointer; write for example /runDetails/builder/id"))]
    pub field: String,
    /// The values it may have, exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bound::CONDITIONS_ON_PREDICATE), inner(length(min = 1, max = bound::URL)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub equals: Option<Vec<String>>,
    /// Patterns of which one must match the whole value: `*` stands for anything but
    /// `/`, `**` for anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bound::CONDITIONS_ON_PREDICATE), inner(length(min = 1, max = bound::URL)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub matches: Option<Vec<String>>,
}

/// What is refused whoever signed it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deny {
    /// Digests of images, `sha256:` and 64 digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::DENIED_DIGESTS), inner(length(max = bound::DIGEST), regex(pattern = "^sha256:[0-9a-f]{64}$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub digests: Vec<String>,
}

/// The least version of a component, against going back to an old one that was once
/// signed. Name and version are those that the component has in itself, which is
/// what the signature covers; `lighterman inspect` shows them.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinVersion {
    /// The component's own name.
    #[schemars(length(min = 1, max = bound::NAME))]
    pub name: String,
    /// The least version, as semver.org has it.
    #[schemars(length(min = 1, max = bound::VERSION))]
    #[x_kube(validation = schema::matches("^[0-9]+[.][0-9]+[.][0-9]+([-+][0-9A-Za-z.+-]+)?$", "must be a semantic version; write for example 1.2.3"))]
    pub version: String,
}

/// A key whose signatures count no more.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// The key: sha256 of its SPKI in DER as 64 hexadecimal digits, which
    /// `lighterman verify` shows for every signer.
    #[schemars(length(max = bound::KEY_ID))]
    #[x_kube(validation = schema::matches("^[0-9a-f]{64}$", "must be the 64 hexadecimal digits of a key's sha256; lighterman verify shows them"))]
    pub key_id: String,
    /// Signatures that a log or a timestamp authority proves to be older go on
    /// counting. Absent: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub after: Option<Time>,
}

/// Whether a policy decides, or only says what it would decide.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum PolicyMode {
    /// It decides.
    #[default]
    Enforce,
    /// It never admits and never refuses; what it would refuse is reported.
    Audit,
    /// A mode of a later version. It decides, and admits nothing.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// What happens to what runs already when the policy no longer admits it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum WhenRunning {
    /// It is reported and goes on.
    #[default]
    Report,
    /// It is stopped.
    Stop,
    /// A choice of a later version. Nothing is admitted under it, and nothing stopped.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
