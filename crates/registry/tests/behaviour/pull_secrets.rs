//! Which entry of which pull secret is for which image.

use registry::PullSecret;
use registry::pull_secret::{PullSecretError, Warning};
use serde_json::{Value, json};

fn secret(auths: Value) -> PullSecret {
    PullSecret::parse(&serde_json::to_vec(&json!({"auths": auths})).unwrap()).unwrap()
}

/// A secret with one user per key, called like the key.
fn keyed(keys: &[&str]) -> PullSecret {
    let entries = keys
        .iter()
        .map(|key| ((*key).to_owned(), json!({"username": key, "password": "p"})));
    secret(Value::Object(entries.collect()))
}

fn users(secrets: &[PullSecret], image: &str) -> Vec<String> {
    PullSecret::for_image(secrets, &image.parse().unwrap())
        .unwrap()
        .iter()
        .map(|credentials| credentials.username().unwrap().to_owned())
        .collect()
}

#[test]
fn keys_match_images_as_the_kubelet_matches_them() {
    let table: &[(&str, &str, bool)] = &[
        ("foo.io", "foo.io/a/b:1", true),
        ("https://foo.io", "foo.io/a/b:1", true),
        ("http://foo.io/", "foo.io/a:1", true),
        ("foo.io/v2/", "foo.io/a:1", true),
        ("https://foo.io/v1/", "foo.io/a:1", true),
        ("foo.io", "bar.foo.io/a:1", false),
        ("foo.io", "foo.io:5000/a:1", false),
        ("foo.io:5000", "foo.io:5000/a:1", true),
        ("foo.io:5000", "foo.io:5001/a:1", false),
        ("*.foo.io", "bar.foo.io/a:1", true),
        ("*.foo.io", "foo.io/a:1", false),
        ("*.foo.io", "a.b.foo.io/a:1", false),
        ("*.*.foo.io", "a.b.foo.io/a:1", true),
        ("pre*.foo.io", "prefix.foo.io/a:1", true),
        ("pre*.foo.io", "other.foo.io/a:1", false),
        ("r*y*.foo.io", "registry1.foo.io/a:1", true),
        ("r?.foo.io", "r1.foo.io/a:1", false),
        ("*.foo.io:5000", "bar.foo.io:5000/a:1", true),
        ("*.foo.io/team", "bar.foo.io/team/a:1", true),
        ("foo.io/team", "foo.io/team/a:1", true),
        ("foo.io/team/a", "foo.io/team/b:1", false),
        ("foo.io/v2/team", "foo.io/team/a:1", true),
        ("FOO.io", "foo.io/a:1", true),
        (
            "https://index.docker.io/v1/",
            "docker.io/shop/orders:1",
            true,
        ),
        ("https://index.docker.io/v1/", "shop/orders:1", true),
        ("docker.io", "shop/orders:1", true),
        ("index.docker.io", "foo.io/shop/orders:1", false),
        ("foo.io", "shop/orders:1", false),
    ];
    for (key, image, expected) in table {
        assert_eq!(
            !users(&[keyed(&[key])], image).is_empty(),
            *expected,
            "{key} for {image}"
        );
    }
}

#[test]
fn the_most_specific_entry_comes_first_whatever_secret_it_is_in() {
    let one = keyed(&["*.foo.io", "bar.foo.io"]);
    let other = keyed(&["bar.foo.io/team", "bar.foo.io/team/app"]);
    assert_eq!(
        users(&[one, other], "bar.foo.io/team/app:1"),
        [
            "bar.foo.io/team/app",
            "bar.foo.io/team",
            "bar.foo.io",
            "*.foo.io"
        ]
    );
}

#[test]
fn between_equal_keys_the_order_of_the_secrets_decides() {
    let named = |user: &str| secret(json!({"foo.io": {"username": user, "password": "p"}}));
    assert_eq!(
        users(&[named("first"), named("second")], "foo.io/a:1"),
        ["first", "second"]
    );
}

#[test]
fn auth_is_read_padded_or_not_and_wins_over_user_and_password() {
    // ann:pass:word, with and without padding
    for auth in [
        "YW5uOnBhc3M6d29yZA==",
        "YW5uOnBhc3M6d29yZA",
        "YW5uOnBhc3M6d29yZA==\n",
    ] {
        let secret = secret(json!({"foo.io": {"username": "x", "password": "y", "auth": auth}}));
        assert_eq!(users(&[secret], "foo.io/a:1"), ["ann"], "{auth}");
    }
}

#[test]
fn the_older_format_is_read_too() {
    let secret =
        PullSecret::parse_dockercfg(br#"{"https://foo.io":{"auth":"YW5uOnA=","email":"a@b"}}"#)
            .unwrap();
    assert_eq!(users(&[secret], "foo.io/a:1"), ["ann"]);
}

#[test]
fn helpers_are_ignored_with_a_warning() {
    let text = br#"{"credsStore":"osxkeychain","credHelpers":{"gcr.io":"gcloud"},"auths":{"foo.io":{"auth":"YW5uOnA="}}}"#;
    let secret = PullSecret::parse(text).unwrap();
    assert_eq!(
        secret.warnings(),
        [
            Warning::CredentialStore,
            Warning::CredentialHelper {
                registry: "gcr.io".to_owned()
            }
        ]
    );
    assert_eq!(users(&[secret], "foo.io/a:1"), ["ann"]);
}

#[test]
fn an_identity_token_alone_is_an_error_only_for_the_image_it_is_for() {
    let secrets = [secret(
        json!({"foo.io": {"identitytoken": "t"}, "bar.io": {"auth": "YW5uOnA="}}),
    )];
    let error = PullSecret::for_image(&secrets, &"foo.io/a:1".parse().unwrap()).unwrap_err();
    assert!(
        matches!(&error, PullSecretError::IdentityToken { registry } if registry == "foo.io"),
        "{error:?}"
    );
    assert_eq!(users(&secrets, "bar.io/a:1"), ["ann"]);
    assert!(users(&secrets, "baz.io/a:1").is_empty());
}

#[test]
fn what_is_not_a_docker_configuration_is_refused() {
    for text in ["", "3", "auths", r#"{"auths":[]}"#] {
        assert!(
            matches!(
                PullSecret::parse(text.as_bytes()),
                Err(PullSecretError::Malformed { .. })
            ),
            "{text}"
        );
    }
    for auth in ["!!!", "bm9jb2xvbg=="] {
        let text = json!({"auths": {"foo.io": {"auth": auth}}}).to_string();
        assert!(
            matches!(
                PullSecret::parse(text.as_bytes()),
                Err(PullSecretError::Auth { .. })
            ),
            "{auth}"
        );
    }
    assert!(matches!(
        PullSecret::parse(&vec![b' '; 1024 * 1024 + 1]),
        Err(PullSecretError::TooLarge)
    ));
}

#[test]
fn a_secret_does_not_show_its_passwords() {
    let secret = secret(
        json!({"foo.io": {"username": "ann", "password": "hunter2"}, "bar.io": {"identitytoken": "hunter3"}}),
    );
    let shown = format!("{secret:?}");
    assert!(!shown.contains("hunter"), "{shown}");
}
