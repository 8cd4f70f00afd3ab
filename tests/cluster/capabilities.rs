//! What components are given on their nodes, and what is held against them there: volumes,
//! files that change, calls to others, the audit log, and policies that tighten.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::agent::Agent;
use e2e::eventually::{PATIENCE, eventually};
use e2e::suite::shared;
use e2e::tenant::{Endpoint, Tenant};
use kube::ResourceExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const FILES: &[u8] = include_bytes!("../guests/files/files.wasm");
const CALLER: &[u8] = include_bytes!("../guests/caller/caller.wasm");
/// Unmistakable in whatever it leaked into.
const SECRET: &str = "swordfish-0815-e2e";
/// What has changed reaches the next instances within this time.
const REFRESHED: Duration = Duration::from_secs(60);
/// Of the addresses that `tests/in-namespace` delivers here though no interface has them: to
/// agents, somebody else's.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 7, 1));
const NOT_GRANTED: &str = "10.99.7.2";

const CONFIG: &str = "do=open&from=/conf&path=app.conf&for=r&as=f\ndo=read&from=f";
const TOKEN: &str = "do=open&from=/vault&path=token&for=r&as=f\ndo=read&from=f";
const WRITE: &str = "do=open&from=/data&path=kept&for=wc&as=f\ndo=write&to=f&text=kept";
const READ: &str = "do=open&from=/data&path=kept&for=r&as=f\ndo=read&from=f";

#[test]
fn volumes_are_kept_and_files_and_secrets_change_within_a_minute() -> Result<()> {
    shared("capabilities-volumes", async |tenant| {
        contents(tenant, "one").await?;
        let mount = |volume: &str, read: Value, write: Value| json!({ "volume": volume, "mountPath": format!("/{volume}"), "read": read, "write": write });
        let spec = json!({
            "image": publish(tenant, FILES).await?,
            "replicas": 1,
            "placement": { "mode": "Spread" },
            "volumes": [
                { "name": "data", "emptyDir": { "sizeLimit": "1Mi" } },
                { "name": "conf", "configMap": { "name": "settings" } },
                { "name": "vault", "secret": { "secretName": "vault" } },
            ],
            "capabilities": { "filesystem": [
                mount("data", json!(["/data/**"]), json!(["/data/**"])),
                mount("conf", json!(["/conf/**"]), json!([])),
                mount("vault", json!(["/vault/**"]), json!([])),
            ] },
        });
        tenant.component("orders", spec).await?;
        let uid = tenant.ready("orders").await?.uid().context("no uid")?;
        let (endpoint, agent) = only_one(tenant).await?;
        answers(&endpoint, CONFIG, "one", PATIENCE).await?;
        answers(&endpoint, TOKEN, &format!("{SECRET} one"), PATIENCE).await?;
        answers(&endpoint, WRITE, "done", PATIENCE).await?;

        contents(tenant, "two").await?;
        answers(&endpoint, CONFIG, "two", REFRESHED).await?;
        answers(&endpoint, TOKEN, &format!("{SECRET} two"), REFRESHED).await?;
        let found = Command::new("grep")
            .args(["-rqaF", SECRET])
            .arg(agent.state())
            .status()?;
        ensure!(
            found.code() == Some(1),
            "the secret is on the disk of the node"
        );

        let worker = agent.worker().await?;
        e2e::process::kill(worker)?;
        answers(&endpoint, READ, "kept", PATIENCE).await?;
        let volumes = agent.state().join("volumes").join(uid);
        ensure!(
            volumes.join("data/kept").exists(),
            "it is not where it belongs"
        );
        tenant.kubectl(&["delete", "wc/orders"]).await?;
        eventually("the volumes to go", PATIENCE, async || {
            ensure!(!volumes.exists(), "{} is still there", volumes.display());
            Ok(())
        })
        .await
    })
}

#[test]
fn a_granted_call_goes_out_and_another_is_denied_and_told_until_a_policy_ends_both() -> Result<()> {
    shared("capabilities-network", async |tenant| {
        let port = listen().await?;
        let place = json!({ "host": ELSEWHERE.to_string(), "port": port, "protocol": "HTTP", "reach": "Private" });
        // The baseline lets nobody into private ranges.
        let elsewhere = json!({ "spec": { "namespaceSelector": { "matchExpressions": [
            { "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [tenant.name] },
        ] } } });
        let patch = elsewhere.to_string();
        let patch = [
            "patch",
            "capabilitypolicy/baseline",
            "--type=merge",
            "-p",
            &patch,
        ];
        tenant.kubectl(&patch).await?;
        ceiling(tenant, json!({ "network": { "outbound": [place] } })).await?;
        let spec = json!({
            "image": publish(tenant, CALLER).await?,
            "replicas": 1,
            "placement": { "mode": "Spread" },
            "audit": "All",
            "capabilities": { "network": { "outbound": [place] } },
        });
        tenant.component("orders", spec).await?;
        tenant.ready("orders").await?;
        let (endpoint, agent) = only_one(tenant).await?;
        let call = |host: &str| format!("do=fetch&scheme=http&authority={host}:{port}");
        let granted = call(&ELSEWHERE.to_string());
        answers(&endpoint, &granted, "200 hello", PATIENCE).await?;
        let told = post(&endpoint, &call(NOT_GRANTED)).await?;
        ensure!(told == "http-request-denied", "it was told {told}");

        let wanted = format!("{NOT_GRANTED}:{port}");
        let record = eventually("the audit record", PATIENCE, async || {
            let records = records(agent)?;
            let of_denial = |record: &&Value| {
                let object = record["object"].as_str().unwrap_or_default();
                record["allowed"] == false && object.contains(&wanted)
            };
            let found = records.iter().find(of_denial).cloned();
            found.with_context(|| format!("the records are {records:#?}"))
        })
        .await?;
        let signer = record["signer"].as_str().unwrap_or_default();
        ensure!(
            record["namespace"] == tenant.name.as_str()
                && record["component"] == "orders"
                && record["node"] == agent.node.as_str()
                && record["capability"] == "network"
                && record["rule"] == "NotGranted"
                && !signer.is_empty(),
            "{record}"
        );
        let allowed =
            |record: &Value| record["allowed"] == true && record["capability"] == "network";
        ensure!(
            records(agent)?.iter().any(allowed),
            "the granted call is not there"
        );
        let metrics = agent.get("/metrics").await?;
        let denied = metrics.lines().find(|line| {
            line.starts_with("lighterman_agent_capability_uses_total")
                && line.contains(&format!("namespace=\"{}\"", tenant.name))
                && line.contains("capability=\"network\"")
                && line.contains("verdict=\"denied\"")
        });
        ensure!(denied.is_some(), "{metrics}");
        eventually("the Event", PATIENCE, async || {
            let events = tenant.kubectl(&["get", "events", "-o", "yaml"]).await?;
            ensure!(
                events.contains("CapabilityDenied") && events.contains(&wanted),
                "no Event names it: {events}"
            );
            Ok(())
        })
        .await?;

        ceiling(tenant, json!({ "volumes": ["emptyDir"] })).await?;
        answers(&endpoint, &granted, "http-request-denied", PATIENCE).await?;
        let (status, _) = e2e::tenant::fetch(&endpoint.url("/")).await?;
        ensure!(status == 200, "it was stopped for it");
        Ok(())
    })
}

/// The image, pushed and signed.
async fn publish(tenant: &Tenant, wasm: &[u8]) -> Result<String> {
    let image = tenant.push_bytes("orders", "1.0.0", wasm.to_vec()).await?;
    tenant.suite.signer.sign(&image).await?;
    Ok(image.tag)
}

/// The content of the ConfigMap and the Secret.
async fn contents(tenant: &Tenant, content: &str) -> Result<()> {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" },
        "data": { "app.conf": content },
    });
    tenant.apply(map).await?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "vault" },
        "stringData": { "token": format!("{SECRET} {content}") },
    });
    tenant.apply(secret).await
}

/// A CapabilityPolicy over this namespace only.
async fn ceiling(tenant: &Tenant, allow: Value) -> Result<()> {
    let selector = json!({ "matchLabels": { "kubernetes.io/metadata.name": tenant.name } });
    tenant
        .apply(json!({
            "apiVersion": "lighterman.dev/v1alpha1",
            "kind": "CapabilityPolicy",
            "metadata": { "name": tenant.name },
            "spec": { "namespaceSelector": selector, "allow": allow },
        }))
        .await
}

/// The one endpoint there is, and its agent.
async fn only_one(tenant: &Tenant) -> Result<(Endpoint, &'static Agent)> {
    eventually("an endpoint", PATIENCE, async || {
        let found = tenant.endpoints("orders").await?;
        let [endpoint] = <[Endpoint; 1]>::try_from(found)
            .map_err(|found| anyhow::anyhow!("the endpoints are {found:?}"))?;
        let mut agents = tenant.suite.agents.iter();
        let agent = agents.find(|agent| agent.node == endpoint.node);
        Ok((endpoint, agent.context("no such agent")?))
    })
    .await
}

/// What the component answers to orders, in its last line.
async fn post(endpoint: &Endpoint, orders: &str) -> Result<String> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let request = client.post(endpoint.url("/")).body(orders.to_owned());
    let answer = request.send().await?.error_for_status()?.text().await?;
    Ok(answer.lines().last().unwrap_or_default().to_owned())
}

async fn answers(endpoint: &Endpoint, orders: &str, wanted: &str, within: Duration) -> Result<()> {
    eventually(&format!("{wanted} to {orders}"), within, async || {
        let told = post(endpoint, orders).await?;
        ensure!(told == wanted, "it answers {told}");
        Ok(())
    })
    .await
}

fn records(agent: &Agent) -> Result<Vec<Value>> {
    let log = std::fs::read_to_string(agent.state().join("audit/audit.jsonl"))?;
    let lines = log.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

/// Somebody who says hello to whoever calls, at a port of that address.
async fn listen() -> Result<u16> {
    let listener = TcpListener::bind(SocketAddr::new(ELSEWHERE, 0))
        .await
        .context("10.99.7.0/24 is not delivered here: run the tests with tests/in-namespace")?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let answer =
                    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    Ok(port)
}
