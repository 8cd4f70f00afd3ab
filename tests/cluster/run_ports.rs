//! Components that run and listen on ports: reached through their Service, replaced without a
//! refused connection, and kept while the worker that runs them is killed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::guest::{ECHO, POLITE_ECHO};
use e2e::load::Followed;
use e2e::process;
use e2e::registry::Image;
use e2e::suite::{alone, shared};
use e2e::tenant::{Endpoint, Tenant};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::plug_in::{lm, said};

/// Before and after a change, so that both versions are seen.
const SETTLE: Duration = Duration::from_secs(1);

fn spec(image: &Image, name: &str) -> Value {
    json!({
        "image": image.tag,
        "replicas": 3,
        "placement": { "mode": "Spread" },
        "triggers": [{ "name": "main", "run": { "ports": [{ "name": "tcp", "port": 5000 }] } }],
        "args": [format!("name={name}")],
        "rollout": { "terminationGracePeriodSeconds": 10 },
    })
}

async fn publish(tenant: &Tenant, tag: &str, wasm: &[u8]) -> Result<Image> {
    let wasm = e2e::guest::copy(wasm.to_vec(), &format!("{}-{tag}", tenant.name))?;
    let image = tenant.push_bytes("echo", tag, wasm).await?;
    tenant.suite.signer.sign(&image).await?;
    Ok(image)
}

/// What it answers to one line, on a connection of its own.
async fn ask(address: SocketAddr, line: &str) -> Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_line(&mut answer)).await??;
    ensure!(answer.ends_with('\n'), "the connection was cut: {answer:?}");
    Ok(answer.trim_end().to_owned())
}

/// Waits until so many nodes accept, and all answer by this name.
async fn answers(tenant: &Tenant, nodes: usize, name: &str) -> Result<Vec<Endpoint>> {
    eventually(name, PATIENCE, async || {
        let mut endpoints = tenant.endpoints("echo").await?;
        endpoints.retain(|endpoint| endpoint.ready);
        ensure!(endpoints.len() == nodes, "{endpoints:?}");
        for endpoint in &endpoints {
            let answer = ask(endpoint.address, "hello").await?;
            ensure!(answer == format!("{name} hello"), "{answer}");
        }
        Ok(endpoints)
    })
    .await
}

/// Asks all ready endpoints, one after the other, until it is told to stop.
struct Callers {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Result<()>>>,
}

impl Callers {
    async fn start(tenant: &Tenant) -> Self {
        let followed = Arc::new(Followed::start(tenant.client(), &tenant.name, "echo"));
        followed.known().await;
        let (stop, asked) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let call = |number: usize| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            let followed = Arc::clone(&followed);
            tokio::spawn(async move {
                let mut turn = number;
                while !stop.load(Ordering::Relaxed) {
                    let endpoint = {
                        let all = followed.endpoints();
                        let all = all.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
                        let index = turn
                            .checked_rem(all.len())
                            .context("no endpoint is ready")?;
                        all.get(index).context("an endpoint")?.address
                    };
                    let answer = ask(endpoint, "hello").await?;
                    ensure!(answer.ends_with(" hello"), "{answer}");
                    asked.fetch_add(1, Ordering::Relaxed);
                    turn = turn.wrapping_add(1);
                    sleep(Duration::from_millis(10)).await;
                }
                Ok(())
            })
        };
        let tasks = (0..4).map(call).collect();
        Self { stop, asked, tasks }
    }

    /// How many were answered; fails when one was not.
    async fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await??;
        }
        Ok(self.asked.load(Ordering::Relaxed))
    }
}

#[test]
fn a_server_is_reached_through_its_service_and_says_so() -> Result<()> {
    shared("ports-service", async |tenant| {
        let image = publish(tenant, "1", ECHO).await?;
        tenant.component("echo", spec(&image, "one")).await?;
        answers(tenant, 3, "one").await?;
        let component = tenant.ready("echo").await?;
        let status = component.status.context("no status")?;
        let url = format!("tcp://echo.{}.svc:5000", tenant.name);
        ensure!(status.url.as_deref() == Some(url.as_str()), "{status:?}");
        let [trigger] = status.triggers.as_slice() else {
            anyhow::bail!("{status:?}");
        };
        ensure!(trigger.name == "tcp", "{trigger:?}");
        let services = Api::<Service>::namespaced(tenant.client(), &tenant.name);
        let ports = services.get("echo").await?.spec.context("a spec")?.ports;
        let ports: Vec<_> = ports.into_iter().flatten().collect();
        let [port] = ports.as_slice() else {
            anyhow::bail!("{ports:?}");
        };
        ensure!(
            (port.port, port.name.as_deref()) == (5000, Some("tcp")),
            "{port:?}"
        );
        let shown = lm(tenant, &["status", "echo"])?;
        ensure!(said(&shown).contains(&url), "{}", said(&shown));
        Ok(())
    })
}

#[test]
fn a_version_takes_over_without_a_refused_connection() -> Result<()> {
    shared("ports-update", async |tenant| {
        for (round, wasm) in [ECHO, POLITE_ECHO].into_iter().enumerate() {
            let (old, new) = (format!("old{round}"), format!("new{round}"));
            let first = publish(tenant, &old, wasm).await?;
            let second = publish(tenant, &new, wasm).await?;
            tenant.component("echo", spec(&first, &old)).await?;
            answers(tenant, 3, &old).await?;
            tenant.ready("echo").await?;
            let callers = Callers::start(tenant).await;
            sleep(SETTLE).await;
            tenant.component("echo", spec(&second, &new)).await?;
            answers(tenant, 3, &new).await?;
            tenant.alone_everywhere(&second).await?;
            sleep(SETTLE).await;
            let asked = callers.stop().await?;
            ensure!(asked > 50, "only {asked}");
        }
        Ok(())
    })
}

#[test]
fn a_version_that_does_not_listen_is_undone_and_names_the_port() -> Result<()> {
    shared("ports-deaf", async |tenant| {
        let image = publish(tenant, "1", ECHO).await?;
        tenant.component("echo", spec(&image, "one")).await?;
        answers(tenant, 3, "one").await?;
        tenant.ready("echo").await?;
        let callers = Callers::start(tenant).await;
        let mut deaf = spec(&image, "two");
        deaf["args"] = json!(["late=600000"]);
        deaf["health"] = json!({ "startTimeout": "2s" });
        tenant.component("echo", deaf).await?;
        let message = tenant.refused("echo", "RolledBack").await?;
        ensure!(message.contains("did not listen on port tcp"), "{message}");
        answers(tenant, 3, "one").await?;
        callers.stop().await?;
        Ok(())
    })
}

#[test]
fn connections_wait_while_a_killed_worker_is_started_again() -> Result<()> {
    alone("ports-killed", async |tenant| {
        let image = publish(tenant, "1", ECHO).await?;
        tenant.component("echo", spec(&image, "one")).await?;
        let endpoints = answers(tenant, 3, "one").await?;
        let agent = tenant.suite.agent(1)?;
        process::kill(agent.worker().await?)?;
        for endpoint in &endpoints {
            let answer = ask(endpoint.address, "after").await?;
            ensure!(answer == "one after", "{answer}");
        }
        answers(tenant, 3, "one").await?;
        Ok(())
    })
}
