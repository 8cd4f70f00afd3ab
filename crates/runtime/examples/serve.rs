//! Embedding the runtime in a program of one's own, in five steps: add, configure, load,
//! execute, monitor.
//!
//! `cargo run --example serve -- examples/hello/hello.wasm 127.0.0.1:8080` serves the
//! component until it is interrupted. It is signed with a key that is thrown away, to get a
//! `VerifiedComponent`: nothing else can be loaded. A real host verifies what it has pulled.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use anyhow::Context;
use artifact::VerifiedComponent;
use runtime::serve::{Drain, connection};
use runtime::{
    AuditLevel, AuditSink, Code, Component, Config, EngineClass, Identity, Output, Runtime,
    Workload, compile,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

// 1. Add: `runtime`, `artifact` and `capability` in Cargo.toml; see this crate's own.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments
        .next()
        .context("usage: serve COMPONENT.wasm [ADDRESS]")?;
    let address = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:8080".to_owned());

    // 2. Configure: how much guests may hold together, and on how many threads they run.
    let cores = std::thread::available_parallelism()?.get();
    let config = Config::for_budget(800 << 20, cores);
    let settings = config.serve.clone();
    let output = Output::to_writer(std::io::stderr())?;
    let runtime = Runtime::new(config, output, AuditSink::discard())?;

    // 3. Load: verified bytes, compiled here, sealed, linked with what is granted.
    let verified = verified(std::fs::read(&file).with_context(|| file.clone())?)?;
    let workload = workload(&verified);
    let class = EngineClass::of(verified.facts(), &workload.limits);
    let machine_code = compile::compile(class, verified.wasm())?;
    let code = Code::seal(&verified, class, &machine_code)?;
    let component = runtime.load(&code, workload)?;
    component.probe(None, Duration::from_secs(10)).await?;

    // 4. Execute: hand it connections. `component.handle(request)` works without any, too.
    let listener = TcpListener::bind(&address).await?;
    println!("serving {file} on http://{}", listener.local_addr()?);
    let drain = Drain::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                let (component, settings, drain) = (Arc::clone(&component), settings.clone(), drain.clone());
                tokio::spawn(async move { connection(stream, &component, &settings, &drain).await });
            }
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    drain.start();
    let _ = tokio::time::timeout(Duration::from_secs(30), drain.finished()).await;

    // 5. Monitor: how calls ended, and what they cost.
    print_stats(&component);
    Ok(())
}

fn workload(verified: &VerifiedComponent) -> Workload {
    Workload {
        identity: Identity {
            namespace: "default".to_owned(),
            component: verified
                .facts()
                .name
                .clone()
                .unwrap_or_else(|| "component".to_owned()),
            revision: verified.digest().to_string(),
            node: "localhost".to_owned(),
        },
        limits: capability::Limits::default(),
        effective: Arc::default(),
        values: capability::Values::default(),
        mounts: Vec::new(),
        credentials: Vec::new(),
        audit: AuditLevel::default(),
        replicas: 1,
        max_request_body: 10 << 20,
        listens: false,
        initial_memory: verified.facts().initial_memory,
    }
}

fn print_stats(component: &Component) {
    let stats = component.stats();
    for (outcome, count) in stats.outcomes.iter().filter(|(_, count)| *count > 0) {
        println!("{}: {count}", outcome.name());
    }
    println!("CPU: {} ms", stats.cpu_micros / 1_000);
}

/// Packs, signs and verifies a component, all of it here.
fn verified(wasm: Vec<u8>) -> anyhow::Result<VerifiedComponent> {
    throw_away::verified(wasm)
}

#[path = "../tests/behaviour/throw_away.rs"]
mod throw_away;
