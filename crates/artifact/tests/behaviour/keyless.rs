//! Signatures by short-lived certificates: which are admitted, and how each forgery
//! is refused.

use artifact::root::{RootError, RootReference, Roots, TrustedRoot};
use artifact::trust::Policy;
use artifact::{Digest, Refusal, RefusalCode, SignedBy};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::sigstore::{ISSUER, Keyless, SUBJECT, Sigstore, later, signed, signing_time};
use crate::support::{Artifact, Key, assert_code, bytes, component, http_component};

fn reference() -> RootReference {
    RootReference {
        config_map: "sigstore".to_owned(),
        key: "trusted_root.json".to_owned(),
    }
}

fn roots(root: TrustedRoot) -> Roots {
    Roots::new().with(reference(), Ok(root))
}

fn policy(identity: Value, ctlog: &str) -> Policy {
    let spec = json!({
        "images": [{"glob": "registry.example/shop/**"}],
        "authorities": [{
            "name": "ci",
            "ctlog": ctlog,
            "keyless": {
                "identities": [identity],
                "trustedRoot": {"configMapKeyRef": {"name": "sigstore", "key": "trusted_root.json"}},
            },
        }],
    });
    Policy::parse("shop", &spec).unwrap()
}

fn exact() -> Value {
    json!({"issuer": ISSUER, "subject": SUBJECT})
}

fn artifact(bundle: impl Into<Bytes>) -> Artifact {
    Artifact::new(http_component()).with_bundle(bundle)
}

fn digest() -> Digest {
    Artifact::new(http_component()).digest
}

/// The refusal of a bundle that was bent from a good one.
#[track_caller]
fn refusal_of(bend: impl FnOnce(&mut Keyless), ctlog: &str) -> Refusal {
    let sigstore = Sigstore::new();
    let mut signing = Keyless::of(&digest());
    bend(&mut signing);
    artifact(bytes(&sigstore.keyless(&signing)))
        .with_roots(roots(sigstore.root()))
        .refused_by(&[policy(exact(), ctlog)])
}

#[track_caller]
fn refused_when(change: impl FnOnce(&mut Value), ctlog: &str) -> Refusal {
    let sigstore = Sigstore::new();
    let mut bundle = sigstore.keyless(&Keyless::of(&digest()));
    change(&mut bundle);
    artifact(bytes(&bundle))
        .with_roots(roots(sigstore.root()))
        .refused_by(&[policy(exact(), ctlog)])
}

#[test]
fn a_keyless_signature_is_admitted_with_its_identity_and_time() {
    let sigstore = Sigstore::new();
    let verified = artifact(signed(&sigstore, &digest()))
        .with_roots(roots(sigstore.root()))
        .judged_by(&[policy(exact(), "Required")])
        .unwrap();
    let signer = &verified.signers()[0];
    assert_eq!(
        signer.by,
        SignedBy::Identity {
            issuer: ISSUER.to_owned(),
            subject: SUBJECT.to_owned(),
        }
    );
    assert_eq!(
        (signer.authority.as_str(), signer.signed_at),
        ("ci", Some(signing_time()))
    );
}

#[test]
fn a_timestamp_authority_stands_in_for_a_log_that_is_ignored() {
    let sigstore = Sigstore::new();
    let mut signing = Keyless::of(&digest());
    (signing.log, signing.timestamp) = (false, true);
    let artifact = artifact(bytes(&sigstore.keyless(&signing))).with_roots(roots(sigstore.root()));
    artifact.judged_by(&[policy(exact(), "Ignore")]).unwrap();
    let refusal = artifact.refused_by(&[policy(exact(), "Required")]);
    assert_code(&refusal, RefusalCode::NotInLog, "ctlog: Required");
}

#[test]
fn an_e_mail_address_is_an_identity_too() {
    let sigstore = Sigstore::new();
    let mut signing = Keyless::of(&digest());
    signing.subject = "release@acme.example".to_owned();
    let identity = json!({"issuer": ISSUER, "subject": "release@acme.example"});
    artifact(bytes(&sigstore.keyless(&signing)))
        .with_roots(roots(sigstore.root()))
        .judged_by(&[policy(identity, "Required")])
        .unwrap();
}

#[test]
fn expressions_match_the_whole_text_and_no_part_of_it() {
    let sigstore = Sigstore::new();
    let artifact = artifact(signed(&sigstore, &digest())).with_roots(roots(sigstore.root()));
    for subject in ["https://github.com/acme/.*", ".*", &regex_escape(SUBJECT)] {
        let identity = json!({"issuerRegExp": "https://token[.].*", "subjectRegExp": subject});
        artifact.judged_by(&[policy(identity, "Required")]).unwrap();
    }
    // Flags of the expression's own cannot move the anchors around it.
    for subject in [
        "https://github.com/acme/",
        "github.com/acme/.*",
        "x|https",
        "(?m)^https://github.com/acme/orders",
    ] {
        let identity = json!({"issuer": ISSUER, "subjectRegExp": subject});
        let refusal = artifact.refused_by(&[policy(identity, "Required")]);
        assert_eq!(refusal.code(), RefusalCode::NotTrustedIdentity, "{subject}");
    }
}

fn regex_escape(text: &str) -> String {
    text.replace('.', "[.]")
}

#[test]
fn an_identity_that_only_begins_like_a_trusted_one_is_refused() {
    for subject in [
        "https://github.com/acme-evil/orders/.github/workflows/release.yaml@refs/tags/v1.4.0",
        "https://github.com/acme/orders/.github/workflows/release.yaml@refs/tags/v1.4.0-evil",
        "https://evil.example/?https://github.com/acme/orders/x",
    ] {
        let sigstore = Sigstore::new();
        let mut signing = Keyless::of(&digest());
        signing.subject = subject.to_owned();
        let artifact =
            artifact(bytes(&sigstore.keyless(&signing))).with_roots(roots(sigstore.root()));
        for identity in [
            exact(),
            json!({"issuer": ISSUER, "subjectRegExp": "https://github.com/acme/[^@]*@refs/tags/v[0-9.]*"}),
        ] {
            let refusal = artifact.refused_by(&[policy(identity, "Required")]);
            assert_code(&refusal, RefusalCode::NotTrustedIdentity, subject);
        }
    }
}

#[test]
fn the_right_subject_of_another_issuer_is_refused() {
    let refusal = refusal_of(
        |signing| signing.issuer = "https://issuer.evil.example".to_owned(),
        "Required",
    );
    assert_code(
        &refusal,
        RefusalCode::NotTrustedIdentity,
        "issuer.evil.example",
    );
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (sigstore, stranger) = (Sigstore::new(), Sigstore::new());
    for ctlog in ["Required", "Ignore"] {
        let refusal = artifact(signed(&stranger, &digest()))
            .with_roots(roots(sigstore.root()))
            .refused_by(&[policy(exact(), ctlog)]);
        assert!(
            [RefusalCode::SignatureInvalid, RefusalCode::NotInLog].contains(&refusal.code()),
            "{refusal}"
        );
    }
}

#[test]
fn a_certificate_that_had_expired_when_it_was_used_is_refused() {
    let refusal = refusal_of(
        |signing| signing.time = later(signing.time, 600),
        "Required",
    );
    assert_eq!(refusal.code(), RefusalCode::SignatureInvalid, "{refusal}");
    let refusal = refusal_of(
        |signing| {
            (signing.log, signing.timestamp) = (false, true);
            signing.time = later(signing.time, 600);
        },
        "Ignore",
    );
    assert_eq!(refusal.code(), RefusalCode::SignatureInvalid, "{refusal}");
}

#[test]
fn a_certificate_without_any_proven_time_is_refused_even_if_no_log_is_asked() {
    let refusal = refusal_of(|signing| signing.log = false, "Ignore");
    assert_code(&refusal, RefusalCode::SignatureInvalid, "certificate");
}

#[test]
fn a_certificate_that_no_certificate_log_has_seen_is_refused() {
    let refusal = refusal_of(|signing| signing.certificate_log = false, "Required");
    assert_code(&refusal, RefusalCode::SignatureInvalid, "SCT");
}

#[test]
fn a_root_without_certificate_logs_asks_for_none() {
    let sigstore = Sigstore::new();
    let mut signing = Keyless::of(&digest());
    signing.certificate_log = false;
    artifact(bytes(&sigstore.keyless(&signing)))
        .with_roots(roots(sigstore.root_without("ctlogs")))
        .judged_by(&[policy(exact(), "Required")])
        .unwrap();
}

#[test]
fn the_log_entry_of_another_signature_proves_nothing() {
    let sigstore = Sigstore::new();
    let other = sigstore.keyless(&Keyless::of(&Digest::of(b"other")));
    let mut bundle = sigstore.keyless(&Keyless::of(&digest()));
    bundle["verificationMaterial"]["tlogEntries"] =
        other["verificationMaterial"]["tlogEntries"].clone();
    for ctlog in ["Required", "Ignore"] {
        let refusal = artifact(bytes(&bundle))
            .with_roots(roots(sigstore.root()))
            .refused_by(&[policy(exact(), ctlog)]);
        assert!(
            [RefusalCode::SignatureInvalid, RefusalCode::NotInLog].contains(&refusal.code()),
            "{refusal}"
        );
    }
}

#[test]
fn the_timestamp_of_another_signature_proves_nothing() {
    let sigstore = Sigstore::new();
    let mut signing = Keyless::of(&digest());
    (signing.log, signing.timestamp) = (false, true);
    let (mut bundle, other) = (sigstore.keyless(&signing), sigstore.keyless(&signing));
    bundle["verificationMaterial"]["timestampVerificationData"] =
        other["verificationMaterial"]["timestampVerificationData"].clone();
    let refusal = artifact(bytes(&bundle))
        .with_roots(roots(sigstore.root()))
        .refused_by(&[policy(exact(), "Ignore")]);
    assert_code(&refusal, RefusalCode::SignatureInvalid, "imestamp");
}

#[test]
fn a_log_entry_with_a_changed_part_is_refused() {
    let entry = "/verificationMaterial/tlogEntries/0";
    for (pointer, value) in [
        ("/integratedTime", json!("1740787000")),
        (
            "/inclusionProof/rootHash",
            json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ),
        ("/inclusionProof/treeSize", json!("2")),
        (
            "/inclusionProof/checkpoint/envelope",
            json!("log.example\n1\nAAAA\n\n\u{2014} x AAAA\n"),
        ),
        ("/inclusionPromise/signedEntryTimestamp", json!("AAAA")),
        ("/logIndex", json!("1")),
        ("/canonicalizedBody", json!("e30=")),
    ] {
        let refusal = refused_when(
            |bundle| *bundle.pointer_mut(&format!("{entry}{pointer}")).unwrap() = value,
            "Required",
        );
        assert!(refusal.is_verdict(), "{pointer}: {refusal}");
    }
}

#[test]
fn a_signature_of_something_else_is_refused_as_that() {
    let other = Digest::of(b"other");
    let refusal = refusal_of(
        |signing| signing.statement["subject"][0]["digest"]["sha256"] = json!(other.hex()),
        "Required",
    );
    assert_code(
        &refusal,
        RefusalCode::SignatureForAnotherDigest,
        &other.to_string(),
    );
}

#[test]
fn a_changed_payload_is_refused() {
    let refusal = refused_when(
        |bundle| bundle["dsseEnvelope"]["payload"] = json!("e30="),
        "Ignore",
    );
    assert!(refusal.is_verdict(), "{refusal}");
}

#[test]
fn a_keyless_attestation_alone_approves_nothing() {
    let refusal = refusal_of(
        |signing| signing.statement["predicateType"] = json!("https://slsa.dev/provenance/v1"),
        "Required",
    );
    assert_code(&refusal, RefusalCode::AttestationOnly, "slsa.dev");
}

#[test]
fn a_signature_from_the_future_is_refused() {
    let sigstore = Sigstore::new();
    let mut artifact = artifact(signed(&sigstore, &digest())).with_roots(roots(sigstore.root()));
    artifact.now = later(signing_time(), -1);
    let refusal = artifact.refused_by(&[policy(exact(), "Required")]);
    assert_code(&refusal, RefusalCode::SignatureMalformed, "future");
}

#[test]
fn a_signature_by_key_is_none_by_certificate() {
    let key = Key::new();
    let sigstore = Sigstore::new();
    let artifact = Artifact::new(http_component()).signed_by(&key);
    let refusal = artifact
        .with_roots(roots(sigstore.root()))
        .refused_by(&[policy(exact(), "Ignore")]);
    assert_code(
        &refusal,
        RefusalCode::SignatureInvalid,
        "by key, not by certificate",
    );
}

#[test]
fn an_unsigned_image_is_unsigned_to_a_keyless_policy_too() {
    let sigstore = Sigstore::new();
    let refusal = Artifact::new(component(""))
        .with_roots(roots(sigstore.root()))
        .refused_by(&[policy(exact(), "Required")]);
    assert_code(&refusal, RefusalCode::Unsigned, SUBJECT);
}

#[test]
fn a_missing_or_broken_root_is_no_verdict() {
    let sigstore = Sigstore::new();
    let signed = artifact(signed(&sigstore, &digest()));
    let missing = signed.refused_by(&[policy(exact(), "Required")]);
    let broken = signed
        .clone()
        .with_roots(Roots::new().with(reference(), Err(RootError::Malformed("no JSON".to_owned()))))
        .refused_by(&[policy(exact(), "Required")]);
    for refusal in [missing, broken] {
        assert_code(&refusal, RefusalCode::RootUnavailable, "ConfigMap sigstore");
        assert!(!refusal.is_verdict());
    }
}

#[test]
fn without_a_reference_the_public_good_root_counts() {
    let sigstore = Sigstore::new();
    let spec = json!({
        "images": [{"glob": "registry.example/shop/**"}],
        "authorities": [{"name": "ci", "ctlog": "Required", "keyless": {"identities": [exact()]}}],
    });
    let policies = [Policy::parse("shop", &spec).unwrap()];
    let signed = artifact(signed(&sigstore, &digest()));
    assert!(signed.refused_by(&policies).is_verdict());
    signed
        .with_roots(Roots::new().with_public_good(Ok(sigstore.root())))
        .judged_by(&policies)
        .unwrap();
}

#[test]
fn a_root_with_a_window_that_ends_before_it_starts_is_refused() {
    let sigstore = Sigstore::new();
    let mut json = sigstore.root_json();
    json["certificateAuthorities"][0]["validFor"] =
        json!({"start": "2025-01-02T00:00:00Z", "end": "2025-01-01T00:00:00Z"});
    let error = TrustedRoot::from_json(json.to_string().as_bytes()).unwrap_err();
    assert!(matches!(error, RootError::Malformed(_)), "{error}");
    let error = TrustedRoot::from_json(b"{}").unwrap_err();
    assert!(error.to_string().contains("trusted_root.json"), "{error}");
    let large = vec![b' '; artifact::limits::TRUSTED_ROOT_MAX + 1];
    assert_eq!(
        TrustedRoot::from_json(&large).unwrap_err(),
        RootError::TooLarge(large.len())
    );
}
