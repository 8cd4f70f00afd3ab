//! What is approved, and what not.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde_json::json;

use super::*;
use crate::args::Force;
use crate::sight::fixture::{self, HELD, UNSIGNED};

fn args(hash: Option<&str>, force: bool) -> Approve {
    Approve {
        name: "orders".to_owned(),
        hash: hash.map(str::to_owned),
        force: Force { force },
    }
}

#[test]
fn nothing_is_written_before_the_hash_was_typed() {
    let held = fixture::sight(HELD).component;
    let (answer, change) = decide(&held, &args(None, false)).unwrap();
    assert!(change.is_none() && matches!(answer, Answer::Waits { .. }));
    assert!(
        answer.to_string().contains("connect api.example.com"),
        "{answer}"
    );
}

#[test]
fn only_the_hash_that_waits_is_approved() {
    let held = fixture::sight(HELD).component;
    assert!(decide(&held, &args(Some("feedfeed"), true)).is_err());
    let (_, change) = decide(&held, &args(Some("0123456789ab"), false)).unwrap();
    assert!(change.is_some());
}

#[test]
fn where_nothing_waits_nothing_is_approved() {
    let other = fixture::sight(UNSIGNED).component;
    assert!(decide(&other, &args(Some("0123456789ab"), true)).is_err());
    assert!(matches!(
        decide(&other, &args(None, false)),
        Ok((Answer::Nothing { .. }, None))
    ));
}

#[test]
fn a_field_that_git_keeps_is_left_to_git() {
    let mut held = fixture::sight(HELD).component;
    held.metadata.managed_fields = Some(vec![ManagedFieldsEntry {
        manager: Some("kustomize-controller".to_owned()),
        operation: Some("Apply".to_owned()),
        fields_v1: Some(FieldsV1(
            json!({"f:spec": {"f:rollout": {"f:approve": {}}}}),
        )),
        ..ManagedFieldsEntry::default()
    }]);
    let refused = decide(&held, &args(Some("0123456789ab"), false)).unwrap_err();
    assert!(
        refused.to_string().contains("kustomize-controller"),
        "{refused}"
    );
    assert!(decide(&held, &args(Some("0123456789ab"), true)).is_ok());
}
