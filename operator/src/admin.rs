//! `/metrics`, `/healthz` and `/readyz` of the operator.
//!
//! Ready means: the cluster has what it has to have, the caches have seen
//! everything, and the hand-over answers. A replica that does not lead is ready
//! all the same; it serves agents.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::caches::Caches;
use crate::leader::Gate;
use crate::metrics::Metrics;
use crate::prerequisites;

/// What the endpoints look at.
#[derive(Clone)]
pub struct Admin {
    /// Whether the cluster has what it has to have.
    pub prerequisites: watch::Receiver<prerequisites::State>,
    /// Whether everything has been seen.
    pub caches: Caches,
    /// Whether this replica leads.
    pub gate: Gate,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether the hand-over answers.
    pub serving: watch::Receiver<bool>,
}

/// Serves until `shutdown`.
pub async fn serve(listener: TcpListener, admin: Admin, shutdown: CancellationToken) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .with_state(admin);
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the admin endpoints ended");
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    admin
        .metrics
        .leads(admin.gate.term(tokio::time::Instant::now()).is_ok());
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        admin.metrics.text(),
    )
        .into_response()
}

async fn ready(State(admin): State<Admin>) -> Response {
    if let Err(missing) = &*admin.prerequisites.borrow() {
        let text = format!("{}: {missing}\n", missing.reason());
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    let missing = admin.caches.missing();
    if !missing.is_empty() {
        let text = format!(
            "waiting for the API server to list {}; is the lighterman-crds chart installed, and the operator's role bound?\n",
            missing.join(", ")
        );
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    if !*admin.serving.borrow() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "waiting for the Secrets lighterman-ca and lighterman-seal\n",
        )
            .into_response();
    }
    "ready\n".into_response()
}
