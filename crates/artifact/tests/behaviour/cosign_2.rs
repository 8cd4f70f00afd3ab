//! Signatures as cosign 2 made them: by key, and without one, with certificate, log
//! entry and timestamp in annotations.

use artifact::root::{RootReference, Roots};
use artifact::signature::SIMPLE_SIGNING_ANNOTATION;
use artifact::trust::Policy;
use artifact::{Digest, Refusal, RefusalCode, SignedBy};
use serde_json::{Value, json};

use crate::sigstore::simple_signing::{
    BUNDLE, CERTIFICATE, CHAIN, COSIGN_2, SimpleSigning, TIMESTAMP, payload,
};
use crate::sigstore::{ISSUER, Keyless, SUBJECT, Sigstore, later, signing_time};
use crate::support::{Artifact, Key, assert_code, http_component, policy_with};

fn artifact() -> Artifact {
    Artifact::new(http_component())
}

fn good_payload() -> Vec<u8> {
    payload(&artifact().digest.to_string(), COSIGN_2)
}

fn keyless() -> Keyless {
    Keyless::of(&artifact().digest)
}

fn policy(subject: &str, ctlog: &str) -> [Policy; 1] {
    let root = json!({"configMapKeyRef": {"name": "sigstore", "key": "root"}});
    let identity = json!({"issuer": ISSUER, "subject": subject});
    let spec = json!({
        "images": [{"glob": "registry.example/shop/**"}],
        "authorities": [{
            "name": "ci",
            "ctlog": ctlog,
            "keyless": {"identities": [identity], "trustedRoot": root},
        }],
    });
    [Policy::parse("shop", &spec).unwrap()]
}

fn roots(sigstore: &Sigstore) -> Roots {
    let reference = RootReference {
        config_map: "sigstore".to_owned(),
        key: "root".to_owned(),
    };
    Roots::new().with(reference, Ok(sigstore.root()))
}

fn signed(sigstore: &Sigstore, signature: &SimpleSigning) -> Artifact {
    artifact()
        .with_roots(roots(sigstore))
        .with_bundle(signature.wrapped())
}

/// The refusals of one signature, where a log is required and where it is not.
#[track_caller]
fn refusals(sigstore: &Sigstore, signature: &SimpleSigning) -> [Refusal; 2] {
    ["Required", "Ignore"].map(|ctlog| {
        let refusal = signed(sigstore, signature).refused_by(&policy(SUBJECT, ctlog));
        assert!(refusal.is_verdict(), "{refusal}");
        refusal
    })
}

/// The refusals of a signing that was bent before it was made.
#[track_caller]
fn refusals_of(bend: impl FnOnce(&mut Keyless)) -> [Refusal; 2] {
    let sigstore = Sigstore::new();
    let mut signing = keyless();
    bend(&mut signing);
    refusals(&sigstore, &sigstore.cosign_2(&signing, &good_payload()))
}

/// The refusals of a good signature that was changed afterwards.
#[track_caller]
fn refusals_when(change: impl FnOnce(&mut SimpleSigning, &Sigstore)) -> [Refusal; 2] {
    let sigstore = Sigstore::new();
    let mut signature = sigstore.cosign_2(&keyless(), &good_payload());
    change(&mut signature, &sigstore);
    refusals(&sigstore, &signature)
}

#[test]
fn a_keyless_signature_is_admitted_with_its_identity_and_time() {
    let sigstore = Sigstore::new();
    let signature = sigstore.cosign_2(&keyless(), &good_payload());
    for ctlog in ["Required", "Ignore"] {
        let verified = signed(&sigstore, &signature).judged_by(&policy(SUBJECT, ctlog));
        let verified = verified.unwrap();
        let signer = &verified.signers()[0];
        assert_eq!(
            signer.by,
            SignedBy::Identity {
                issuer: ISSUER.to_owned(),
                subject: SUBJECT.to_owned(),
            }
        );
        assert_eq!(signer.signed_at, Some(signing_time()));
    }
}

#[test]
fn a_timestamp_authority_stands_in_for_a_log_that_is_ignored() {
    let sigstore = Sigstore::new();
    let mut signing = keyless();
    (signing.log, signing.timestamp) = (false, true);
    let signature = sigstore.cosign_2(&signing, &good_payload());
    let artifact = signed(&sigstore, &signature);
    artifact.judged_by(&policy(SUBJECT, "Ignore")).unwrap();
    let refusal = artifact.refused_by(&policy(SUBJECT, "Required"));
    assert_code(&refusal, RefusalCode::NotInLog, "no log entry");
}

#[test]
fn the_chain_beside_it_is_not_what_counts() {
    let (sigstore, stranger) = (Sigstore::new(), Sigstore::new());
    let theirs = stranger.cosign_2(&keyless(), &good_payload());
    let mut ours = sigstore.cosign_2(&keyless(), &good_payload());
    ours.annotations
        .insert(CHAIN.to_owned(), theirs.annotations[CHAIN].clone());
    signed(&sigstore, &ours)
        .judged_by(&policy(SUBJECT, "Required"))
        .unwrap();
    // A stranger's signature comes with the stranger's own chain.
    refusals(&sigstore, &theirs);
}

#[test]
fn somebody_else_is_named_and_a_prefix_is_somebody_else() {
    for subject in [
        "https://github.com/mallory/orders/.github/workflows/release.yaml@v1",
        &format!("{SUBJECT}-evil"),
        &SUBJECT[..SUBJECT.len() - 1],
    ] {
        let [refusal, _] = refusals_of(|signing| signing.subject = subject.to_owned());
        assert_code(&refusal, RefusalCode::NotTrustedIdentity, subject);
    }
    let [refusal, _] = refusals_of(|signing| signing.issuer = "https://evil.example".to_owned());
    assert_code(&refusal, RefusalCode::NotTrustedIdentity, "evil.example");
}

#[test]
fn a_certificate_without_a_proven_time_or_outside_of_it_is_refused() {
    let [_, refusal] = refusals_of(|signing| signing.log = false);
    assert_eq!(refusal.code(), RefusalCode::SignatureInvalid, "{refusal}");
    refusals_of(|signing| signing.time = later(signing.time, 600));
    refusals_of(|signing| signing.time = later(signing.time, -600));
    refusals_of(|signing| {
        (signing.log, signing.timestamp) = (false, true);
        signing.time = later(signing.time, 600);
    });
}

#[test]
fn a_certificate_that_no_certificate_log_has_seen_is_refused() {
    for refusal in refusals_of(|signing| signing.certificate_log = false) {
        assert_code(&refusal, RefusalCode::SignatureInvalid, "SCT");
    }
}

#[test]
fn the_log_entry_of_another_signature_proves_nothing() {
    // Of another payload, and of the same payload by another certificate (CVE-2022-36056).
    let other = payload(&Digest::of(b"other").to_string(), COSIGN_2);
    for payload in [other, good_payload()] {
        refusals_when(|signature, sigstore| {
            let other = sigstore.cosign_2(&keyless(), &payload);
            let entry = other.annotations[BUNDLE].clone();
            signature.annotations.insert(BUNDLE.to_owned(), entry);
        });
    }
    // Of another log.
    refusals_when(|signature, _| {
        let other = Sigstore::new().cosign_2(&keyless(), &good_payload());
        let entry = other.annotations[BUNDLE].clone();
        signature.annotations.insert(BUNDLE.to_owned(), entry);
    });
}

#[test]
fn the_timestamp_of_another_signature_proves_nothing() {
    let sigstore = Sigstore::new();
    let mut signing = keyless();
    (signing.log, signing.timestamp) = (false, true);
    let mut signature = sigstore.cosign_2(&signing, &good_payload());
    let other = sigstore.cosign_2(&signing, &good_payload());
    let timestamp = other.annotations[TIMESTAMP].clone();
    signature
        .annotations
        .insert(TIMESTAMP.to_owned(), timestamp);
    refusals(&sigstore, &signature);
}

#[test]
fn a_log_entry_with_a_changed_part_is_refused() {
    for (pointer, value) in [
        ("/SignedEntryTimestamp", json!("AAAA")),
        ("/SignedEntryTimestamp", json!("no base64!")),
        ("/SignedEntryTimestamp", json!("")),
        ("/Payload/integratedTime", json!(1_740_787_000)),
        ("/Payload/integratedTime", json!("soon")),
        ("/Payload/logIndex", json!(1)),
        ("/Payload/logID", json!("00")),
        ("/Payload/logID", json!("no digits")),
        ("/Payload/body", json!("e30=")),
        ("/Payload/body", json!("no base64!")),
    ] {
        refusals_when(|signature, _| {
            let text = &signature.annotations[BUNDLE];
            let mut entry: Value = serde_json::from_str(text).unwrap();
            *entry.pointer_mut(pointer).unwrap() = value;
            signature
                .annotations
                .insert(BUNDLE.to_owned(), entry.to_string());
        });
    }
}

#[test]
fn an_annotation_that_cannot_be_read_is_refused() {
    for (name, text) in [
        (BUNDLE, "no JSON"),
        (BUNDLE, "{}"),
        (TIMESTAMP, "no JSON"),
        (TIMESTAMP, r#"{"SignedRFC3161Timestamp": "AAAA"}"#),
        (CERTIFICATE, "no PEM"),
        (
            CERTIFICATE,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
        (SIMPLE_SIGNING_ANNOTATION, "AAAA"),
        (SIMPLE_SIGNING_ANNOTATION, "no base64!"),
    ] {
        refusals_when(|signature, _| {
            signature
                .annotations
                .insert(name.to_owned(), text.to_owned());
        });
    }
}

#[test]
fn the_certificate_of_another_signature_is_refused() {
    refusals_when(|signature, sigstore| {
        let other = sigstore.cosign_2(&keyless(), &good_payload());
        let certificate = other.annotations[CERTIFICATE].clone();
        signature
            .annotations
            .insert(CERTIFICATE.to_owned(), certificate);
    });
}

#[test]
fn a_payload_that_is_changed_or_of_something_else_is_refused() {
    refusals_when(|signature, _| signature.payload.push(b' '));
    let sigstore = Sigstore::new();
    let other = Digest::of(b"other").to_string();
    let [refusal, _] = refusals(
        &sigstore,
        &sigstore.cosign_2(&keyless(), &payload(&other, COSIGN_2)),
    );
    assert_code(&refusal, RefusalCode::SignatureForAnotherDigest, &other);
    let digest = artifact().digest.to_string();
    for payload in [
        payload(&digest, "atomic container signature"),
        b"no JSON".to_vec(),
        b"{}".to_vec(),
    ] {
        let [refusal, _] = refusals(&sigstore, &sigstore.cosign_2(&keyless(), &payload));
        assert_eq!(refusal.code(), RefusalCode::SignatureMalformed, "{refusal}");
    }
}

#[test]
fn a_signature_from_the_future_is_refused() {
    let sigstore = Sigstore::new();
    let mut artifact = signed(&sigstore, &sigstore.cosign_2(&keyless(), &good_payload()));
    artifact.now = later(signing_time(), -1);
    let refusal = artifact.refused_by(&policy(SUBJECT, "Required"));
    assert_code(&refusal, RefusalCode::SignatureMalformed, "future");
}

#[test]
fn a_signature_by_certificate_is_none_by_key_and_the_other_way_round() {
    let (sigstore, key) = (Sigstore::new(), Key::new());
    let by_key = [policy_with(&key, |_| ())];
    let keyless = sigstore.cosign_2(&keyless(), &good_payload());
    let refusal = signed(&sigstore, &keyless).refused_by(&by_key);
    assert_code(&refusal, RefusalCode::SignatureInvalid, "not by key");
    let key_signed = sigstore.cosign_2_by_key(&key, &good_payload(), signing_time());
    for refusal in refusals(&sigstore, &key_signed) {
        assert_code(
            &refusal,
            RefusalCode::SignatureInvalid,
            "not by certificate",
        );
    }
}

#[test]
fn a_signature_by_key_counts() {
    let (sigstore, key, stranger) = (Sigstore::new(), Key::new(), Key::new());
    let policies = [policy_with(&key, |_| ())];
    let digest = artifact().digest.to_string();
    let other = Digest::of(b"other").to_string();
    let judge = |key: &Key, payload: &[u8]| {
        let mut signature = sigstore.cosign_2_by_key(key, payload, signing_time());
        signature.annotations.remove(BUNDLE);
        signed(&sigstore, &signature).judged_by(&policies)
    };
    let verified = judge(&key, &good_payload()).unwrap();
    assert_eq!(verified.signers()[0].by, SignedBy::Key { key_id: key.id() });
    assert_eq!(verified.signers()[0].signed_at, None);
    for (key, payload, code) in [
        (&stranger, good_payload(), RefusalCode::SignatureInvalid),
        (
            &key,
            payload(&other, COSIGN_2),
            RefusalCode::SignatureForAnotherDigest,
        ),
        (
            &key,
            payload(&digest, "atomic container signature"),
            RefusalCode::SignatureMalformed,
        ),
        (&key, b"no JSON".to_vec(), RefusalCode::SignatureMalformed),
    ] {
        let refusal = judge(key, &payload).unwrap_err();
        assert_eq!(refusal.code(), code, "{refusal}");
    }
}

#[test]
fn a_signature_by_key_counts_as_logged_only_by_its_own_log_entry() {
    let (sigstore, key) = (Sigstore::new(), Key::new());
    let root = json!({"configMapKeyRef": {"name": "sigstore", "key": "root"}});
    let required = [policy_with(&key, |spec| {
        spec["authorities"][0]["ctlog"] = json!("Required");
        spec["authorities"][0]["key"]["trustedRoot"] = root;
    })];
    let good = sigstore.cosign_2_by_key(&key, &good_payload(), signing_time());
    let verified = signed(&sigstore, &good).judged_by(&required).unwrap();
    assert_eq!(verified.signers()[0].signed_at, Some(signing_time()));

    let stranger = Sigstore::new();
    let other = payload(&Digest::of(b"other").to_string(), COSIGN_2);
    for entry in [
        None,
        Some(stranger.cosign_2_by_key(&key, &good_payload(), signing_time())),
        Some(sigstore.cosign_2_by_key(&key, &other, signing_time())),
        Some(sigstore.cosign_2_by_key(&Key::new(), &good_payload(), signing_time())),
    ] {
        let mut signature = good.clone();
        signature.annotations.remove(BUNDLE);
        if let Some(entry) = entry {
            let entry = entry.annotations[BUNDLE].clone();
            signature.annotations.insert(BUNDLE.to_owned(), entry);
        }
        let refusal = signed(&sigstore, &signature).refused_by(&required);
        assert_eq!(refusal.code(), RefusalCode::NotInLog, "{refusal}");
    }
}
