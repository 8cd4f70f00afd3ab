//! What the operator says about a policy, of either kind.
//!
//! Knows nothing of what a policy decides. Status of [`crate::TrustPolicy`] and
//! [`crate::CapabilityPolicy`].

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What the operator says about a policy.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Components that the policy covers.
    #[serde(default)]
    pub components: i32,
    /// Those of them that it refuses, or would refuse with mode: Enforce.
    #[serde(default)]
    pub refused: i32,
    /// What holds and what does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
