//! What counts as a signature, and what is said of everything else.

use artifact::limits::{BUNDLE_MAX, BUNDLES_MAX};
use artifact::signature::COSIGN_SIGN;
use artifact::trust::Policy;
use artifact::{Digest, Refusal, RefusalCode};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;

use crate::support::{
    Artifact, IN_TOTO, Key, STATEMENT_V1, bytes, envelope, http_component, pae, policy, spec,
};

const SLSA: &str = "https://slsa.dev/provenance/v1";
const STATEMENT_V0_1: &str = "https://in-toto.io/Statement/v0.1";

/// The refusal of an artifact with these bundles by a policy of one key.
fn refusal(key: &Key, bundles: impl Fn(&Digest) -> Vec<Bytes>) -> Refusal {
    let mut artifact = Artifact::new(http_component());
    artifact.parcel.bundles = bundles(&artifact.digest);
    artifact.refused_by(&[policy("shop", &[("release", key)])])
}

#[track_caller]
fn assert_refused(refusal: &Refusal, code: RefusalCode, says: &[&str]) {
    assert_eq!(refusal.code(), code, "{refusal}");
    for words in says {
        assert!(
            refusal.to_string().contains(words),
            "{words:?} is missing in: {refusal}"
        );
    }
}

#[test]
fn an_unsigned_image_is_refused_as_unsigned() {
    let key = Key::new();
    let refusal = refusal(&key, |_| vec![]);
    let key_id = key.id();
    assert_refused(
        &refusal,
        RefusalCode::Unsigned,
        &["shop", "release", &key_id[..12], "lighterman sign"],
    );
}

#[test]
fn a_signature_by_another_key_is_refused_as_such() {
    let (trusted, stranger) = (Key::new(), Key::new());
    let refusal = refusal(&trusted, |digest| vec![stranger.sign(digest)]);
    assert_refused(
        &refusal,
        RefusalCode::SignatureInvalid,
        &["release", "by another key"],
    );
}

#[test]
fn a_signature_whose_payload_was_changed_is_refused() {
    let key = Key::new();
    let refusal = refusal(&key, |digest| {
        let mut bundle: serde_json::Value =
            serde_json::from_slice(&key.sign(&Digest::of(b"other"))).unwrap();
        let genuine: serde_json::Value = serde_json::from_slice(&key.sign(digest)).unwrap();
        bundle["dsseEnvelope"]["payload"] = genuine["dsseEnvelope"]["payload"].clone();
        vec![bytes(&bundle)]
    });
    assert_refused(&refusal, RefusalCode::SignatureInvalid, &[]);
}

#[test]
fn a_signature_for_another_digest_is_told_apart_from_a_wrong_key() {
    let key = Key::new();
    let other = Digest::of(b"another manifest");
    let refusal = refusal(&key, |_| vec![key.sign(&other)]);
    assert_refused(
        &refusal,
        RefusalCode::SignatureForAnotherDigest,
        &[&other.to_string(), "release"],
    );
}

#[test]
fn an_attestation_by_a_trusted_key_is_no_signature() {
    let key = Key::new();
    for statement_type in [STATEMENT_V1, STATEMENT_V0_1] {
        let refusal = refusal(&key, |digest| {
            vec![key.statement(statement_type, digest, SLSA)]
        });
        assert_refused(
            &refusal,
            RefusalCode::AttestationOnly,
            &[SLSA, "does not approve"],
        );
    }
}

#[test]
fn both_statement_versions_that_cosign_writes_count() {
    let key = Key::new();
    for statement_type in [STATEMENT_V1, STATEMENT_V0_1] {
        let artifact = Artifact::new(http_component());
        let bundle = key.statement(statement_type, &artifact.digest, COSIGN_SIGN);
        artifact
            .with_bundle(bundle)
            .judged_by(&[policy("shop", &[("release", &key)])])
            .unwrap();
    }
}

#[test]
fn a_statement_of_an_unknown_version_does_not_count() {
    let key = Key::new();
    let refusal = refusal(&key, |digest| {
        vec![key.statement("https://in-toto.io/Statement/v9", digest, COSIGN_SIGN)]
    });
    assert_refused(&refusal, RefusalCode::SignatureMalformed, &["Statement/v9"]);
}

#[test]
fn an_envelope_needs_exactly_one_signature() {
    let key = Key::new();
    for signatures in [&[][..], &[b"one".as_slice(), b"two".as_slice()]] {
        let refusal = refusal(&key, |digest| {
            let payload = artifact::signature::statement(digest);
            vec![bytes(&envelope(IN_TOTO, &payload, signatures))]
        });
        assert_refused(
            &refusal,
            RefusalCode::SignatureMalformed,
            &["exactly one signature"],
        );
    }
}

#[test]
fn a_signed_payload_of_another_type_does_not_count() {
    let key = Key::new();
    let refusal = refusal(&key, |digest| {
        let payload = artifact::signature::statement(digest);
        vec![bytes(&key.envelope("application/vnd.other+json", &payload))]
    });
    assert_refused(
        &refusal,
        RefusalCode::SignatureMalformed,
        &["application/vnd.other+json"],
    );
}

#[test]
fn a_payload_type_that_was_changed_after_signing_breaks_the_signature() {
    let key = Key::new();
    let refusal = refusal(&key, |digest| {
        let payload = artifact::signature::statement(digest);
        let mut bundle = key.envelope("application/vnd.other+json", &payload);
        bundle["dsseEnvelope"]["payloadType"] = json!(IN_TOTO);
        vec![bytes(&bundle)]
    });
    assert_refused(&refusal, RefusalCode::SignatureInvalid, &[]);
}

#[test]
fn a_signed_payload_that_is_no_statement_is_malformed() {
    let key = Key::new();
    let refusal = refusal(&key, |_| vec![bytes(&key.envelope(IN_TOTO, b"hello"))]);
    assert_refused(
        &refusal,
        RefusalCode::SignatureMalformed,
        &["no in-toto statement"],
    );
}

#[test]
fn a_subject_without_sha256_names_no_image() {
    let key = Key::new();
    let refusal = refusal(&key, |digest| {
        let statement = json!({
            "_type": STATEMENT_V1,
            "subject": [{"name": digest.to_string(), "digest": {"sha1": "00"}}],
            "predicateType": COSIGN_SIGN,
        });
        vec![bytes(
            &key.envelope(IN_TOTO, statement.to_string().as_bytes()),
        )]
    });
    assert_refused(
        &refusal,
        RefusalCode::SignatureForAnotherDigest,
        &["without sha256"],
    );
}

#[test]
fn bundles_that_cannot_be_read_are_malformed_and_named() {
    let key = Key::new();
    let message_signature = bytes(&json!({
        "mediaType": artifact::signature::BUNDLE_MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": ""}},
        "messageSignature": {"signature": "AAAA"},
    }));
    let large = Bytes::from(vec![b' '; BUNDLE_MAX + 1]);
    for (bundle, words) in [
        (Bytes::from_static(b""), "not sigstore bundle JSON"),
        (Bytes::from_static(b"{}"), "not sigstore bundle JSON"),
        (Bytes::from_static(b"\xff\xfe"), "not sigstore bundle JSON"),
        (message_signature, "without DSSE envelope"),
        (large, "over the limit"),
    ] {
        let refusal = refusal(&key, |_| vec![bundle.clone()]);
        assert_refused(&refusal, RefusalCode::SignatureMalformed, &[words]);
    }
}

#[test]
fn a_signature_by_certificate_is_none_by_key() {
    let mut bundle = envelope(IN_TOTO, b"{}", &[b"x"]);
    bundle["verificationMaterial"] = json!({"certificate": {"rawBytes": "AAAA"}});
    let refusal = refusal(&Key::new(), |_| vec![bytes(&bundle)]);
    assert_refused(
        &refusal,
        RefusalCode::SignatureInvalid,
        &["by certificate, not by key"],
    );
}

#[test]
fn one_good_signature_suffices_among_bad_ones() {
    let (trusted, stranger) = (Key::new(), Key::new());
    let mut artifact = Artifact::new(http_component());
    artifact.parcel.bundles = vec![
        Bytes::from_static(b"garbage"),
        stranger.sign(&artifact.digest),
        trusted.sign(&Digest::of(b"other")),
        trusted.statement(STATEMENT_V0_1, &artifact.digest, SLSA),
        trusted.sign(&artifact.digest),
    ];
    artifact
        .judged_by(&[policy("shop", &[("release", &trusted)])])
        .unwrap();
}

#[test]
fn the_message_remembers_what_was_found_when_nothing_suffices() {
    let (trusted, stranger) = (Key::new(), Key::new());
    let refusal = refusal(&trusted, |digest| {
        vec![Bytes::from_static(b"garbage"), stranger.sign(digest)]
    });
    assert_refused(
        &refusal,
        RefusalCode::SignatureInvalid,
        &["by another key", "not sigstore bundle JSON"],
    );
}

#[test]
fn more_bundles_than_the_limit_are_refused_and_as_many_are_read() {
    let key = Key::new();
    let mut artifact = Artifact::new(http_component());
    artifact.parcel.bundles = vec![Bytes::from_static(b"{}"); BUNDLES_MAX - 1];
    let mut artifact = artifact.signed_by(&key);
    let policies = [policy("shop", &[("release", &key)])];
    artifact.judged_by(&policies).unwrap();
    artifact.parcel.bundles.push(Bytes::from_static(b"{}"));
    assert_refused(
        &artifact.refused_by(&policies),
        RefusalCode::TooLarge,
        &["16 bundles"],
    );
}

#[test]
fn the_hint_in_a_bundle_decides_nothing() {
    let (trusted, stranger) = (Key::new(), Key::new());
    let refusal = refusal(&trusted, |digest| {
        let mut bundle: serde_json::Value = serde_json::from_slice(&stranger.sign(digest)).unwrap();
        let own = artifact::signature::sign(trusted.signing_key(), digest).unwrap();
        let own: serde_json::Value = serde_json::from_slice(&own).unwrap();
        bundle["verificationMaterial"] = own["verificationMaterial"].clone();
        vec![bytes(&bundle)]
    });
    assert_refused(&refusal, RefusalCode::SignatureInvalid, &[]);
}

#[test]
fn an_ed25519_key_can_sign_too() {
    /// SPKI of Ed25519 up to the key itself (RFC 8410).
    const SPKI_HEAD: [u8; 12] = [
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    let pair = Ed25519KeyPair::generate().unwrap();
    let der = [&SPKI_HEAD, pair.public_key().as_ref()].concat();
    let mut spec = spec(&[("release", &Key::new())]);
    spec["authorities"][0]["key"]["data"] = json!(format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(der)
    ));
    let artifact = Artifact::new(http_component());
    let payload = artifact::signature::statement(&artifact.digest);
    let signature = pair.sign(&pae(IN_TOTO, &payload));
    let artifact = artifact.with_bundle(bytes(&envelope(IN_TOTO, &payload, &[signature.as_ref()])));
    artifact
        .judged_by(&[Policy::parse("shop", &spec).unwrap()])
        .unwrap();
}
