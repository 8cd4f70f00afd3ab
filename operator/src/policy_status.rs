//! The status of a policy of either kind: whether it can be applied, and what it means
//! for the components.
//!
//! Written on transitions only. Knows nothing of what a policy decides; `trust_policy`
//! and `capability_policy` say that.

use std::fmt::Debug;

use crds::Reason;
use crds::condition::{self, ConditionStatus, ConditionType};
use crds::policy_status::PolicyStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::mirror::Mirror;
use crate::writer::Writer;

/// The one label of namespaces that nobody can set: the API server keeps it.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// What one policy means for the components of the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Components that it covers.
    pub components: usize,
    /// Those of them that it refuses, or would.
    pub refused: usize,
}

/// Whether a policy can be applied, and why.
pub(crate) type Accepted = (ConditionStatus, Reason, String);

/// What is to be said of a policy. Without a `tally` the numbers stay as they were.
pub(crate) fn status(
    generation: Option<i64>,
    before: Option<&PolicyStatus>,
    (accepted, reason, message): Accepted,
    tally: Option<Tally>,
    now: Timestamp,
) -> PolicyStatus {
    let mut conditions = vec![condition::condition(
        ConditionType::Accepted,
        accepted,
        reason,
        message,
        generation,
        now,
    )];
    let before = before.cloned().unwrap_or_default();
    condition::keep_times(&before.conditions, &mut conditions);
    let int = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let (components, refused) = match tally {
        Some(tally) => (int(tally.components), int(tally.refused)),
        None => (before.components, before.refused),
    };
    PolicyStatus {
        observed_generation: generation,
        components,
        refused,
        conditions,
    }
}

/// That a policy which can be applied is, or only watched.
pub(crate) fn in_force(decides: bool, selector: Option<&LabelSelector>) -> String {
    let mut message = if decides {
        "in force".to_owned()
    } else {
        "decides nothing; status.wouldRefuse of each component says what it would refuse".to_owned()
    };
    if let Some(label) = selector.and_then(editable) {
        message.push_str(&format!(
            "; whoever may set the label {label} of a namespace decides whether it is covered, select by {NAMESPACE_LABEL} to prevent that"
        ));
    }
    message
}

/// Writes `status` unless it is what the policy says already.
pub(crate) async fn write<K>(
    writer: &Writer,
    api: &Api<K>,
    policies: &Mirror<K>,
    policy: &K,
    before: Option<&PolicyStatus>,
    status: &PolicyStatus,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    if before.is_some_and(|before| same(before, status)) {
        return;
    }
    let (kind, name) = (K::kind(&()), policy.name_any());
    let body = serde_json::json!({
        "apiVersion": crds::API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "uid": policy.uid()},
        "status": status,
    });
    match writer.apply_status(api, &name, &body).await {
        Ok(written) => policies.written(written),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(%kind, policy = name, error, "a policy's status was not written");
        }
    }
}

fn same(before: &PolicyStatus, after: &PolicyStatus) -> bool {
    let plain = |status: &PolicyStatus| PolicyStatus {
        conditions: Vec::new(),
        ..status.clone()
    };
    plain(before) == plain(after) && condition::same(&before.conditions, &after.conditions)
}

/// A label that somebody may set, and that decides what the policy covers.
fn editable(selector: &LabelSelector) -> Option<&str> {
    let labels = selector.match_labels.iter().flatten().map(|(key, _)| key);
    let expressions = selector.match_expressions.iter().flatten();
    labels
        .chain(expressions.map(|expression| &expression.key))
        .find(|key| *key != NAMESPACE_LABEL)
        .map(String::as_str)
}
