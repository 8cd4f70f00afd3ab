//! Whose credentials open an image: those of the component, else of its
//! namespace's ServiceAccount, then of the platform.

use std::path::Path;

use crds::Reason;
use registry::CredentialProviders;
use registry::development::Access;
use serde_json::{Value, json};

use crate::fixture::*;

const DOCKER: &str = ".dockerconfigjson";

/// A plugin of the platform that runs `script` for images of the registry.
fn plugin(world: &World, script: String) -> CredentialProviders {
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig",
        "providers": [{
            "name": "sh", "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
            "matchImages": [world.registry.addr()], "defaultCacheDuration": "1h",
            "args": ["-c", script],
        }],
    });
    CredentialProviders::new(serde_json::from_value(config).unwrap(), Path::new("/bin")).unwrap()
}

fn docker(auths: Value) -> Value {
    json!({"auths": auths})
}

#[tokio::test]
async fn after_a_restart_access_is_proven_without_pulling_again() {
    let world = World::private().await;
    let (image, digest) = world.publish("private/orders:1").await;
    let image = image.with_digest(digest);
    world
        .api
        .secret("shop", "pull", DOCKER, &docker(world.auths(PASSWORD)));
    world
        .api
        .secret("bank", "pull", DOCKER, &docker(world.auths("wrong")));
    let ours = component("shop", "orders", &image, &["pull"]);
    let theirs = component("bank", "orders", &image, &["pull"]);
    world.operator(None).await.admitted(&ours).await;
    assert_eq!(world.blobs().len(), 3, "config, layer, signature");
    world.registry.clear_requests();

    let restarted = world.operator(None).await;
    assert_eq!(restarted.admitted(&ours).await, digest);
    assert_eq!(world.blobs().len(), 1, "the signature");
    let failure = restarted.refused(&theirs).await;
    assert_eq!(failure.reason, Reason::RegistryUnauthorized);

    // Proven once, it serves all who have the same credentials.
    world.registry.clear_requests();
    let second = component("shop", "second", &image, &["pull"]);
    restarted.admitted(&second).await;
    assert_eq!(world.registry.requests(), []);
}

#[tokio::test]
async fn a_component_that_names_no_secret_has_those_of_its_service_account() {
    let world = World::private().await;
    let (image, digest) = world.publish("private/orders:1").await;
    let config = docker(world.auths(PASSWORD));
    world.api.secret("shop", "of-account", DOCKER, &config);
    world.api.account("shop", &["of-account"]);
    let operator = world.operator(None).await;
    let silent = component("shop", "silent", &image, &[]);
    assert_eq!(operator.admitted(&silent).await, digest);

    // Kubernetes adds nothing to a list that is there.
    world
        .api
        .secret("shop", "wrong", DOCKER, &docker(world.auths("wrong")));
    let named = component("shop", "named", &image, &["wrong"]);
    let failure = operator.refused(&named).await;
    assert_eq!(failure.reason, Reason::RegistryUnauthorized);
    let elsewhere = component("bank", "silent", &image, &[]);
    let failure = operator.refused(&elsewhere).await;
    assert_eq!(failure.reason, Reason::RegistryUnauthorized);
}

#[tokio::test]
async fn a_missing_secret_is_named_when_the_registry_refuses_and_passed_over_when_not() {
    let world = World::private().await;
    let (image, digest) = world.publish("private/orders:1").await;
    let config = docker(world.auths(PASSWORD));
    world.api.secret("shop", "pull", DOCKER, &config);
    world.api.account("market", &["of-account"]);
    let operator = world.operator(None).await;

    let both = component("shop", "both", &image, &["gone", "pull"]);
    assert_eq!(operator.admitted(&both).await, digest);
    let gone = component("shop", "gone", &image, &["gone"]);
    let failure = operator.refused(&gone).await;
    assert_eq!(failure.reason, Reason::ImagePullSecretMissing);
    assert!(!failure.verdict);
    for part in [
        "Secret gone of spec.imagePullSecrets",
        "namespace shop",
        "anonymous",
    ] {
        assert!(failure.message.contains(part), "{}", failure.message);
    }
    let failure = operator
        .refused(&component("market", "orders", &image, &[]))
        .await;
    assert_eq!(failure.reason, Reason::ImagePullSecretMissing);
    let expected = "Secret of-account of the imagePullSecrets of ServiceAccount default";
    assert!(failure.message.contains(expected), "{}", failure.message);

    let open = World::start(Access::Open).await;
    let (image, digest) = open.publish("public/orders:1").await;
    let public = component("shop", "public", &image, &["gone"]);
    assert_eq!(open.operator(None).await.admitted(&public).await, digest);
}

#[tokio::test]
async fn a_secret_that_is_mended_is_read_anew() {
    let world = World::private().await;
    let (image, digest) = world.publish("private/orders:1").await;
    let config = docker(world.auths("wrong"));
    world.api.secret("shop", "pull", DOCKER, &config);
    let operator = world.operator(None).await;
    let ours = component("shop", "orders", &image, &["pull"]);
    let failure = operator.refused(&ours).await;
    assert_eq!(failure.reason, Reason::RegistryUnauthorized);
    let config = docker(world.auths(PASSWORD));
    world.api.secret("shop", "pull", DOCKER, &config);
    let another = component("shop", "another", &image, &["pull"]);
    assert_eq!(operator.admitted(&another).await, digest);
}

#[tokio::test]
async fn the_older_format_of_a_secret_is_read_and_one_that_is_none_is_named() {
    let world = World::private().await;
    let (image, digest) = world.publish("private/orders:1").await;
    world
        .api
        .secret("shop", "old", ".dockercfg", &world.auths(PASSWORD));
    world
        .api
        .secret("shop", "opaque", "password", &json!(PASSWORD));
    let operator = world.operator(None).await;
    let old = component("shop", "old", &image, &["old"]);
    assert_eq!(operator.admitted(&old).await, digest);
    let opaque = component("shop", "opaque", &image, &["opaque"]);
    let failure = operator.refused(&opaque).await;
    assert_eq!(failure.reason, Reason::ImagePullSecretInvalid);
    assert!(
        failure.message.contains("Secret opaque") && !failure.message.contains(PASSWORD),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn a_credential_provider_of_the_platform_opens_what_no_secret_does() {
    let world = World::private().await;
    let (image, digest) = world.publish("private/orders:1").await;
    let answer = json!({
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "kind": "CredentialProviderResponse",
        "cacheKeyType": "Registry",
        "auth": {world.registry.addr().to_string(): {"username": USER, "password": PASSWORD}},
    });
    let config = docker(world.auths("wrong"));
    world.api.secret("shop", "pull", DOCKER, &config);
    let with_plugin = world
        .operator(Some(plugin(&world, format!("echo '{answer}'"))))
        .await;
    // Secrets first; what they do not open, the platform may.
    for secrets in [&[][..], &["pull"][..]] {
        let name = format!("orders-{}", secrets.len());
        let component = component("shop", &name, &image, secrets);
        assert_eq!(with_plugin.admitted(&component).await, digest);
    }

    let plugin = plugin(&world, "exit 1".to_owned());
    let failing = world.operator(Some(plugin)).await;
    let failure = failing
        .refused(&component("shop", "orders", &image, &[]))
        .await;
    assert_eq!(failure.reason, Reason::CredentialProviderFailed);
    assert!(
        failure.message.contains("credential provider sh"),
        "{}",
        failure.message
    );
}
