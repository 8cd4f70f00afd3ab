//! Who may call a component becomes a NetworkPolicy over its port on the agents.
//! Whether it is enforced is the cluster network's business.

use anyhow::{Context as _, Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::operator::NAMESPACE;
use e2e::suite::shared;
use e2e::tenant::Tenant;
use serde_json::{Value, json};

#[test]
fn callers_are_a_network_policy_that_follows_the_component() -> Result<()> {
    shared("network-policy", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        let endpoints = tenant.answers("orders", 3, "1.0.0").await?;
        let port = endpoints.first().context("no endpoint")?.address.port();
        let ports = json!([{ "port": port, "protocol": "TCP" }]);
        // As a Service: open.
        says(tenant, json!([{ "ports": ports }])).await?;

        let triggers =
            |from: Value| json!([{ "name": "web", "http": { "port": 80 }, "from": from }]);
        let web = json!({ "matchLabels": { "app": "web" } });
        let spec =
            json!({ "image": image.tag, "triggers": triggers(json!([{ "podSelector": web }])) });
        tenant.component("orders", spec).await?;
        let own = json!({ "matchLabels": { "kubernetes.io/metadata.name": tenant.name } });
        let from = json!([{ "namespaceSelector": own, "podSelector": web }]);
        says(tenant, json!([{ "from": from, "ports": ports }])).await?;

        let spec = json!({ "image": image.tag, "triggers": triggers(json!([])) });
        tenant.component("orders", spec).await?;
        says(tenant, Value::Null).await?;
        let revisions = tenant
            .kubectl(&["get", "controllerrevisions", "-o", "name"])
            .await?;
        ensure!(
            revisions.lines().count() == 1,
            "who may call is no new revision: {revisions}"
        );

        tenant
            .kubectl(&["delete", "wc/orders", "--timeout=30s"])
            .await?;
        eventually("the policy to be gone", PATIENCE, async || {
            let left = policies(tenant).await?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
        .await
    })
}

#[test]
fn a_policy_that_somebody_changes_or_deletes_is_put_back() -> Result<()> {
    shared("network-policy-back", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let triggers = json!([{ "name": "web", "http": {}, "from": [] }]);
        let spec = json!({ "image": image.tag, "triggers": triggers });
        tenant.component("orders", spec).await?;
        says(tenant, Value::Null).await?;

        let name = format!("networkpolicy/{}", name(tenant));
        let open = json!({ "spec": { "ingress": [{}] } }).to_string();
        let cluster = &tenant.suite.cluster;
        let patch = [
            "--namespace",
            NAMESPACE,
            "patch",
            &name,
            "--type=merge",
            "-p",
            &open,
        ];
        cluster.kubectl_ok(&patch, None).await?;
        says(tenant, Value::Null).await?;

        cluster
            .kubectl_ok(&["--namespace", NAMESPACE, "delete", &name], None)
            .await?;
        says(tenant, Value::Null).await
    })
}

/// Waits until the component's policy selects the agents and has these rules.
async fn says(tenant: &Tenant, ingress: Value) -> Result<()> {
    eventually(
        &format!("a policy with the rules {ingress}"),
        PATIENCE,
        async || {
            let found = policies(tenant).await?;
            let [policy] = found.as_slice() else {
                anyhow::bail!("{} policies", found.len())
            };
            let agents = json!({ "matchLabels": { "app.kubernetes.io/name": "lighterman-agent" } });
            let says = [
                ("/spec/podSelector", &agents),
                ("/spec/policyTypes", &json!(["Ingress"])),
                ("/spec/ingress", &ingress),
                ("/metadata/ownerReferences/0/kind", &json!("ServiceAccount")),
            ];
            for (field, value) in says {
                // A list that is empty is not there.
                let found = policy.pointer(field).unwrap_or(&Value::Null);
                ensure!(found == value, "{field} of {policy} is not {value}");
            }
            Ok(())
        },
    )
    .await
}

async fn policies(tenant: &Tenant) -> Result<Vec<Value>> {
    let selector = format!("lighterman.dev/component-namespace={}", tenant.name);
    let get = [
        "--namespace",
        NAMESPACE,
        "get",
        "networkpolicies",
        "-l",
        &selector,
        "-o",
        "json",
    ];
    let list = tenant.suite.cluster.kubectl_ok(&get, None).await?;
    let list: Value = serde_json::from_str(&list)?;
    let items = list.get("items").and_then(Value::as_array);
    Ok(items.cloned().unwrap_or_default())
}

fn name(tenant: &Tenant) -> String {
    crds::names::network_policy_name(&tenant.name, "orders")
}
