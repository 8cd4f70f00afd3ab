//! Key files: cosign's encrypted ones both ways, plain ones, and what is
//! neither.

use artifact::Digest;
use artifact::signature::{KeyError, PublicKey, SigningKey};
use artifact::trust::Policy;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::{Artifact, Key, http_component, spec};

/// Written by go-securesystemslib 0.11.1, the library that cosign writes its
/// key files with. A key for tests only.
const BY_COSIGN: &str = include_str!("cosign/cosign.key");
const PASSWORD: &[u8] = b"secret";
/// Written by openssl from the same key.
const PUBLIC: &str = include_str!("cosign/cosign.pub");
const PUBLIC_ID: &str = "dc59ae5997ba63937d697593d191f7ac7ef191c0b38a0c2e3e58c6e25f4e3ca8";

#[test]
fn a_key_file_of_cosign_is_opened_with_its_password() {
    let key = SigningKey::from_pem(BY_COSIGN, PASSWORD).unwrap();
    assert_eq!(key.public_key(), &PublicKey::from_pem(PUBLIC).unwrap());
    assert_eq!(key.public_key().key_id(), PUBLIC_ID);
}

#[test]
fn the_older_label_of_cosign_is_read_too() {
    let older = BY_COSIGN.replace("ENCRYPTED SIGSTORE", "ENCRYPTED COSIGN");
    SigningKey::from_pem(&older, PASSWORD).unwrap();
}

#[test]
fn a_wrong_password_is_told_apart_from_a_file_that_is_no_key() {
    let error = SigningKey::from_pem(BY_COSIGN, b"guess").unwrap_err();
    assert!(matches!(error, KeyError::Password), "{error}");
    assert!(error.to_string().contains("COSIGN_PASSWORD"), "{error}");
    let damaged = BY_COSIGN.replacen('e', "!", 1);
    for text in [
        "",
        "hello",
        &damaged,
        PUBLIC,
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
    ] {
        let error = SigningKey::from_pem(text, PASSWORD).unwrap_err();
        assert!(matches!(error, KeyError::PrivateKey(_)), "{text}: {error}");
    }
}

#[test]
fn a_key_that_was_written_is_read_again() {
    let key = SigningKey::generate().unwrap();
    for password in [b"".as_slice(), b"secret"] {
        let pem = key.to_cosign_pem(password).unwrap();
        let again = SigningKey::from_pem(&pem, password).unwrap();
        assert_eq!(again.public_key(), key.public_key());
    }
}

#[test]
fn a_plain_pkcs8_key_is_read_and_its_signatures_count() {
    let pkcs8 = Key::new().pkcs8();
    let body = STANDARD.encode(pkcs8);
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let key = SigningKey::from_pem(&pem, b"is not looked at").unwrap();
    let artifact = Artifact::new(http_component());
    let bundle = artifact::signature::sign(&key, &artifact.digest).unwrap();
    let mut spec = spec(&[("release", &Key::new())]);
    spec["authorities"][0]["key"]["data"] = key.public_key().to_pem().into();
    artifact
        .with_bundle(bundle)
        .judged_by(&[Policy::parse("shop", &spec).unwrap()])
        .unwrap();
}

#[test]
fn two_files_of_one_key_share_neither_salt_nor_nonce() {
    let key = SigningKey::generate().unwrap();
    assert_ne!(
        *key.to_cosign_pem(b"secret").unwrap(),
        *key.to_cosign_pem(b"secret").unwrap()
    );
}

#[test]
fn a_key_file_cannot_choose_how_much_memory_is_spent_on_it() {
    let body: String = BY_COSIGN
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let json = String::from_utf8(STANDARD.decode(body).unwrap()).unwrap();
    for params in [
        r#""N":1073741824,"r":8,"p":1"#,
        r#""N":65536,"r":1024,"p":1"#,
        r#""N":65535,"r":8,"p":1"#,
    ] {
        let changed = json.replace(r#""N":65536,"r":8,"p":1"#, params);
        assert_ne!(changed, json);
        let pem = format!(
            "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n{}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
            STANDARD.encode(changed)
        );
        let error = SigningKey::from_pem(&pem, PASSWORD).unwrap_err();
        assert!(error.to_string().contains("scrypt parameters"), "{error}");
    }
}

#[test]
fn a_private_key_in_a_policy_is_called_exposed() {
    let error = PublicKey::from_pem(BY_COSIGN).unwrap_err();
    assert!(matches!(error, KeyError::PrivateKeyGiven));
    assert!(error.to_string().contains("exposed"), "{error}");
}

#[test]
fn what_is_no_public_key_is_refused() {
    let certificate = PUBLIC.replace("PUBLIC KEY", "CERTIFICATE");
    let truncated = PUBLIC.replace("VZwQ", "");
    for pem in ["", "hello", &certificate, &truncated] {
        assert!(
            matches!(
                PublicKey::from_pem(pem).unwrap_err(),
                KeyError::PublicKey(_)
            ),
            "{pem}"
        );
    }
    let long = " ".repeat(artifact::limits::KEY_MAX + 1);
    assert!(matches!(
        PublicKey::from_pem(&long).unwrap_err(),
        KeyError::TooLarge(_)
    ));
}

#[test]
fn debug_shows_no_private_key() {
    let key = Key::new();
    assert_eq!(
        format!("{:?}", key.signing_key()),
        format!("SigningKey({})", key.id())
    );
}

#[test]
fn a_bundle_has_the_layout_that_cosign_writes() {
    let key = SigningKey::from_pem(BY_COSIGN, PASSWORD).unwrap();
    let digest = Digest::of(b"manifest");
    let bundle: serde_json::Value =
        serde_json::from_slice(&artifact::signature::sign(&key, &digest).unwrap()).unwrap();
    assert_eq!(
        bundle["mediaType"],
        "application/vnd.dev.sigstore.bundle.v0.3+json"
    );
    // base64 of the same sha256 that PUBLIC_ID spells in hexadecimal.
    assert_eq!(
        bundle["verificationMaterial"]["publicKey"]["hint"],
        "3FmuWZe6Y5N9aXWT0ZH3rH7xkcCzigwuPljG4l9OPKg="
    );
    assert_eq!(
        bundle["dsseEnvelope"]["payloadType"],
        "application/vnd.in-toto+json"
    );
    let statement: serde_json::Value =
        serde_json::from_slice(&artifact::signature::statement(&digest)).unwrap();
    assert_eq!(
        statement,
        serde_json::json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": digest.hex()}, "annotations": {}}],
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "predicate": {},
        })
    );
}
