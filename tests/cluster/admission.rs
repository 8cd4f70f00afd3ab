//! What a component asks for, is granted and is admitted, as users meet it: refused with
//! the YAML that mends it, held when it asks for more, and told of when it was denied.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use artifact::manifest_section;
use crds::CapabilityPolicy;
use crds::handover::{ComponentDenials, DENIALS_ROUTE, Denial, DenialReport};
use crds::revision::ComponentIdentity;
use e2e::eventually::{PATIENCE, eventually};
use e2e::guest;
use e2e::load::Load;
use e2e::operator::NAMESPACE;
use e2e::registry::Image;
use e2e::suite::shared;
use e2e::tenant::{Tenant, condition};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::Api;
use serde_json::{Value, json};

const REQUESTS_PER_SECOND: u32 = 20;
/// Longer than agents and operator need to hear of something and to act on it.
const SETTLE: Duration = Duration::from_secs(4);

#[test]
fn a_refusal_names_the_yaml_and_with_it_the_component_is_ready() -> Result<()> {
    shared("admission-yaml", async |tenant| {
        let manifest = "
[permissions.filesystem]
readable_paths = [\"/data/in/**\"]
writable_paths = [\"/data/out/**\"]
[permissions.network]
allowed_hosts = [\"api.example.com\"]
";
        let image = publish(tenant, "1.0.0", manifest).await?;
        let mut spec = json!({ "image": image.tag });
        tenant.component("orders", spec.clone()).await?;
        let message = tenant.refused("orders", "CapabilityNotGranted").await?;
        let component = tenant.get("orders").await?;
        let admitted = condition(&component, "Admitted")?;
        ensure!(admitted.status == "False", "{admitted:?}");
        let told = component.status.context("no status")?.capabilities;
        let told = told.context("the status says nothing of capabilities")?;
        ensure!(
            told.requested.len() == 3 && told.refused.len() == 3,
            "{told:?}"
        );
        ensure!(tenant.placements().await?.is_empty(), "it was placed");

        let yaml = message.find("spec:\n").context("the message has no YAML")?;
        let mend: Value = serde_saphyr::from_str(message.get(yaml..).unwrap_or_default())?;
        let mend = mend["spec"].as_object().context("it is no spec")?;
        for (field, value) in mend {
            spec[field] = value.clone();
        }
        tenant.component("orders", spec).await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        let component = tenant.ready("orders").await?;
        let told = component.status.and_then(|status| status.capabilities);
        ensure!(told.is_some_and(|told| told.refused.is_empty()));
        Ok(())
    })
}

#[test]
fn a_version_that_asks_for_more_is_held_until_an_approver_lets_it_go_on() -> Result<()> {
    shared("admission-hold", async |tenant| {
        let granted = json!({ "network": { "outbound": [{ "host": "a.example.com" }, { "host": "b.example.com" }] } });
        let spec = |image: &Image| json!({ "image": image.tag, "capabilities": granted });
        let first = publish(tenant, "1.0.0", &asks(&["a.example.com"])).await?;
        tenant.component("orders", spec(&first)).await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        tenant.ready("orders").await?;

        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);
        let more = asks(&["a.example.com", "b.example.com"]);
        let second = publish(tenant, "2.0.0", &more).await?;
        tenant.component("orders", spec(&second)).await?;
        let message = tenant.refused("orders", "ApprovalRequired").await?;
        ensure!(
            message.contains("connect b.example.com") && !message.contains("connect a.example.com"),
            "{message}"
        );
        tokio::time::sleep(SETTLE).await;
        load.stop().await?.only(&["1.0.0"])?;

        let hash = message
            .split("approve: ")
            .nth(1)
            .context("the message names no hash")?
            .trim();
        approve(tenant, "0123456789abcdef").await?;
        tokio::time::sleep(SETTLE).await;
        tenant.refused("orders", "ApprovalRequired").await?;
        tenant.answers("orders", 3, "1.0.0").await?;

        approve(tenant, hash).await?;
        tenant.answers("orders", 3, "2.0.0").await?;
        tenant.ready("orders").await?;

        // What was approved stays approved when the approval is taken out again.
        tenant.component("orders", spec(&first)).await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        let none = json!({ "spec": { "rollout": { "approve": null } } }).to_string();
        tenant
            .kubectl(&["patch", "wc/orders", "--type=merge", "-p", &none])
            .await?;
        tenant.component("orders", spec(&second)).await?;
        tenant.answers("orders", 3, "2.0.0").await?;
        Ok(())
    })
}

#[test]
fn a_ceiling_that_is_lowered_is_reported_and_stops_nothing() -> Result<()> {
    shared("admission-ceiling", async |tenant| {
        let image = publish(tenant, "1.0.0", &asks(&["api.example.com"])).await?;
        let granted = json!({ "network": { "outbound": [{ "host": "api.example.com" }] } });
        let spec = json!({ "image": image.tag, "capabilities": granted });
        tenant.component("orders", spec).await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        tenant.ready("orders").await?;

        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);
        ceiling(tenant, json!({ "mode": "Audit" })).await?;
        let policy = format!("CapabilityPolicy/{}", tenant.name);
        eventually("what the policy would refuse", PATIENCE, async || {
            let status = tenant.get("orders").await?.status.context("no status")?;
            let found = status.would_refuse.iter().find(|of| of.policy == policy);
            let found = found.context("it would refuse nothing")?;
            ensure!(
                found.reason.as_ref() == "CapabilityAboveCeiling",
                "{found:?}"
            );
            Ok(())
        })
        .await?;
        tenant.ready("orders").await?;

        ceiling(tenant, json!({ "mode": "Enforce" })).await?;
        let message = tenant.refused("orders", "CapabilityAboveCeiling").await?;
        ensure!(message.contains(&tenant.name), "{message}");
        let policies = Api::<CapabilityPolicy>::all(tenant.client());
        eventually("the policy's numbers", PATIENCE, async || {
            let status = policies
                .get(&tenant.name)
                .await?
                .status
                .context("no status")?;
            let numbers = (status.components, status.refused);
            ensure!(numbers == (1, 1), "(components, refused) are {numbers:?}");
            Ok(())
        })
        .await?;
        tokio::time::sleep(SETTLE).await;
        tenant.answers("orders", 3, "1.0.0").await?;
        load.stop().await?.only(&["1.0.0"])?;

        policies.delete(&tenant.name, &Default::default()).await?;
        tenant.ready("orders").await?;
        Ok(())
    })
}

#[test]
fn a_namespace_takes_no_more_than_its_totals() -> Result<()> {
    shared("admission-totals", async |tenant| {
        let totals = json!({ "totals": { "components": 1 }, "allow": { "volumes": ["emptyDir"] } });
        ceiling(tenant, totals).await?;
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.ready("orders").await?;
        tenant
            .component("second", json!({ "image": image.tag }))
            .await?;
        let message = tenant.refused("second", "TotalsExceeded").await?;
        ensure!(message.contains("2 components"), "{message}");
        tenant.kubectl(&["delete", "wc/orders"]).await?;
        tenant.ready("second").await?;
        let policies = Api::<CapabilityPolicy>::all(tenant.client());
        policies.delete(&tenant.name, &Default::default()).await?;
        Ok(())
    })
}

#[test]
fn what_a_node_tells_of_denials_becomes_an_event_if_it_runs_the_component() -> Result<()> {
    shared("admission-denials", async |tenant| {
        let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let spec = json!({ "image": image.tag, "replicas": 1, "placement": { "mode": "Spread" } });
        tenant.component("orders", spec).await?;
        let component = tenant.ready("orders").await?;
        let placements = tenant.placements().await?;
        let [placement] = placements.as_slice() else {
            bail!("{} placements", placements.len())
        };
        let identity = ComponentIdentity {
            namespace: tenant.name.clone(),
            name: "orders".to_owned(),
            uid: component.uid().context("no uid")?,
        };
        let report = |object: &str| DenialReport {
            components: vec![ComponentDenials {
                component: identity.clone(),
                total: 7,
                kinds: vec![Denial {
                    capability: "network".to_owned(),
                    object: object.to_owned(),
                    rule: "NotGranted".to_owned(),
                    count: 7,
                }],
            }],
        };
        for agent in &tenant.suite.agents {
            let runs_it = agent.node == placement.spec.node_name;
            let host = match runs_it {
                true => "true.example:443",
                false => "slander.example:443",
            };
            let token = agent.hand_over_token()?;
            let status = post(tenant, &token, &report(host)).await?;
            ensure!(status == 204, "{} is answered {status}", agent.node);
        }
        let status = post(tenant, "no-token", &report("stranger.example:443")).await?;
        ensure!(status == 401, "a stranger is answered {status}");
        let events = eventually("the Event", PATIENCE, async || {
            let events = tenant.kubectl(&["get", "events", "-o", "yaml"]).await?;
            ensure!(events.contains("CapabilityDenied"), "no Event yet");
            Ok(events)
        })
        .await?;
        ensure!(events.contains("true.example:443"), "{events}");
        for wrong in ["slander.example", "stranger.example"] {
            ensure!(!events.contains(wrong), "{events}");
        }
        Ok(())
    })
}

/// Publishes `orders` in this version, with a manifest that says so and goes on with `asks`.
async fn publish(tenant: &Tenant, version: &str, asks: &str) -> Result<Image> {
    let manifest = format!("[component]\nname = \"orders\"\nversion = \"{version}\"\n{asks}");
    let wasm = guest::version(version, &tenant.name)?;
    let wasm = manifest_section::embed(&wasm, &manifest)?;
    let image = tenant.push_bytes("orders", version, wasm).await?;
    tenant.suite.signer.sign(&image).await?;
    Ok(image)
}

/// The section of a manifest that asks for these hosts.
fn asks(hosts: &[&str]) -> String {
    let hosts: Vec<String> = hosts.iter().map(|host| format!("{host:?}")).collect();
    format!(
        "[permissions.network]\nallowed_hosts = [{}]\n",
        hosts.join(", ")
    )
}

/// A CapabilityPolicy over this namespace only.
async fn ceiling(tenant: &Tenant, spec: Value) -> Result<()> {
    let mut whole = json!({
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": tenant.name } },
    });
    if let (Some(whole), Value::Object(given)) = (whole.as_object_mut(), spec) {
        whole.extend(given);
    }
    let policy = json!({
        "apiVersion": "lighterman.dev/v1alpha1",
        "kind": "CapabilityPolicy",
        "metadata": { "name": tenant.name },
        "spec": whole,
    });
    tenant.apply(policy).await
}

/// Approves as somebody whose only right over components is to approve.
async fn approve(tenant: &Tenant, hash: &str) -> Result<()> {
    let account = format!("system:serviceaccount:{}:default", tenant.name);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "approver" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "lighterman-approver" },
        "subjects": [{ "kind": "ServiceAccount", "name": "default", "namespace": tenant.name }],
    });
    tenant.apply(binding).await?;
    let patch = json!({ "spec": { "rollout": { "approve": hash } } }).to_string();
    let patch = ["patch", "wc/orders", "--type=merge", "-p", &patch];
    tenant
        .kubectl(&[&["--as", &account], &patch[..]].concat())
        .await?;
    Ok(())
}

/// Posts to the hand-over; the status of the answer.
async fn post(tenant: &Tenant, token: &str, report: &DenialReport) -> Result<u16> {
    let maps = Api::<ConfigMap>::namespaced(tenant.client(), NAMESPACE);
    let trust = maps.get("lighterman-trust").await?.data;
    let trust = trust.context("lighterman-trust is empty")?;
    let bundle = trust.get("ca.crt").context("there is no ca.crt")?;
    let certificates = reqwest::Certificate::from_pem_bundle(bundle.as_bytes())?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only(certificates)
        .build()?;
    let address = tenant.suite.hand_over.address;
    let answer = client
        .post(format!("https://{address}{DENIALS_ROUTE}"))
        .bearer_auth(token)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(report)?)
        .send()
        .await?;
    Ok(answer.status().as_u16())
}
