//! The kubelet's credential provider plugins. `/bin/sh` is the plugin of every
//! test; its script is in the configuration's `args`.

use std::path::Path;
use std::time::{Duration, Instant};

use artifact::ImageReference;
use registry::CredentialProviders;
use registry::credential_provider::{ConfigError, CredentialProviderConfig};
use serde_json::{Value, json};

fn config(script: &str, change: impl FnOnce(&mut Value)) -> CredentialProviderConfig {
    let mut config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig",
        "providers": [{
            "name": "sh", "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
            "matchImages": ["*.cloud.example", "registry.example:5000/shop"],
            "defaultCacheDuration": "12h",
            "args": ["-c", script],
        }],
    });
    change(&mut config);
    serde_json::from_value(config).unwrap()
}

fn providers(script: &str, change: impl FnOnce(&mut Value)) -> CredentialProviders {
    CredentialProviders::new(config(script, change), Path::new("/bin")).unwrap()
}

/// An answer as a plugin prints it.
fn answer(scope: &str, lasts: Option<&str>, auth: Value) -> String {
    let mut answer = json!({
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "kind": "CredentialProviderResponse",
        "cacheKeyType": scope, "auth": auth,
    });
    if let Some(lasts) = lasts {
        answer["cacheDuration"] = json!(lasts);
    }
    format!("echo '{answer}'")
}

fn image(name: &str) -> ImageReference {
    name.parse().unwrap()
}

/// The user names that are given for an image.
async fn users(providers: &CredentialProviders, name: &str) -> Vec<String> {
    let mut users = Vec::new();
    for answer in providers.for_image(&image(name)).await {
        let given = answer.unwrap();
        users.extend(given.iter().map(|one| one.username().unwrap().to_owned()));
    }
    users
}

async fn failure(script: &str) -> String {
    let providers = providers(script, |_| {});
    let mut answers = providers.for_image(&image("a.cloud.example/shop:1")).await;
    answers.remove(0).unwrap_err().to_string()
}

fn auth(user: &str) -> Value {
    json!({"*.cloud.example": {"username": user, "password": "token"}})
}

#[tokio::test]
async fn a_plugin_is_asked_for_the_images_it_is_for() {
    let providers = providers(&answer("Registry", None, auth("cloud")), |_| {});
    assert_eq!(users(&providers, "a.cloud.example/shop:1").await, ["cloud"]);
    for other in [
        "cloud.example/shop:1",
        "a.b.cloud.example/shop:1",
        "registry.example/shop/orders:1",
        "registry.example:5000/bank/orders:1",
    ] {
        assert!(
            providers.for_image(&image(other)).await.is_empty(),
            "{other}"
        );
    }
    // It is for this one, and has nothing to give for it.
    assert!(
        users(&providers, "registry.example:5000/shop/orders:1")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn it_reads_the_question_and_has_only_the_environment_that_is_declared() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "cat > $OUT/question; env > $OUT/env; {}",
        answer("Image", None, auth("cloud"))
    );
    let providers = providers(&script, |config| {
        let path = std::env::var("PATH").unwrap();
        config["providers"][0]["env"] = json!([
            {"name": "OUT", "value": folder.path()}, {"name": "PATH", "value": path},
        ]);
    });
    assert_eq!(
        users(&providers, "a.cloud.example/shop/orders:1.4").await,
        ["cloud"]
    );
    let question = std::fs::read(folder.path().join("question")).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&question).unwrap(),
        json!({
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
            "kind": "CredentialProviderRequest",
            "image": "a.cloud.example/shop/orders",
        })
    );
    let env = std::fs::read_to_string(folder.path().join("env")).unwrap();
    // The shell sets some of its own.
    let names: Vec<&str> = env
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .filter(|name| !matches!(*name, "PWD" | "SHLVL" | "_" | "OLDPWD"))
        .collect();
    assert!(
        names.iter().all(|name| matches!(*name, "OUT" | "PATH")) && names.len() == 2,
        "{names:?}"
    );
}

#[tokio::test]
async fn an_answer_is_kept_for_what_it_is_good_for_and_as_long() {
    for (scope, runs) in [("Global", 1), ("Registry", 2), ("Image", 3)] {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("runs");
        let script = format!(
            "echo run >> {}; {}",
            log.display(),
            answer(scope, None, auth("cloud"))
        );
        let providers = providers(&script, |_| {});
        for name in [
            "a.cloud.example/shop:1",
            "a.cloud.example/shop:2",
            "a.cloud.example/bank:1",
            "b.cloud.example/shop:1",
            "a.cloud.example/shop:1",
        ] {
            assert_eq!(users(&providers, name).await, ["cloud"], "{scope}");
        }
        let log = std::fs::read_to_string(log).unwrap();
        assert_eq!(log.lines().count(), runs, "{scope}");
    }
}

#[tokio::test]
async fn an_answer_that_lasts_no_time_is_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("runs");
    let script = format!(
        "echo run >> {}; {}",
        log.display(),
        answer("Global", Some("0s"), auth("cloud"))
    );
    let providers = providers(&script, |_| {});
    for _ in 0..2 {
        users(&providers, "a.cloud.example/shop:1").await;
    }
    assert_eq!(std::fs::read_to_string(log).unwrap().lines().count(), 2);
}

#[tokio::test]
async fn a_plugin_that_fails_says_so_by_name_and_is_not_started_for_every_image() {
    for (script, expected) in [
        ("echo secret-words >&2; exit 3", "exit status: 3"),
        ("echo nonsense", "no CredentialProviderResponse"),
        (
            "echo '{\"apiVersion\":\"v2\",\"kind\":\"CredentialProviderResponse\",\"cacheKeyType\":\"Global\"}'",
            "no CredentialProviderResponse",
        ),
        ("head -c 2000000 /dev/zero", "more than 1048576 bytes"),
    ] {
        let message = failure(script).await;
        assert!(
            message.contains("provider sh gave no credentials"),
            "{message}"
        );
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("secret-words"), "{message}");
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("runs");
    let script = format!("echo run >> {}; exit 1", log.display());
    let providers = providers(&script, |_| {});
    for name in ["a.cloud.example/shop:1", "a.cloud.example/bank:1"] {
        assert!(providers.for_image(&image(name)).await.remove(0).is_err());
    }
    assert_eq!(std::fs::read_to_string(log).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn a_plugin_that_writes_much_on_the_side_is_not_held_up() {
    let script = format!(
        "head -c 1000000 /dev/zero >&2; {}",
        answer("Global", None, auth("cloud"))
    );
    let started = Instant::now();
    let providers = providers(&script, |_| {});
    assert_eq!(users(&providers, "a.cloud.example/shop:1").await, ["cloud"]);
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_configuration_that_cannot_be_used_says_what_is_wrong() {
    let table: &[(&str, &str, Value, &str)] = &[
        (
            "",
            "kind",
            json!("KubeletConfiguration"),
            "only CredentialProviderConfig",
        ),
        (
            "",
            "apiVersion",
            json!("kubelet.config.k8s.io/v1beta1"),
            "only CredentialProviderConfig",
        ),
        ("", "providers", json!([]), "between 1 and 64"),
        (
            "/providers/0",
            "name",
            json!("../sh"),
            "file, without folder",
        ),
        (
            "/providers/0",
            "name",
            json!("not-there"),
            "/bin/not-there is not there",
        ),
        (
            "/providers/0",
            "apiVersion",
            json!("v1"),
            "apiVersion must be",
        ),
        ("/providers/0", "matchImages", json!([]), "matchImages"),
        ("/providers/0", "matchImages", json!(["a b"]), "matchImages"),
        (
            "/providers/0",
            "defaultCacheDuration",
            json!("soon"),
            "defaultCacheDuration",
        ),
        (
            "/providers/0",
            "tokenAttributes",
            json!({"x": 1}),
            "tokenAttributes is not supported",
        ),
    ];
    for (pointer, key, value, expected) in table {
        let config = config("", |config| {
            config.pointer_mut(pointer).unwrap()[*key] = value.clone();
        });
        let error: ConfigError = CredentialProviders::new(config, Path::new("/bin")).unwrap_err();
        assert!(error.to_string().contains(expected), "{key}: {error}");
    }
    let unknown = json!({
        "apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig",
        "providers": [], "provider": [],
    });
    assert!(serde_json::from_value::<CredentialProviderConfig>(unknown).is_err());
}
