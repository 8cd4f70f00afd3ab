//! Who may sign: a key that somebody keeps, or identities that short-lived
//! certificates are made out for.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bound;

/// Somebody who may sign.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.key) != has(self.keyless)")
    .message("needs exactly one of key and keyless; write the key, or the identities, or two authorities"))]
pub struct Authority {
    /// Name of the authority, shown as the signer.
    #[schemars(length(min = 1, max = bound::LABEL))]
    pub name: String,
    /// The key the authority signs with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
    /// The identities the authority signs as, with certificates that live for minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyless: Option<Keyless>,
    /// Whether the signature must be proven to be in a transparency log. It must be
    /// written, so that nobody believes a log was asked that was not. With Ignore, a
    /// certificate still needs a time that a log or a timestamp authority proves.
    pub ctlog: TransparencyLog,
    /// What the authority may say beyond that it approves. Manifest: attestations of type
    /// https://lighterman.dev/manifest/v1 by it are manifests of the component; they hold
    /// together with the one in the component. Absent: its attestations are no manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_grant: Option<MayGrant>,
}

/// A public key.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublicKey {
    /// The key in PEM, as in cosign.pub.
    #[schemars(length(min = 1, max = bound::PEM))]
    #[x_kube(validation = Rule::new("self.contains('-----BEGIN PUBLIC KEY-----')").message("must be a public key in PEM; write the content of cosign.pub"))]
    pub data: String,
    /// Whose transparency logs and timestamp authorities count for this key. Absent:
    /// those of sigstore's public-good instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_root: Option<TrustedRoot>,
}

/// Identities that certificates are made out for.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keyless {
    /// Who may sign; one of them is enough.
    #[schemars(length(min = 1, max = bound::IDENTITIES))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub identities: Vec<Identity>,
    /// Which certificate authorities and logs count. Absent: those of sigstore's
    /// public-good instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_root: Option<TrustedRoot>,
}

/// An identity, and who vouches for it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.issuer) != has(self.issuerRegExp)")
        .message("needs exactly one of issuer and issuerRegExp; write for example issuer: https://token.actions.githubusercontent.com"),
    validation = Rule::new("has(self.subject) != has(self.subjectRegExp)")
        .message("needs exactly one of subject and subjectRegExp; write for example subjectRegExp: https://github.com/acme/.*")
)]
pub struct Identity {
    /// The OIDC issuer that vouches for the identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bound::IDENTITY))]
    pub issuer: Option<String>,
    /// A regular expression that the whole issuer has to match; anchors are added.
    #[serde(
        default,
        rename = "issuerRegExp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 1, max = bound::IDENTITY))]
    pub issuer_reg_exp: Option<String>,
    /// The identity: an e-mail address or a URI, as the certificate has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bound::IDENTITY))]
    pub subject: Option<String>,
    /// A regular expression that the whole subject has to match; anchors are added.
    #[serde(
        default,
        rename = "subjectRegExp",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 1, max = bound::IDENTITY))]
    pub subject_reg_exp: Option<String>,
}

/// Where a trusted_root.json is.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustedRoot {
    /// A key of a ConfigMap in the namespace that Lighterman is installed in.
    pub config_map_key_ref: TrustedRootKey,
}

/// A key of a ConfigMap in the namespace that Lighterman is installed in.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedRootKey {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = bound::NAME))]
    pub name: String,
    /// Key within its data, such as trusted_root.json.
    #[schemars(length(min = 1, max = bound::VARIABLE_NAME))]
    pub key: String,
}

/// What an authority may say beyond that it approves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
pub enum MayGrant {
    /// What a component asks for.
    Manifest,
    /// A right of a later version. Nothing is admitted under it.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Whether the signature must be in a transparency log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
pub enum TransparencyLog {
    /// It must, with a proof.
    Required,
    /// No log is asked.
    Ignore,
    /// A demand of a later version. Nothing is admitted under it.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
