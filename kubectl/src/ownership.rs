//! Who keeps a field as it is: a tool that would put back what is changed by hand.
//!
//! Pure. Read before anything is written: an approval or an undo that a GitOps tool reverts a
//! minute later is worse than none, because it looked as if it had worked.

use crds::names;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

/// Managers of people's own hands, and of this program: whatever their version is called.
const BY_HAND: [&str; 4] = ["kubectl", names::CLI_FIELD_MANAGER, "k9s", "headlamp"];

/// The manager, not a person's hand, that keeps `path` (names of members from the top), or
/// what is above it.
pub(crate) fn kept_by<'a>(managers: &'a [ManagedFieldsEntry], path: &[&str]) -> Option<&'a str> {
    managers
        .iter()
        .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
        .filter(|entry| !is_by_hand(name(entry)))
        .find(|entry| {
            let fields = entry.fields_v1.as_ref();
            fields.is_some_and(|fields| holds(&fields.0, path))
        })
        .map(name)
}

fn name(entry: &ManagedFieldsEntry) -> &str {
    entry.manager.as_deref().unwrap_or_default()
}

fn is_by_hand(manager: &str) -> bool {
    BY_HAND.iter().any(|hand| {
        let rest = manager.strip_prefix(hand);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}

/// Whether a fieldsV1 set has the member at `path`.
fn holds(fields: &Value, path: &[&str]) -> bool {
    path.iter()
        .try_fold(fields, |fields, member| fields.get(format!("f:{member}")))
        .is_some()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::FieldsV1;
    use serde_json::json;

    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            operation: Some(operation.to_owned()),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        }
    }

    const APPROVE: [&str; 3] = ["spec", "rollout", "approve"];

    #[test]
    fn a_tool_that_applies_the_field_keeps_it() {
        let fields = json!({"f:spec": {"f:rollout": {"f:approve": {}}}});
        let managers = [entry("kustomize-controller", "Apply", fields)];
        assert_eq!(kept_by(&managers, &APPROVE), Some("kustomize-controller"));
    }

    #[test]
    fn a_tool_that_applies_other_fields_leaves_this_one() {
        let fields = json!({"f:spec": {"f:image": {}}});
        let managers = [entry("kustomize-controller", "Apply", fields)];
        assert_eq!(kept_by(&managers, &APPROVE), None);
    }

    #[test]
    fn people_may_change_what_people_wrote() {
        let fields = || json!({"f:spec": {"f:rollout": {"f:approve": {}}}});
        let managers = [
            entry("kubectl-client-side-apply", "Update", fields()),
            entry("kubectl", "Apply", fields()),
            entry(names::CLI_FIELD_MANAGER, "Update", fields()),
        ];
        assert_eq!(kept_by(&managers, &APPROVE), None);
    }

    #[test]
    fn what_was_written_through_a_subresource_is_not_kept() {
        let fields = json!({"f:spec": {"f:rollout": {"f:approve": {}}}});
        let mut status = entry("argocd-controller", "Update", fields);
        status.subresource = Some("status".to_owned());
        assert_eq!(kept_by(&[status], &APPROVE), None);
    }
}
