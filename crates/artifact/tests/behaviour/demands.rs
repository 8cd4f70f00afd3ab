//! What a policy can demand beside one signature: logs, times, several signers,
//! versions; what it denies whoever signed; and whether it decides at all.

use artifact::RefusalCode;
use artifact::root::{RootReference, Roots};
use artifact::trust::Policy;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::sigstore::{Keyless, Sigstore, later, signing_time, statement};
use crate::support::{
    Artifact, Key, assert_code, bytes, component, http_component, policy_with, spec, with_name,
    with_section,
};

const SIGN: &str = artifact::signature::COSIGN_SIGN;

fn roots(sigstore: &Sigstore) -> Roots {
    Roots::new().with(reference(), Ok(sigstore.root()))
}

fn reference() -> RootReference {
    RootReference {
        config_map: "sigstore".to_owned(),
        key: "root".to_owned(),
    }
}

/// Points the one key of a policy at the tests' own root.
fn with_own_root(spec: &mut Value) {
    spec["authorities"][0]["key"]["trustedRoot"] =
        json!({"configMapKeyRef": {"name": "sigstore", "key": "root"}});
}

/// An artifact that `key` signed at the tests' signing time, seen or not.
fn seen(sigstore: &Sigstore, key: &Key, log: bool, timestamp: bool) -> Artifact {
    let artifact = Artifact::new(http_component()).with_roots(roots(sigstore));
    let approval = statement(&artifact.digest, SIGN, json!({}));
    let bundle = sigstore.by_key(key, &approval, signing_time(), log, timestamp);
    artifact.with_bundle(bytes(&bundle))
}

#[test]
fn a_logged_signature_by_key_meets_ctlog_required_and_shows_its_time() {
    let (sigstore, key) = (Sigstore::new(), Key::new());
    let required = policy_with(&key, |spec| {
        spec["authorities"][0]["ctlog"] = json!("Required");
        with_own_root(spec);
    });
    let verified = seen(&sigstore, &key, true, false)
        .judged_by(&[required])
        .unwrap();
    assert_eq!(verified.signers()[0].signed_at, Some(signing_time()));
}

#[test]
fn a_signature_by_key_that_no_log_of_the_root_has_seen_does_not_meet_ctlog_required() {
    let (sigstore, stranger, key) = (Sigstore::new(), Sigstore::new(), Key::new());
    let required = [policy_with(&key, |spec| {
        spec["authorities"][0]["ctlog"] = json!("Required");
        with_own_root(spec);
    })];
    for (artifact, words) in [
        (seen(&sigstore, &key, false, false), "no log entry"),
        (seen(&sigstore, &key, false, true), "no log entry"),
        (
            seen(&stranger, &key, true, false).with_roots(roots(&sigstore)),
            "log",
        ),
    ] {
        assert_code(
            &artifact.refused_by(&required),
            RefusalCode::NotInLog,
            words,
        );
    }
}

#[test]
fn the_log_entry_of_another_signature_by_the_same_key_does_not_count() {
    let (sigstore, key) = (Sigstore::new(), Key::new());
    let required = [policy_with(&key, |spec| {
        spec["authorities"][0]["ctlog"] = json!("Required");
        with_own_root(spec);
    })];
    let artifact = Artifact::new(http_component()).with_roots(roots(&sigstore));
    let made = |predicate: Value| {
        let statement = statement(&artifact.digest, SIGN, predicate);
        sigstore.by_key(&key, &statement, signing_time(), true, false)
    };
    let (mut bundle, other) = (made(json!({})), made(json!({"another": true})));
    bundle["verificationMaterial"]["tlogEntries"] =
        other["verificationMaterial"]["tlogEntries"].clone();
    let refusal = artifact
        .clone()
        .with_bundle(bytes(&bundle))
        .refused_by(&required);
    assert_code(&refusal, RefusalCode::NotInLog, "release");
}

#[test]
fn a_key_that_needs_a_root_which_is_missing_is_no_verdict() {
    let (sigstore, key) = (Sigstore::new(), Key::new());
    let required = [policy_with(&key, |spec| {
        spec["authorities"][0]["ctlog"] = json!("Required");
        with_own_root(spec);
    })];
    let refusal = seen(&sigstore, &key, true, false)
        .with_roots(Roots::new())
        .refused_by(&required);
    assert_code(&refusal, RefusalCode::RootUnavailable, "ConfigMap sigstore");
    // Without a log to ask, the signature alone decides, root or not.
    let ignored = [policy_with(&key, with_own_root)];
    seen(&sigstore, &key, true, false)
        .with_roots(Roots::new())
        .judged_by(&ignored)
        .unwrap();
}

#[test]
fn not_before_wants_a_proven_time_at_or_after_it() {
    let (sigstore, key) = (Sigstore::new(), Key::new());
    let policy = |from: Timestamp| {
        [policy_with(&key, |spec| {
            spec["notBefore"] = json!(from.to_string());
            with_own_root(spec);
        })]
    };
    for (log, timestamp) in [(true, false), (false, true)] {
        let artifact = seen(&sigstore, &key, log, timestamp);
        artifact.judged_by(&policy(signing_time())).unwrap();
        let refusal = artifact.refused_by(&policy(later(signing_time(), 1)));
        assert_code(
            &refusal,
            RefusalCode::SignedTooEarly,
            "2025-03-01T00:05:01Z",
        );
    }
    let refusal = seen(&sigstore, &key, false, false).refused_by(&policy(signing_time()));
    assert_code(&refusal, RefusalCode::SignedTooEarly, "no time");
}

#[test]
fn a_revoked_key_counts_only_for_what_is_proven_older() {
    let (sigstore, key) = (Sigstore::new(), Key::new());
    let policy = |after: Option<Timestamp>| {
        [policy_with(&key, |spec| {
            spec["revoked"] = json!([{"keyId": key.id()}]);
            if let Some(after) = after {
                spec["revoked"][0]["after"] = json!(after.to_string());
            }
            with_own_root(spec);
        })]
    };
    let (proven, unproven) = (
        seen(&sigstore, &key, false, true),
        seen(&sigstore, &key, false, false),
    );
    proven
        .judged_by(&policy(Some(later(signing_time(), 1))))
        .unwrap();
    for (artifact, after) in [
        (&proven, Some(signing_time())),
        (&proven, None),
        (&unproven, Some(later(signing_time(), 1))),
        (&unproven, None),
    ] {
        let refusal = artifact.refused_by(&policy(after));
        assert_code(&refusal, RefusalCode::KeyRevoked, &key.id());
    }
}

#[test]
fn a_key_that_is_not_revoked_still_satisfies_beside_one_that_is() {
    let (old, new) = (Key::new(), Key::new());
    let mut spec = spec(&[("old", &old), ("new", &new)]);
    spec["revoked"] = json!([{"keyId": old.id()}]);
    let policies = [Policy::parse("shop", &spec).unwrap()];
    let artifact = Artifact::new(http_component()).signed_by(&old);
    assert_eq!(
        artifact.refused_by(&policies).code(),
        RefusalCode::KeyRevoked
    );
    let verified = artifact.signed_by(&new).judged_by(&policies).unwrap();
    assert_eq!(verified.signers()[0].authority, "new");
}

#[test]
fn minimum_matches_counts_different_keys_and_not_entries_or_bundles() {
    let (one, two, three) = (Key::new(), Key::new(), Key::new());
    let mut spec = spec(&[
        ("one", &one),
        ("again", &one),
        ("two", &two),
        ("three", &three),
    ]);
    spec["minimumMatches"] = json!(2);
    let policies = [Policy::parse("shop", &spec).unwrap()];
    let once = Artifact::new(http_component())
        .signed_by(&one)
        .signed_by(&one);
    let refusal = once.refused_by(&policies);
    assert_code(&refusal, RefusalCode::TooFewSigners, &one.id());
    let verified = once.signed_by(&three).judged_by(&policies).unwrap();
    let names: Vec<_> = verified
        .signers()
        .iter()
        .map(|signer| signer.authority.as_str())
        .collect();
    assert_eq!(names, ["one", "three"]);
}

#[test]
fn a_key_and_an_identity_are_two_signers() {
    let (sigstore, key) = (Sigstore::new(), Key::new());
    let mut spec = spec(&[("release", &key)]);
    spec["minimumMatches"] = json!(2);
    spec["authorities"].as_array_mut().unwrap().push(json!({
        "name": "ci",
        "ctlog": "Required",
        "keyless": {
            "identities": [{"issuerRegExp": ".*", "subjectRegExp": ".*"}],
            "trustedRoot": {"configMapKeyRef": {"name": "sigstore", "key": "root"}},
        },
    }));
    let policies = [Policy::parse("shop", &spec).unwrap()];
    let artifact = Artifact::new(http_component()).with_roots(roots(&sigstore));
    let keyless = |subject: &str| {
        let mut signing = Keyless::of(&artifact.digest);
        signing.subject = subject.to_owned();
        bytes(&sigstore.keyless(&signing))
    };
    let twice = artifact
        .clone()
        .with_bundle(keyless("a@acme.example"))
        .with_bundle(keyless("a@acme.example"));
    assert_eq!(
        twice.refused_by(&policies).code(),
        RefusalCode::TooFewSigners
    );
    twice
        .with_bundle(keyless("b@acme.example"))
        .judged_by(&policies)
        .unwrap();
    artifact
        .clone()
        .with_bundle(keyless("a@acme.example"))
        .signed_by(&key)
        .judged_by(&policies)
        .unwrap();
}

#[test]
fn a_denied_digest_is_refused_whoever_signed_it() {
    let key = Key::new();
    let artifact = Artifact::new(http_component()).signed_by(&key);
    let digest = artifact.digest.to_string();
    let denying = |digest: &str| {
        [policy_with(&key, |spec| {
            spec["deny"] = json!({"digests": [digest]})
        })]
    };
    assert_code(
        &artifact.refused_by(&denying(&digest)),
        RefusalCode::DigestDenied,
        &digest,
    );
    let other = artifact::Digest::of(b"other").to_string();
    artifact.judged_by(&denying(&other)).unwrap();
}

#[test]
fn an_older_version_than_allowed_is_refused_and_only_for_that_name() {
    let key = Key::new();
    let least = |name: &str, version: &str| {
        [policy_with(&key, |spec| {
            spec["minVersions"] = json!([{"name": name, "version": version}]);
        })]
    };
    let versioned = |version: Option<&str>| {
        let mut wasm = with_name(http_component(), "orders");
        if let Some(version) = version {
            wasm = with_section(wasm, "version", version.as_bytes());
        }
        Artifact::new(wasm).signed_by(&key)
    };
    for (version, least_version) in [
        ("1.4.0", "1.4.0"),
        ("1.10.0", "1.9.9"),
        ("2.0.0-rc.1", "1.9.0"),
        ("1.4.0+a", "1.4.0+b"),
    ] {
        versioned(Some(version))
            .judged_by(&least("orders", least_version))
            .unwrap();
    }
    for (version, words) in [
        (Some("1.3.9"), "1.3.9"),
        (Some("1.4.0-rc.1"), "1.4.0-rc.1"),
        (Some("latest"), "no semantic version"),
        (None, "no version"),
    ] {
        let refusal = versioned(version).refused_by(&least("orders", "1.4.0"));
        assert_code(&refusal, RefusalCode::VersionTooOld, words);
    }
    versioned(Some("0.1.0"))
        .judged_by(&least("billing", "1.4.0"))
        .unwrap();
}

#[test]
fn an_audit_policy_neither_admits_nor_refuses_and_says_what_it_would() {
    let (trusted, stranger) = (Key::new(), Key::new());
    let audit = |key: &Key| policy_with(key, |spec| spec["mode"] = json!("Audit"));
    let artifact = Artifact::new(http_component()).signed_by(&trusted);

    let refusal = artifact.refused_by(&[audit(&trusted)]);
    assert_code(&refusal, RefusalCode::OnlyAudited, "mode: Audit");

    let enforced = policy_with(&trusted, |_| ());
    let verified = artifact
        .judged_by(&[audit(&stranger), enforced.clone()])
        .unwrap();
    let [(policy, refusal)] = verified.would_refuse() else {
        panic!("{:?}", verified.would_refuse());
    };
    assert_eq!(
        (policy.as_str(), refusal.code()),
        ("shop", RefusalCode::SignatureInvalid)
    );
    assert_eq!(verified.signers().len(), 1);

    let verified = artifact.judged_by(&[audit(&trusted), enforced]).unwrap();
    assert_eq!(verified.would_refuse(), []);
}

#[test]
fn a_policy_stops_what_runs_only_by_a_verdict_and_only_when_it_says_so() {
    let (sigstore, key, stranger) = (Sigstore::new(), Key::new(), Key::new());
    let artifact = Artifact::new(http_component())
        .signed_by(&key)
        .with_roots(roots(&sigstore));
    let stops = |policies: &[Policy]| {
        artifact::judge(
            &artifact.scope(),
            &artifact.digest,
            &artifact.parcel,
            &artifact.trust(policies),
        )
        .stops_running()
    };
    let stopping = |key: &Key, change: fn(&mut Value)| {
        policy_with(key, |spec| {
            spec["whenRunning"] = json!("Stop");
            change(spec);
        })
    };
    assert!(stops(&[stopping(&stranger, |_| ())]));
    assert!(!stops(&[policy_with(&stranger, |_| ())]));
    assert!(!stops(&[stopping(&key, |_| ())]));
    assert!(!stops(&[]));
    assert!(!stops(&[
        stopping(&stranger, |spec| spec["mode"] = json!("Audit")),
        policy_with(&key, |_| ()),
    ]));
    assert!(!stops(&[
        stopping(&key, |spec| spec["authorities"] = json!([]))
    ]));
    let unanswered = stopping(&stranger, |spec| {
        spec["authorities"][0]["ctlog"] = json!("Required");
        spec["authorities"][0]["key"]["trustedRoot"] =
            json!({"configMapKeyRef": {"name": "gone", "key": "root"}});
    });
    assert!(!stops(&[unanswered]));
    let mut spec = spec(&[("release", &stranger)]);
    spec["whenRunning"] = json!("Stop");
    spec["invented"] = json!("tomorrow");
    let error = Policy::parse("shop", &spec).unwrap_err();
    assert!(!stops(&[Policy::closed("shop", &spec, error)]));
}

#[test]
fn the_fingerprint_changes_with_the_policies_that_cover_and_with_the_roots() {
    let (sigstore, key, other) = (Sigstore::new(), Key::new(), Key::new());
    let artifact = Artifact::new(component("")).with_roots(Roots::new());
    let of = |policies: &[Policy]| artifact.trust(policies).fingerprint(&artifact.scope());
    let (first, second) = (policy_with(&key, |_| ()), policy_with(&other, |_| ()));
    assert_eq!(
        of(&[first.clone(), second.clone()]),
        of(&[second.clone(), first.clone()])
    );
    assert_ne!(of(std::slice::from_ref(&first)), of(&[second]));
    let elsewhere = policy_with(&key, |spec| {
        spec["images"] = json!([{"glob": "registry.example/billing/**"}]);
    });
    assert_eq!(
        of(&[first.clone(), elsewhere]),
        of(std::slice::from_ref(&first))
    );
    let moved = artifact.clone().with_roots(roots(&sigstore));
    let policies = [first];
    assert_ne!(
        of(&policies),
        moved.trust(&policies).fingerprint(&moved.scope())
    );
}
