//! The operator may stop: nothing changes, and another takes over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::eventually::{PATIENCE, eventually, throughout};
use e2e::load::Load;
use e2e::operator::{NAMESPACE, Operator};
use e2e::suite::alone;
use e2e::tenant::Tenant;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams};
use serde_json::json;

/// All that the operator has written for a component, with its versions.
const KINDS: &str =
    "wasmcomponents,componentplacements,controllerrevisions.apps,services,endpointslices";
/// From the death of the leader to a successor that leads.
const TAKEOVER: Duration = Duration::from_secs(15);
/// What three debug agents on two cores answer with room to spare.
const REQUESTS_PER_SECOND: u32 = 50;

#[test]
fn a_killed_operator_restarts_nothing_and_a_new_one_changes_nothing() -> Result<()> {
    alone("operator-restart", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.ready("orders").await?;
        // Slices are written a moment after they could be: wait for the last one.
        tenant.answers("orders", 3, "1.0.0").await?;
        let (before, running) = (versions(tenant).await?, processes(tenant).await?);
        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);

        tenant.suite.operator.kill().await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        tenant.suite.operator.start().await?;
        leader_is(tenant, &tenant.suite.operator.identity).await?;
        // It has seen everything and would have written by now.
        throughout(
            "what the operator wrote",
            Duration::from_secs(5),
            async || {
                let now = versions(tenant).await?;
                ensure!(now == before, "before {before:?}, now {now:?}");
                Ok(())
            },
        )
        .await?;
        let now = processes(tenant).await?;
        ensure!(
            now == running,
            "worker processes {running:?} became {now:?}"
        );
        load.stop().await?.only(&["1.0.0"])
    })
}

#[test]
fn of_two_operators_one_writes_and_the_other_takes_over() -> Result<()> {
    alone("operator-takeover", async |tenant| {
        let suite = tenant.suite;
        leader_is(tenant, &suite.operator.identity).await?;
        suite.standby.start().await?;
        throughout(
            "the leadership of the first",
            Duration::from_secs(3),
            async || {
                let holder = holder(tenant).await?;
                ensure!(holder == suite.operator.identity, "{holder} leads");
                ensure!(!leads(&suite.standby).await?, "two operators write");
                Ok(())
            },
        )
        .await?;
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;

        suite.operator.kill().await?;
        let killed = Instant::now();
        leader_is(tenant, &suite.standby.identity).await?;
        let took = killed.elapsed();
        println!(
            "another operator leads {:.1} s after the death of the first",
            took.as_secs_f64()
        );
        ensure!(took <= TAKEOVER, "it took {took:?}");
        eventually("the successor to write", PATIENCE, async || {
            ensure!(leads(&suite.standby).await?, "it does not");
            Ok(())
        })
        .await?;
        let image = tenant.publish("orders", "2.0.0", "2.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.answers("orders", 3, "2.0.0").await?;

        // One that ends well lets go at once, without the wait for its Lease to run out.
        suite.operator.start().await?;
        let status = suite.standby.stop().await?;
        ensure!(status.success(), "the operator ended with {status}");
        leader_is(tenant, &suite.operator.identity).await
    })
}

async fn versions(tenant: &Tenant) -> Result<BTreeMap<String, String>> {
    let format = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
    let text = tenant.kubectl(&["get", KINDS, "-o", format]).await?;
    let versions: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .collect();
    ensure!(versions.len() >= 5, "only {versions:?} are there");
    Ok(versions)
}

/// Whether it writes, by its own account.
async fn leads(operator: &Operator) -> Result<bool> {
    let metrics = operator.get("/metrics").await?;
    Ok(metrics
        .lines()
        .any(|line| line == "lighterman_operator_leader 1"))
}

/// The process that runs guests, of each node.
async fn processes(tenant: &Tenant) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for agent in &tenant.suite.agents {
        found.push(agent.worker().await?);
    }
    Ok(found)
}

async fn leader_is(tenant: &Tenant, identity: &str) -> Result<()> {
    eventually(&format!("{identity} to lead"), PATIENCE, async || {
        let holder = holder(tenant).await?;
        ensure!(holder == identity, "{holder} leads");
        Ok(())
    })
    .await
}

async fn holder(tenant: &Tenant) -> Result<String> {
    let leases = Api::<Lease>::namespaced(tenant.client(), NAMESPACE)
        .list(&ListParams::default())
        .await?;
    let [lease] = leases.items.as_slice() else {
        anyhow::bail!("{} Leases", leases.items.len())
    };
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.holder_identity.clone())
        .context("nobody leads")
}
