//! A pull secret opens a private image for the tenant that has it, and for no
//! other, even when the operator holds the bytes already.

use anyhow::{Result, ensure};
use e2e::guest;
use e2e::registry::{Image, attach, push};
use e2e::suite::shared;
use e2e::tenant::Tenant;
use registry::Credentials;
use registry::development::{Access, Account, DevelopmentRegistry, Options};
use serde_json::{Value, json};

const USER: &str = "shop";
const PASSWORD: &str = "open-sesame-e2e";

#[test]
fn a_component_that_names_no_secret_pulls_with_those_of_its_service_account() -> Result<()> {
    shared("pull-account", async |tenant| {
        let registry = private().await?;
        let image = publish(tenant, &registry).await?;
        tenant
            .trust(&tenant.suite.signer.public_key(), &[registry.addr()])
            .await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.refused("orders", "RegistryUnauthorized").await?;

        tenant.apply(pull_secret("of-account", &registry)).await?;
        tenant
            .apply(json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" },
                "imagePullSecrets": [{ "name": "of-account" }],
            }))
            .await?;
        // Nothing tells the operator; it tries again by itself.
        tenant.answers("orders", 3, "1.0.0").await?;
        registry.stop().await;
        Ok(())
    })
}

#[test]
fn one_tenants_pull_secret_does_not_serve_another() -> Result<()> {
    shared("pull-secret", async |tenant| {
        let registry = private().await?;
        let image = publish(tenant, &registry).await?;
        let with_secret =
            json!({ "image": image.tag, "imagePullSecrets": [{ "name": "registry" }] });

        tenant
            .trust(&tenant.suite.signer.public_key(), &[registry.addr()])
            .await?;
        tenant.apply(pull_secret("registry", &registry)).await?;
        tenant.component("orders", with_secret.clone()).await?;
        tenant.answers("orders", 3, "1.0.0").await?;

        let other = Tenant::create(tenant.suite, "pull-secret-other").await?;
        other
            .trust(&tenant.suite.signer.public_key(), &[registry.addr()])
            .await?;
        other.component("named", with_secret).await?;
        other
            .component("nothing", json!({ "image": image.tag }))
            .await?;
        other
            .component("digest", json!({ "image": image.by_digest()? }))
            .await?;
        other.refused("named", "ImagePullSecretMissing").await?;
        other.refused("nothing", "RegistryUnauthorized").await?;
        other.refused("digest", "RegistryUnauthorized").await?;
        ensure!(
            other.placements().await?.is_empty(),
            "another tenant's component was placed"
        );
        ensure!(
            !tenant.suite.logs()?.contains(PASSWORD),
            "a log holds the password"
        );
        other.remove().await?;
        registry.stop().await;
        Ok(())
    })
}

/// A registry that lets nobody in without a password.
async fn private() -> Result<DevelopmentRegistry> {
    let options = Options {
        access: Access::Basic(vec![Account::new(USER, PASSWORD)]),
        ..Options::default()
    };
    Ok(DevelopmentRegistry::start("127.0.0.1:0".parse()?, options).await?)
}

/// A signed component in it.
async fn publish(tenant: &Tenant, registry: &DevelopmentRegistry) -> Result<Image> {
    let credentials = Credentials::basic(USER, PASSWORD);
    let wasm = guest::version("1.0.0", &tenant.name)?;
    let image = push(
        registry.addr(),
        "private/orders",
        "1.0.0",
        wasm,
        &credentials,
    )
    .await?;
    attach(&image, tenant.suite.signer.bundle(&image)?, &credentials).await?;
    Ok(image)
}

/// As `kubectl create secret docker-registry` makes it.
fn pull_secret(name: &str, registry: &DevelopmentRegistry) -> Value {
    let docker = json!({ "auths": { registry.addr().to_string(): { "username": USER, "password": PASSWORD } } });
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": { ".dockerconfigjson": docker.to_string() },
    })
}
