//! `TrustPolicy`: which signatures make which images runnable.
//!
//! The platform team writes the spec, the operator the status. Whether a
//! signature is good is for `artifact::verify`, which reads the spec as JSON.

mod authority;
mod demand;
mod validate;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::policy_status::PolicyStatus;
use crate::{bound, schema};
pub use authority::{
    Authority, Identity, Keyless, MayGrant, PublicKey, TransparencyLog, TrustedRoot, TrustedRootKey,
};
pub use demand::{
    Attestation, Deny, MinVersion, PolicyMode, PredicateCondition, Revocation, WhenRunning,
};
pub use validate::problems;

/// Which signatures make which images runnable. All policies that match an image
/// must be satisfied, each by one of its authorities.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "lighterman.dev",
    version = "v1alpha1",
    kind = "TrustPolicy",
    plural = "trustpolicies",
    category = "lighterman",
    status = "PolicyStatus",
    derive = "PartialEq",
    doc = "Which signatures make which images runnable. An image that no policy matches is refused.",
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].status"#,
        description = "Whether the policy can be applied"
    ),
    printcolumn(
        name = "Components",
        type_ = "integer",
        json_path = ".status.components",
        description = "Components whose image the policy covers"
    ),
    printcolumn(
        name = "Refused",
        type_ = "integer",
        json_path = ".status.refused",
        description = "Components that it refuses, or would refuse with mode: Enforce"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the policy was created"
    ),
    printcolumn(
        name = "Images",
        type_ = "string",
        json_path = ".spec.images[*].glob",
        description = "Images that the policy covers",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct TrustPolicySpec {
    /// Images that the policy covers.
    #[schemars(length(min = 1, max = bound::IMAGE_GLOBS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["glob".into()]))]
    pub images: Vec<ImagePattern>,
    /// Namespaces that the policy covers. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// Whether the policy decides. Audit never admits and never refuses; what it would
    /// refuse is reported, so that a policy can be tried before it counts.
    #[serde(default)]
    pub mode: PolicyMode,
    /// What happens to what runs already when the policy no longer admits it. Losing or
    /// emptying a policy stops nothing, and neither does what cannot be checked.
    #[serde(default)]
    pub when_running: WhenRunning,
    /// Who may sign; one of them is enough, unless minimumMatches says otherwise.
    #[schemars(length(min = 1, max = bound::AUTHORITIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub authorities: Vec<Authority>,
    /// How many different keys and identities must have signed. Absent: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bound::MINIMUM_MATCHES))]
    pub minimum_matches: Option<i32>,
    /// Attestations that must be there beside the signature, each made by one of the
    /// authorities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::ATTESTATIONS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["predicateType".into()]))]
    pub attestations: Vec<Attestation>,
    /// What is refused whoever signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<Deny>,
    /// The least versions of components.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::MIN_VERSIONS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub min_versions: Vec<MinVersion>,
    /// Only signatures count that a transparency log or a timestamp authority saw from
    /// this time on. For a key that is as good as they are: whoever may write to them
    /// can show them an old signature as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub not_before: Option<Time>,
    /// Keys whose signatures count no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::REVOKED))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["keyId".into()]))]
    pub revoked: Vec<Revocation>,
}

/// Images that a policy covers.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePattern {
    /// `registry/repository` where `*` stands for part of one segment and a last
    /// `**` for all that is below.
    #[schemars(length(min = 1, max = bound::IMAGE))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9.*-]+(:[0-9]{1,5})?/([a-z0-9._*-]+/)*[a-z0-9._*-]+$')")
            .message("must be registry/repository without tag or digest, such as registry.example/shop/**"),
        validation = Rule::new("!self.matches('[*][*].') && !self.matches('[^/][*][*]')")
            .message("** can only be the last segment, as in registry.example/shop/**")
    )]
    pub glob: String,
}
