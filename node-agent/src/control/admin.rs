//! `/metrics`, `/healthz` and `/readyz`. Reads counters by asking the loop, which asks the
//! worker; labels come from control's own books only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::cache::Cache;
use super::figures::{Counts, NamedFigures, Question};
use super::runs::RunFigures;

/// How long a scrape waits for the worker before it goes without its counters.
const ANSWER: Duration = Duration::from_secs(1);

/// What the endpoints look at.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Asks the loop for counters.
    pub questions: mpsc::Sender<Question>,
    /// Whether new traffic is welcome.
    pub ready: Arc<AtomicBool>,
    /// The cache, for its figures.
    pub cache: Arc<Cache>,
    /// Whether the public root should have been renewed and was not.
    pub public_root_stale: Arc<AtomicBool>,
}

/// Serves the endpoints until `stop`.
pub async fn run(listener: TcpListener, admin: Admin, stop: CancellationToken) {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(admin);
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the admin endpoints have ended");
    }
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    }
}

async fn metrics(State(admin): State<Admin>) -> Result<String, (StatusCode, String)> {
    let (question, answer) = oneshot::channel();
    let mut counts = Counts::default();
    if admin.questions.send(question).await.is_ok()
        && let Ok(Ok(answered)) = tokio::time::timeout(ANSWER, answer).await
    {
        counts = answered;
    }
    let stale = admin.public_root_stale.load(Ordering::Relaxed);
    render(&counts, admin.cache.figures(), stale)
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// The text of one scrape. Built anew each time, so that components that are gone leave no
/// series behind.
fn render(
    counts: &Counts,
    (cache_bytes, forged, evicted): (u64, u64, u64),
    public_root_stale: bool,
) -> Result<String, prometheus::Error> {
    let registry = Registry::new();
    let names = ["namespace", "component", "revision"];
    let calls = IntCounterVec::new(
        Opts::new(
            "lighterman_agent_calls_total",
            "Calls that ended, by outcome.",
        ),
        &["namespace", "component", "revision", "outcome"],
    )?;
    let cpu = IntCounterVec::new(
        Opts::new(
            "lighterman_agent_cpu_microseconds_total",
            "CPU time of a component.",
        ),
        &names,
    )?;
    let live = IntGaugeVec::new(
        Opts::new("lighterman_agent_live_calls", "Calls in progress."),
        &names,
    )?;
    let memory = IntGaugeVec::new(
        Opts::new(
            "lighterman_agent_guest_memory_bytes",
            "Memory that calls in progress hold.",
        ),
        &names,
    )?;
    let uses = IntCounterVec::new(
        Opts::new(
            "lighterman_agent_capability_uses_total",
            "Uses of capabilities, by what came of them.",
        ),
        &[
            "namespace",
            "component",
            "revision",
            "capability",
            "verdict",
        ],
    )?;
    let unrecorded = IntCounterVec::new(
        Opts::new(
            "lighterman_agent_audit_records_dropped_total",
            "Audit records of a component that were dropped because it made too many.",
        ),
        &names,
    )?;
    let running = IntGaugeVec::new(
        Opts::new(
            "lighterman_agent_running_replicas",
            "Replicas of components that run by themselves which run now.",
        ),
        &names,
    )?;
    let ended = IntCounterVec::new(
        Opts::new(
            "lighterman_agent_runs_ended_total",
            "Runs that ended, by how: RunCompleted when the component said that all went well.",
        ),
        &["namespace", "component", "revision", "reason"],
    )?;
    registry.register(Box::new(running.clone()))?;
    registry.register(Box::new(ended.clone()))?;
    for RunFigures {
        placement,
        component,
        revision,
        running: now,
        ends,
    } in &counts.runs
    {
        let labels = [placement.namespace.as_str(), component, revision];
        running.with_label_values(&labels).set(gauge(*now));
        for (reason, count) in ends {
            let [namespace, component, revision] = labels;
            ended
                .with_label_values(&[namespace, component, revision, reason.as_ref()])
                .inc_by(*count);
        }
    }
    registry.register(Box::new(uses.clone()))?;
    registry.register(Box::new(unrecorded.clone()))?;
    registry.register(Box::new(calls.clone()))?;
    registry.register(Box::new(cpu.clone()))?;
    registry.register(Box::new(live.clone()))?;
    registry.register(Box::new(memory.clone()))?;
    for NamedFigures {
        placement,
        component,
        figures,
        epoch: _,
    } in &counts.revisions
    {
        let labels = [
            placement.namespace.as_str(),
            component.as_str(),
            figures.revision.as_str(),
        ];
        for (outcome, count) in &figures.outcomes {
            let [namespace, component, revision] = labels;
            calls
                .with_label_values(&[namespace, component, revision, outcome])
                .inc_by(*count);
        }
        for (verdict, counts) in [("allowed", &figures.allowed), ("denied", &figures.denied)] {
            let [namespace, component, revision] = labels;
            for (capability, count) in counts {
                uses.with_label_values(&[namespace, component, revision, capability, verdict])
                    .inc_by(*count);
            }
        }
        if figures.lost_records > 0 {
            unrecorded
                .with_label_values(&labels)
                .inc_by(figures.lost_records);
        }
        cpu.with_label_values(&labels).inc_by(figures.cpu_micros);
        live.with_label_values(&labels).set(gauge(figures.live));
        memory.with_label_values(&labels).set(gauge(figures.memory));
    }
    for (name, help, value) in [
        (
            "lighterman_agent_worker_starts",
            "Workers started since control did.",
            counts.worker_starts,
        ),
        (
            "lighterman_agent_swaps",
            "Changes of weights between revisions since the start.",
            counts.swaps.count,
        ),
        (
            "lighterman_agent_swap_microseconds",
            "Time that those took, from the word to the worker until its answer.",
            counts.swaps.micros,
        ),
        (
            "lighterman_agent_audit_records_lost",
            "Audit records that were lost on this node since the start, because too many came.",
            counts.audit_lost,
        ),
        (
            "lighterman_agent_cache_bytes",
            "Bytes of content and machine code on disk.",
            cache_bytes,
        ),
        (
            "lighterman_agent_cache_forged",
            "Cache files that were not ours, since the start.",
            forged,
        ),
        (
            "lighterman_agent_cache_evicted",
            "Cache files given up for room, since the start.",
            evicted,
        ),
        (
            "lighterman_agent_public_root_stale",
            "1 while the public root should have been renewed and was not.",
            u64::from(public_root_stale),
        ),
    ] {
        let metric = IntGauge::new(name, help)?;
        metric.set(gauge(value));
        registry.register(Box::new(metric))?;
    }
    TextEncoder::new().encode_to_string(&registry.gather())
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
