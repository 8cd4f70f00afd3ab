//! Whatever bytes come, judging ends in a verdict; and no change of any byte
//! of what was signed is admitted.

use std::sync::LazyLock;

use artifact::SignedBy;
use artifact::root::{Roots, TrustedRoot};
use artifact::trust::Policy;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::sigstore::{ISSUER, SUBJECT, Sigstore, signed};
use crate::support::{Artifact, Key, http_component, policy, with_name};

struct Case {
    artifact: Artifact,
    policies: Vec<Policy>,
}

static CASE: LazyLock<Case> = LazyLock::new(|| {
    let key = Key::new();
    let wasm = with_name(http_component(), "orders");
    Case {
        artifact: Artifact::new(wasm).signed_by(&key),
        policies: vec![policy("shop", &[("release", &key)])],
    }
});

static ROOT: LazyLock<Bytes> = LazyLock::new(|| Sigstore::new().root_json().to_string().into());

static KEYLESS: LazyLock<Case> = LazyLock::new(|| {
    let sigstore = Sigstore::new();
    let artifact = Artifact::new(http_component());
    let bundle = signed(&sigstore, &artifact.digest);
    let spec = json!({
        "images": [{"glob": "registry.example/shop/**"}],
        "authorities": [{
            "name": "ci", "ctlog": "Required",
            "keyless": {"identities": [{"issuer": ISSUER, "subject": SUBJECT}]},
        }],
    });
    Case {
        artifact: artifact
            .with_bundle(bundle)
            .with_roots(Roots::new().with_public_good(Ok(sigstore.root()))),
        policies: vec![Policy::parse("shop", &spec).unwrap()],
    }
});

/// JSON with the names that a policy has, at places where they may not belong.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-zA-Z*/.:-]{0,12}".prop_map(Value::from),
        Just(json!("Enforce")),
        Just(json!("Required")),
    ];
    let name = prop_oneof![
        Just("images"),
        Just("glob"),
        Just("authorities"),
        Just("name"),
        Just("key"),
        Just("data"),
        Just("keyless"),
        Just("identities"),
        Just("issuerRegExp"),
        Just("ctlog"),
        Just("mode"),
        Just("attestations"),
        Just("conditions"),
        Just("deny"),
        Just("digests"),
        Just("minVersions"),
        Just("notBefore"),
        Just("revoked"),
        Just("namespaceSelector"),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|members| members
                    .into_iter()
                    .collect::<serde_json::Map<_, _>>()
                    .into()),
        ]
    })
}

/// Flips, inserts, removes or cuts at a place.
#[derive(Debug, Clone)]
enum Change {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index),
    Cut(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        4 => (place(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => (place(), prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => place().prop_map(Change::Remove),
        1 => place().prop_map(Change::Cut),
    ]
}

fn changed(content: &Bytes, changes: &[Change]) -> Bytes {
    let mut content = content.to_vec();
    for change in changes {
        let Some(last) = content.len().checked_sub(1) else {
            break;
        };
        match change {
            Change::Set(at, byte) => content[at.index(last + 1)] = *byte,
            Change::Insert(at, bytes) => {
                let at = at.index(last + 1);
                content.splice(at..at, bytes.iter().copied());
            }
            Change::Remove(at) => drop(content.remove(at.index(last + 1))),
            Change::Cut(at) => content.truncate(at.index(last + 1)),
        }
    }
    content.into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_changed_manifest_config_or_layer_is_never_admitted(
        part in 0..3,
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let mut artifact = CASE.artifact.clone();
        let target = match part {
            0 => &mut artifact.parcel.manifest,
            1 => &mut artifact.parcel.config,
            _ => &mut artifact.parcel.layer,
        };
        let before = target.clone();
        *target = changed(&before, &changes);
        let same = *target == before;
        prop_assert_eq!(artifact.judged_by(&CASE.policies).is_ok(), same);
    }

    #[test]
    fn a_changed_bundle_ends_in_a_verdict(changes in prop::collection::vec(change(), 1..6)) {
        let mut artifact = CASE.artifact.clone();
        for bundle in &mut artifact.parcel.bundles {
            *bundle = changed(bundle, &changes);
        }
        // Some bytes are free: white space, the hint, the spelling of base64.
        if let Err(refusal) = artifact.judged_by(&CASE.policies) {
            prop_assert!(!refusal.to_string().is_empty());
        }
    }

    #[test]
    fn a_changed_component_under_its_own_digest_ends_in_a_verdict(
        changes in prop::collection::vec(change(), 1..6),
    ) {
        let _ = artifact::component::inspect(&changed(&CASE.artifact.parcel.layer, &changes));
    }

    #[test]
    fn a_changed_manifest_under_its_own_digest_ends_in_a_verdict(
        changes in prop::collection::vec(change(), 1..6),
    ) {
        let _ = artifact::manifest::read(&changed(&CASE.artifact.parcel.manifest, &changes));
    }

    #[test]
    fn any_bytes_end_in_a_verdict(content in prop::collection::vec(any::<u8>(), 0..200)) {
        let artifact = Artifact::new(content.clone()).with_bundle(content.clone());
        prop_assert!(artifact.judged_by(&CASE.policies).is_err());
        prop_assert!(artifact::manifest::read(&content).is_err());
    }
}

proptest! {
    // Reading certificates takes a debug build its time.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_keyless_bundle_ends_in_a_verdict_and_names_nobody_else(
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let mut artifact = KEYLESS.artifact.clone();
        for bundle in &mut artifact.parcel.bundles {
            *bundle = changed(bundle, &changes);
        }
        match artifact.judged_by(&KEYLESS.policies) {
            Ok(verified) => prop_assert_eq!(
                &verified.signers()[0].by,
                &SignedBy::Identity { issuer: ISSUER.to_owned(), subject: SUBJECT.to_owned() }
            ),
            Err(refusal) => prop_assert!(!refusal.to_string().is_empty()),
        }
    }

    #[test]
    fn a_changed_trusted_root_is_read_or_refused(
        changes in prop::collection::vec(change(), 1..6),
    ) {
        let _ = TrustedRoot::from_json(&changed(&ROOT, &changes));
    }

    #[test]
    fn any_json_is_a_policy_or_an_error_that_can_be_shown(spec in json()) {
        match Policy::parse("any", &spec) {
            Ok(policy) => prop_assert_eq!(policy.name(), "any"),
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                let closed = Policy::closed("any", &spec, error);
                let refused = CASE.artifact.judged_by(std::slice::from_ref(&closed));
                prop_assert!(refused.is_err() || !closed.covers(&CASE.artifact.scope()));
            }
        }
    }

    #[test]
    fn any_expression_and_any_glob_are_read_or_refused(
        expression in any::<String>(),
        text in any::<String>(),
    ) {
        let spec = json!({"images": [], "authorities": [{
            "name": "any", "ctlog": "Required",
            "keyless": {"identities": [{"issuer": "i", "subjectRegExp": expression}]},
        }], "attestations": [{
            "predicateType": "p", "conditions": [{"field": "/f", "matches": [text]}],
        }]});
        let _ = Policy::parse("any", &spec);
    }
}
