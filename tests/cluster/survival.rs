//! Losing the API server and the operator stops nothing, and an agent that
//! starts without them serves from its node: the desired state and the code from
//! its disk, values of Secrets from memory, and those not after a reboot.

use anyhow::{Context as _, Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::load::Load;
use e2e::suite::alone;
use e2e::tenant::{Endpoint, Tenant, fetch};
use serde_json::json;

/// What three debug agents on two cores answer with room to spare.
const REQUESTS_PER_SECOND: u32 = 50;
/// Unmistakable in whatever it leaked into.
const SECRET: &str = "swordfish-4712-e2e";

#[test]
fn an_agent_restarted_without_operator_and_api_server_serves_from_its_node() -> Result<()> {
    alone("survival", async |tenant| {
        let suite = tenant.suite;
        let (plain, secret) = two_components(tenant).await?;
        let load = Load::at(&plain, REQUESTS_PER_SECOND);
        suite.operator.kill().await?;
        suite.cluster.kill_api_server().await?;
        suite.registry.stop().await?;
        for _ in 0..20 {
            serve_everywhere(&plain, &secret).await?;
        }
        load.stop().await?.only(&["1.0.0"])?;

        let agent = suite.agent(1)?;
        agent.kill().await?;
        agent.start_unreported().await?;
        serve_everywhere(&plain, &secret).await?;

        bring_back(tenant).await?;
        let next = tenant.publish("plain", "2.0.0", "2.0.0").await?;
        tenant
            .component("plain", json!({ "image": next.tag }))
            .await?;
        tenant.answers("plain", 3, "2.0.0").await?;
        Ok(())
    })
}

#[test]
fn an_agent_restarted_while_only_the_api_server_is_away_serves_from_its_node() -> Result<()> {
    alone("survival-api", async |tenant| {
        let suite = tenant.suite;
        let (plain, secret) = two_components(tenant).await?;
        suite.cluster.kill_api_server().await?;
        let agent = suite.agent(1)?;
        agent.kill().await?;
        agent.start_unreported().await?;
        // The operator is asked, and cannot review the agent's token.
        serve_everywhere(&plain, &secret).await?;
        suite.cluster.start_api_server().await?;
        tenant.ready("plain").await?;
        Ok(())
    })
}

#[test]
fn after_a_reboot_without_operator_components_with_secrets_wait_and_others_serve() -> Result<()> {
    alone("survival-reboot", async |tenant| {
        let suite = tenant.suite;
        let (plain, secret) = two_components(tenant).await?;
        suite.operator.kill().await?;
        let agent = suite.agent(1)?;
        agent.reboot().await?;
        agent.start().await?;

        let on_node = |endpoints: &[Endpoint]| {
            let mut endpoints = endpoints.iter();
            let found = endpoints.find(|endpoint| endpoint.node == agent.node);
            found.cloned().context("no endpoint on node-1")
        };
        let (plain, secret) = (on_node(&plain)?, on_node(&secret)?);
        let answer = fetch(&plain.url("/env")).await?;
        ensure!(answer == (200, "LEVEL=debug\n".to_owned()), "{answer:?}");
        eventually("the reason on node-1", PATIENCE, async || {
            let placements = tenant.placements().await?;
            let mut waiting = placements.iter().filter(|placement| {
                placement.spec.node_name == agent.node
                    && placement.spec.component_ref.name == "secret"
            });
            let status = waiting
                .next()
                .and_then(|placement| placement.status.clone());
            let status = status.context("no status")?;
            let reasons: Vec<String> = status
                .revisions
                .iter()
                .filter_map(|revision| Some(revision.reason?.to_string()))
                .collect();
            ensure!(
                !status.ready && reasons == ["SecretsUnavailable"],
                "it is {status:?}"
            );
            Ok(())
        })
        .await?;
        let (status, body) = fetch(&secret.url("/env")).await?;
        ensure!(
            status == 503 && !body.contains(SECRET),
            "without its secret it answered {status}: {body}"
        );

        suite.operator.start().await?;
        eventually("the secret to be back", PATIENCE, async || {
            let answer = fetch(&secret.url("/env")).await?;
            ensure!(answer == (200, format!("TOKEN={SECRET}\n")), "{answer:?}");
            Ok(())
        })
        .await
    })
}

/// `plain` with a value from a ConfigMap and `secret` with one from a Secret, on every node.
async fn two_components(tenant: &Tenant) -> Result<(Vec<Endpoint>, Vec<Endpoint>)> {
    tenant
        .apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" },
            "data": { "LEVEL": "debug" },
        }))
        .await?;
    tenant
        .apply(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "vault" },
            "stringData": { "token": SECRET },
        }))
        .await?;
    let plain = tenant.publish("plain", "1.0.0", "1.0.0").await?;
    let secret = tenant.publish("secret", "1.0.0", "1.0.0").await?;
    let env_from = json!([{ "configMapRef": { "name": "settings" } }]);
    tenant
        .component("plain", json!({ "image": plain.tag, "envFrom": env_from }))
        .await?;
    let from = json!({ "secretKeyRef": { "name": "vault", "key": "token" } });
    let env = json!([{ "name": "TOKEN", "valueFrom": from }]);
    tenant
        .component("secret", json!({ "image": secret.tag, "env": env }))
        .await?;
    Ok((
        tenant.answers("plain", 3, "1.0.0").await?,
        tenant.answers("secret", 3, "1.0.0").await?,
    ))
}

/// Both on every node, with their values.
async fn serve_everywhere(plain: &[Endpoint], secret: &[Endpoint]) -> Result<()> {
    let wanted = [
        (plain, "LEVEL=debug\n".to_owned()),
        (secret, format!("TOKEN={SECRET}\n")),
    ];
    for (endpoints, env) in wanted {
        for endpoint in endpoints {
            for (path, wanted) in [("/", "1.0.0"), ("/env", &env)] {
                let answer = fetch(&endpoint.url(path)).await?;
                ensure!(
                    answer == (200, wanted.to_owned()),
                    "{path} on {} answered {answer:?}",
                    endpoint.node
                );
            }
        }
    }
    Ok(())
}

async fn bring_back(tenant: &Tenant) -> Result<()> {
    let suite = tenant.suite;
    suite.cluster.start_api_server().await?;
    suite.registry.start().await?;
    suite.operator.start().await
}
