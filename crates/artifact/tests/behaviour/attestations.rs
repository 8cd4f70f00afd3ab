//! Attestations that a policy demands beside the signature, and what their conditions
//! admit.

use artifact::RefusalCode;
use artifact::trust::Policy;
use serde_json::{Value, json};

use crate::sigstore::statement;
use crate::support::{Artifact, IN_TOTO, Key, assert_code, bytes, http_component, policy_with};

const SLSA: &str = "https://slsa.dev/provenance/v1";

/// A build's provenance, as SLSA has it.
fn provenance(builder: &str, repository: &str) -> Value {
    json!({
        "buildDefinition": {"externalParameters": {"workflow": {"repository": repository}}},
        "runDetails": {"builder": {"id": builder}, "metadata": {"attempt": 2, "hermetic": true}},
    })
}

fn attested(key: &Key, predicate_type: &str, predicate: Value) -> Artifact {
    let artifact = Artifact::new(http_component()).signed_by(key);
    let statement = statement(&artifact.digest, predicate_type, predicate);
    let bundle = key.envelope(IN_TOTO, statement.to_string().as_bytes());
    artifact.with_bundle(bytes(&bundle))
}

fn demanding(key: &Key, conditions: Value) -> [Policy; 1] {
    [policy_with(key, |spec| {
        spec["attestations"] = json!([{"predicateType": SLSA, "conditions": conditions}]);
    })]
}

#[test]
fn an_attestation_that_meets_its_conditions_is_demanded_beside_the_signature() {
    let key = Key::new();
    let policies = demanding(
        &key,
        json!([
            {"field": "/runDetails/builder/id", "equals": ["https://builder.example/v1", "other"]},
            {"field": "/buildDefinition/externalParameters/workflow/repository",
             "matches": ["https://github.com/acme/*"]},
            {"field": "/runDetails/metadata/attempt", "equals": ["2"]},
            {"field": "/runDetails/metadata/hermetic", "equals": ["true"]},
        ]),
    );
    let good = provenance(
        "https://builder.example/v1",
        "https://github.com/acme/orders",
    );
    attested(&key, SLSA, good.clone())
        .judged_by(&policies)
        .unwrap();

    let unsigned_attestation = Artifact::new(http_component()).signed_by(&key);
    let refusal = unsigned_attestation.refused_by(&policies);
    assert_code(&refusal, RefusalCode::AttestationMissing, SLSA);

    let refusal = attested(&key, "https://spdx.dev/Document", good).refused_by(&policies);
    assert_code(&refusal, RefusalCode::AttestationMissing, "spdx.dev");
}

#[test]
fn each_condition_refuses_what_does_not_meet_it() {
    let key = Key::new();
    let wanted = |condition: Value| demanding(&key, json!([condition]));
    let given = provenance(
        "https://builder.example/v1",
        "https://github.com/acme/orders",
    );
    let artifact = attested(&key, SLSA, given);
    let repository = "/buildDefinition/externalParameters/workflow/repository";
    for (condition, words) in [
        (
            json!({"field": "/runDetails/builder/id", "equals": ["https://builder.example/v"]}),
            "https://builder.example/v1",
        ),
        (
            json!({"field": "/runDetails/builder/id", "equals": ["https://builder.example/*"]}),
            "wanted is",
        ),
        (
            json!({"field": "/runDetails/builder/name", "equals": ["x"]}),
            "no field",
        ),
        (
            json!({"field": "/runDetails/builder", "equals": ["x"]}),
            "no text",
        ),
        (
            json!({"field": repository, "matches": ["https://github.com/*"]}),
            "acme/orders",
        ),
        (
            json!({"field": repository, "matches": ["https://github.com/acme/"]}),
            "acme/orders",
        ),
        (
            json!({"field": repository, "matches": ["github.com/acme/**"]}),
            "acme/orders",
        ),
        (
            json!({"field": repository, "matches": ["https://github.com/acm./orders"]}),
            "acme/orders",
        ),
    ] {
        let refusal = artifact.refused_by(&wanted(condition));
        assert_code(&refusal, RefusalCode::AttestationRejected, words);
    }
    for condition in [
        json!({"field": repository, "matches": ["https://github.com/**"]}),
        json!({"field": repository, "matches": ["nothing", "https://*/acme/ord*"]}),
    ] {
        artifact.judged_by(&wanted(condition)).unwrap();
    }
}

#[test]
fn conditions_are_not_met_by_two_attestations_together() {
    let key = Key::new();
    let policies = demanding(
        &key,
        json!([
            {"field": "/runDetails/builder/id", "equals": ["good"]},
            {"field": "/buildDefinition/externalParameters/workflow/repository", "equals": ["good"]},
        ]),
    );
    let first = attested(&key, SLSA, provenance("good", "bad"));
    let second = statement(&first.digest, SLSA, provenance("bad", "good"));
    let second = key.envelope(IN_TOTO, second.to_string().as_bytes());
    let refusal = first.with_bundle(bytes(&second)).refused_by(&policies);
    assert_code(&refusal, RefusalCode::AttestationRejected, "bad");
}

#[test]
fn an_attestation_by_a_stranger_or_of_another_image_does_not_count() {
    let (key, stranger) = (Key::new(), Key::new());
    let policies = demanding(&key, json!([]));
    let artifact = Artifact::new(http_component()).signed_by(&key);
    let about = |digest, by: &Key| {
        let statement = statement(digest, SLSA, json!({}));
        bytes(&by.envelope(IN_TOTO, statement.to_string().as_bytes()))
    };
    let other = artifact::Digest::of(b"other");
    for bundle in [about(&artifact.digest, &stranger), about(&other, &key)] {
        let refusal = artifact.clone().with_bundle(bundle).refused_by(&policies);
        assert_eq!(refusal.code(), RefusalCode::AttestationMissing, "{refusal}");
    }
    let bundle = about(&artifact.digest, &key);
    artifact.with_bundle(bundle).judged_by(&policies).unwrap();
}

#[test]
fn an_attestation_without_signature_is_no_approval_though_it_is_demanded() {
    let key = Key::new();
    let policies = demanding(&key, json!([]));
    let mut artifact = attested(&key, SLSA, json!({}));
    artifact.parcel.bundles.remove(0);
    assert_eq!(
        artifact.refused_by(&policies).code(),
        RefusalCode::AttestationOnly
    );
}
