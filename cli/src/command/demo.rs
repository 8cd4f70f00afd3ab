//! `lighterman demo`: the promises, shown without a person. `make demo` calls it.
//!
//! Serves a component, swaps it under load, refuses an unsigned and a tampered one, and
//! shows what is denied and what is granted. Each step prints its figure; the first that
//! fails ends it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use artifact::Digest;
use node_agent::args::SpawnArgs;
use registry::development::{Fault, Faults, Rule};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::args::{Access, Demo};
use crate::failure::Failure;
use crate::interrupt;
use crate::load;
use crate::local::{self, Event, Settings};
use crate::output::Output;
use crate::scratch::Scratch;
use crate::showcase::{self, Showcase};

/// A step that went well.
#[derive(Debug, Serialize)]
struct Step {
    step: &'static str,
    figure: String,
}

/// What the steps share.
struct Stage {
    showcase: Showcase,
    events: mpsc::Receiver<Event>,
    client: reqwest::Client,
    url: String,
    rate: u32,
}

/// A slow machine that also compiles something else needs this much for one step.
const PATIENCE: Duration = Duration::from_secs(60);
/// Load before and after the swap.
const AROUND: Duration = Duration::from_secs(1);
/// Tags are looked at this often.
const POLL: Duration = Duration::from_millis(200);
/// The first port to try; others may use 8080.
const PORT: u16 = 18080;
/// Events that wait to be looked at.
const EVENTS: usize = 64;
/// What the second version says of itself.
const SECOND: &str = "version: 2";

/// Runs all steps.
pub(crate) async fn run(args: &Demo, output: &Output) -> Result<(), Failure> {
    let scratch = Scratch::make()?;
    let stop = CancellationToken::new();
    interrupt::cancel(&stop)?;
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let showcase = Showcase::open(anywhere, scratch.path()).await?;
    showcase.push(showcase::hello(), true).await?;
    let settings = Settings {
        files: vec![showcase.write_yaml()?],
        builds: Vec::new(),
        manifests: Vec::new(),
        port: PORT,
        poll: POLL,
        p3: false,
        access: Access::default(),
        state: scratch.path().join("agent"),
        host_paths: Vec::new(),
        observe: None,
        spawns: SpawnArgs::default(),
    };
    let (sender, events) = mpsc::channel(EVENTS);
    // An event too many is only one that no step waits for.
    let report = Arc::new(move |event: Event| drop(sender.try_send(event)));
    let started = Instant::now();
    let cluster = tokio::spawn(local::run(settings, report, stop.clone()));

    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .map_err(|error| Failure::unavailable(error, ""))?;
    let stage = Stage {
        showcase,
        events,
        client,
        url: String::new(),
        rate: args.rate,
    };
    let outcome = tokio::select! {
        outcome = steps(stage, started, output) => outcome,
        () = stop.cancelled() => Err(Failure::unavailable("the demo was interrupted", "")),
    };
    stop.cancel();
    let ended = cluster
        .await
        .unwrap_or_else(|error| Err(Failure::unavailable(error, "")));
    outcome.and(ended)
}

async fn steps(mut stage: Stage, started: Instant, output: &Output) -> Result<(), Failure> {
    let show = |step, figure| output.event(&Step { step, figure });
    show("serve a signed component", stage.serve(started).await?);
    show("swap to version 2 under load", stage.swap().await?);
    show("refuse an unsigned version", stage.refuse_unsigned().await?);
    show("refuse a tampered version", stage.refuse_tampered().await?);
    show(
        "deny a connection that was not granted",
        stage.deny().await?,
    );
    show("read a granted file and no other", stage.grant().await?);
    show(
        "all steps",
        format!("{:.1} s", started.elapsed().as_secs_f64()),
    );
    Ok(())
}

impl Stage {
    async fn serve(&mut self, started: Instant) -> Result<String, Failure> {
        self.url = self.serving().await?;
        let body = self.get("/").await?;
        expect(body.contains("version: 1"), || {
            format!("version 1 answered {body:?}")
        })?;
        Ok(format!(
            "verified, compiled and answering at {} after {} ms",
            self.url,
            started.elapsed().as_millis()
        ))
    }

    async fn swap(&mut self) -> Result<String, Failure> {
        let stop = CancellationToken::new();
        let load = tokio::spawn(load::run(
            self.client.clone(),
            self.url.clone(),
            self.rate,
            stop.clone(),
        ));
        tokio::time::sleep(AROUND).await;
        let pushed = Instant::now();
        self.showcase.push(showcase::hello_v2(), true).await?;
        self.serving().await?;
        tokio::time::sleep(AROUND).await;
        stop.cancel();
        let answers = load
            .await
            .map_err(|error| Failure::unavailable(error, ""))?;

        let failures = answers.failures();
        expect(failures.is_empty(), || {
            format!(
                "{} of {} requests failed, the first with {}",
                failures.len(),
                answers.count(),
                failures.first().unwrap_or(&"")
            )
        })?;
        let first = answers.first_with(SECOND, pushed);
        let first = first.ok_or_else(|| Failure::refused("version 2 never answered", ""))?;
        Ok(format!(
            "{} requests at {} per second, 0 failed, p99 {:.1} ms; version 2 answers {} ms after the push",
            answers.count(),
            self.rate,
            answers.p99().as_secs_f64() * 1e3,
            first.as_millis(),
        ))
    }

    async fn refuse_unsigned(&mut self) -> Result<String, Failure> {
        let pushed = Instant::now();
        self.showcase
            .push(showcase::noted(showcase::HELLO, "unsigned"), false)
            .await?;
        self.refused("Unsigned").await?;
        self.still_second(format!(
            "Unsigned, {} ms after the push",
            pushed.elapsed().as_millis()
        ))
        .await
    }

    async fn refuse_tampered(&mut self) -> Result<String, Failure> {
        // The registry turns a byte of the component over when it is fetched; manifest and
        // signature are as they were.
        let component = showcase::noted(showcase::HELLO, "tampered");
        let path = format!("/v2/hello/blobs/{}", Digest::of(&component));
        self.showcase.set_faults(Faults::from(
            Rule::on(path, Fault::Corrupt).method(http::Method::GET),
        ));
        let pushed = Instant::now();
        self.showcase.push(component, true).await?;
        self.refused("DigestMismatch").await?;
        self.still_second(format!(
            "DigestMismatch, {} ms after the push",
            pushed.elapsed().as_millis()
        ))
        .await
    }

    async fn deny(&mut self) -> Result<String, Failure> {
        self.showcase.set_faults(Faults::none());
        self.showcase.push(showcase::probe(), true).await?;
        self.serving().await?;
        let answer = self
            .get(&format!("/connect?address={}", self.showcase.address()))
            .await?;
        expect(answer.contains("access-denied"), || {
            format!("the connection ended with {answer:?}")
        })?;
        Ok(format!(
            "a socket to {} answers {} to the guest",
            self.showcase.address(),
            answer.trim()
        ))
    }

    async fn grant(&mut self) -> Result<String, Failure> {
        self.showcase.add_data_processor().await?;
        let url = self
            .next("the component that works on files", |event| match event {
                Event::Serving {
                    component, urls, ..
                } => (component == "default/data-processor").then(|| urls.concat()),
                _ => None,
            })
            .await?;
        let granted = self.get_from(&url, "/input/orders.csv").await?;
        expect(granted.contains("3 lines"), || {
            format!("the granted file was answered with {granted:?}")
        })?;
        // What it has just written, where it may write and not read.
        let denied = self.get_from(&url, "/output/orders.csv.summary").await;
        let denied = denied.err().map(|failure| failure.to_string());
        let denied = denied.ok_or_else(|| Failure::refused("it read what was not granted", ""))?;
        expect(denied.contains("ermission denied"), || {
            format!("the other file was answered with {denied:?}")
        })?;
        Ok(format!(
            "{}; what it wrote itself it may not read: Permission denied",
            granted.trim()
        ))
    }

    /// The URL of the next revision that serves.
    async fn serving(&mut self) -> Result<String, Failure> {
        self.next("a serving revision", |event| match event {
            Event::Serving { urls, .. } => Some(urls.concat()),
            _ => None,
        })
        .await
    }

    async fn refused(&mut self, expected: &str) -> Result<(), Failure> {
        self.next(expected, |event| match event {
            Event::Refused { reason, .. } => (reason == expected).then_some(()),
            _ => None,
        })
        .await
    }

    async fn next<T>(
        &mut self,
        what: &str,
        wanted: impl Fn(&Event) -> Option<T>,
    ) -> Result<T, Failure> {
        let mut last = None;
        let found = tokio::time::timeout(PATIENCE, async {
            while let Some(event) = self.events.recv().await {
                if let Some(found) = wanted(&event) {
                    return Some(found);
                }
                last = Some(event);
            }
            None
        })
        .await;
        found.ok().flatten().ok_or_else(|| {
            let last = last.map_or_else(|| "nothing".to_owned(), |event| event.to_string());
            Failure::refused(
                format!(
                    "{what} did not come within {} s; last was: {last}",
                    PATIENCE.as_secs()
                ),
                "",
            )
        })
    }

    async fn get(&self, path: &str) -> Result<String, Failure> {
        self.get_from(&self.url, path).await
    }

    async fn get_from(&self, url: &str, path: &str) -> Result<String, Failure> {
        load::get(self.client.get(format!("{url}{path}")).timeout(PATIENCE))
            .await
            .map_err(|error| Failure::refused(format!("GET {path}: {error}"), ""))
    }

    async fn still_second(&self, figure: String) -> Result<String, Failure> {
        let body = self.get("/").await?;
        expect(body.contains(SECOND), || {
            format!("instead of version 2 came {body:?}")
        })?;
        Ok(format!("{figure}; version 2 still answers"))
    }
}

fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds {
        Ok(())
    } else {
        Err(Failure::refused(otherwise(), ""))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ok  {:<40} {}", self.step, self.figure)
    }
}
