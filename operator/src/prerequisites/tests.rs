//! What counts as missing, without a cluster.

use serde_json::json;

use super::*;

/// The definitions as an API server that has them serves them.
fn served() -> Value {
    let schemas: serde_json::Map<String, Value> = crds::definitions()
        .into_iter()
        .map(|definition| {
            let kind = definition.spec.names.kind.clone();
            let schema = definition.spec.versions[0].schema.clone().unwrap();
            let mut schema = serde_json::to_value(schema.open_api_v3_schema).unwrap();
            schema["x-kubernetes-group-version-kind"] =
                json!([{ "group": "lighterman.dev", "kind": kind, "version": "v1alpha1" }]);
            (format!("dev.lighterman.v1alpha1.{kind}"), schema)
        })
        .collect();
    json!({ "components": { "schemas": schemas } })
}

fn check(served: &Value) -> State {
    crds::definitions()
        .iter()
        .try_for_each(|definition| compare(definition, served))
}

#[test]
fn definitions_of_this_version_are_enough() {
    assert_eq!(check(&served()), Ok(()));
}

#[test]
fn a_field_that_the_api_server_would_prune_is_named_with_its_path() {
    let mut served = served();
    let component = &mut served["components"]["schemas"]["dev.lighterman.v1alpha1.WasmComponent"];
    let trigger = &mut component["properties"]["spec"]["properties"]["triggers"]["items"];
    trigger["properties"]["http"]["properties"]
        .as_object_mut()
        .unwrap()
        .remove("maxRequestBody");
    let missing = check(&served).unwrap_err();
    assert_eq!(missing.reason(), Reason::CrdsOutdated);
    let text = missing.to_string();
    assert!(
        text.contains("WasmComponent")
            && text.contains("spec.triggers[].http.maxRequestBody")
            && text.contains("lighterman-crds"),
        "{text}"
    );
}

#[test]
fn fields_of_a_later_version_do_not_matter() {
    let mut served = served();
    served["components"]["schemas"]["dev.lighterman.v1alpha1.TrustPolicy"]["properties"]["spec"]
        ["properties"]["inventedTomorrow"] = json!({ "type": "string" });
    assert_eq!(check(&served), Ok(()));
}

#[test]
fn a_kind_that_is_not_served_is_named() {
    assert!(matches!(
        check(&Value::Null),
        Err(Missing::Definition { .. })
    ));
    let mut served = served();
    served["components"]["schemas"]
        .as_object_mut()
        .unwrap()
        .remove("dev.lighterman.v1alpha1.WasmNode");
    assert_eq!(
        check(&served),
        Err(Missing::Definition {
            kind: "WasmNode".to_owned()
        })
    );
}

#[test]
fn a_policy_guards_once_it_is_taken_up_and_bound_to_deny() {
    let name = names::ADMISSION_POLICIES[0];
    let policy = |status: Value| -> ValidatingAdmissionPolicy {
        serde_json::from_value(json!({ "metadata": { "name": name }, "status": status })).unwrap()
    };
    let binding = |of: &str, action: &str| -> ValidatingAdmissionPolicyBinding {
        serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": { "policyName": of, "validationActions": [action] },
        }))
        .unwrap()
    };
    let taken_up = policy(json!({ "observedGeneration": 1 }));
    let good = binding(name, "Deny");
    assert_eq!(guards(name, Some(&taken_up), Some(&good)), Ok(()));
    for (policy, binding) in [
        (None, Some(good.clone())),
        (Some(policy(json!({}))), Some(good)),
        (Some(taken_up.clone()), None),
        (Some(taken_up.clone()), Some(binding(name, "Warn"))),
        (Some(taken_up), Some(binding("another", "Deny"))),
    ] {
        let missing = guards(name, policy.as_ref(), binding.as_ref()).unwrap_err();
        assert_eq!(missing.reason(), Reason::AdmissionPolicyMissing);
        assert!(missing.to_string().contains(name), "{missing}");
    }
}
