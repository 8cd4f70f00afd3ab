//! The hand-over's HTTP: what agents fetch and tell over TLS, bounded in every direction.
//!
//! Connections, handshakes, transfers and their ages have limits; a herd of
//! agents gets 503 with Retry-After instead of a slow operator. Connections end
//! after five minutes, so that load spreads over replicas again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use artifact::Digest;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use crds::handover::{
    BLOB_ROUTE, DENIAL_COMPONENTS_MAX, DENIALS_ROUTE, DenialReport, PUBLIC_ROOT_ROUTE, Problem,
    REVISION_ROUTE, SealedRevision, TALLIES_ROUTE, TALLY_COMPONENTS_MAX, TallyReport, VALUES_ROUTE,
};
use crds::{ComponentPlacement, Reason, names};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use serde::de::DeserializeOwned;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::authority::{Authority, MissingContent, Withheld};
use super::identity::{AgentIdentity, Reviewer};
use super::{conditional, problem};
use crate::caches::Caches;
use crate::component::{Validated, validate};
use crate::content::{ContentStore, ParcelName};
use crate::denials::{self, Denials};
use crate::leader::Gate;
use crate::metrics::Metrics;
use crate::public_root::Relay;
use crate::reader::Reader;
use crate::resolver::{Request, Resolver};
use crate::tallies::Tallies;
use crate::trust::TrustBook;
use crate::values::{self, References};

/// Blobs sent at once.
const TRANSFERS: usize = 16;
/// Bytes given to a connection at a time.
const CHUNK: usize = 64 << 10;
/// Connections at once: a few for each of a thousand agents.
const CONNECTIONS: usize = 2_048;
/// Longest handshake, and longest wait for a request's head.
const PATIENCE: Duration = Duration::from_secs(10);
/// Oldest connection.
const OLDEST: Duration = Duration::from_secs(300);
/// The largest report: of denials, every component with every kind of it, and texts of a few
/// hundred bytes; of tallies, every component with two revisions and every bucket of them.
const REPORT_MAX: usize = 1 << 20;
/// What a busy or unready replica asks to wait, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// What the routes work with; cheap to clone.
#[derive(Clone)]
pub struct HandOver {
    /// Says who asks.
    pub reviewer: Reviewer,
    /// Says what they may have.
    pub authority: Authority,
    /// The bytes.
    pub content: ContentStore,
    /// For values, and for placements that the caches have not seen.
    pub reader: Reader,
    /// For components whose bytes have to be pulled again.
    pub caches: Caches,
    /// What they are judged by.
    pub trust: TrustBook,
    /// What agents may judge by where a policy names no root.
    pub relay: Relay,
    /// Pulls them.
    pub resolver: Resolver,
    /// Takes what agents tell of denials.
    pub denials: Denials,
    /// Takes what agents tell of revisions that take over from each other.
    pub tallies: Tallies,
    /// Whether this replica leads.
    pub gate: Gate,
    /// What is counted.
    pub metrics: Metrics,
    /// Bounds `TRANSFERS`; see `HandOver::transfers`.
    pub transfers: Arc<Semaphore>,
}

impl HandOver {
    /// The bound on blobs sent at once.
    pub fn transfers() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(TRANSFERS))
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route(REVISION_ROUTE, get(revision))
            .route(BLOB_ROUTE, get(blob))
            .route(VALUES_ROUTE, get(resolved_values))
            .route(PUBLIC_ROOT_ROUTE, get(public_root))
            .route(DENIALS_ROUTE, post(denied))
            .route(TALLIES_ROUTE, post(tallied))
            .with_state(self)
    }

    async fn identify(&self, headers: &HeaderMap) -> Result<AgentIdentity, Problem> {
        let value = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        self.reviewer.identify(value).await
    }

    /// A refusal as it is sent: caches lag behind the watch of an agent by a
    /// moment, so one live look decides between "not yet" and "no".
    async fn refuse(
        &self,
        agent: &AgentIdentity,
        namespace: &str,
        revision: &str,
        refusal: Problem,
    ) -> Problem {
        let component = revision
            .strip_prefix("wc-")
            .and_then(|rest| rest.rsplit_once('-'))
            .map(|(name, _)| name);
        let Some(component) = component else {
            return refusal;
        };
        let name = names::placement_name(component, &agent.node);
        let live = self
            .reader
            .get::<ComponentPlacement>("ComponentPlacement", namespace, &name)
            .await;
        match live {
            Ok(Some(placement))
                if placement.spec.node_name == agent.node
                    && placement
                        .spec
                        .revisions
                        .iter()
                        .any(|placed| placed.name == revision)
                    && refusal.reason != Reason::SealInvalid =>
            {
                problem(
                    Reason::HandOverNotYet,
                    "this replica has not seen the placement yet; try again",
                )
            }
            _ => refusal,
        }
    }

    /// Has bytes pulled again that the content cache lost.
    fn refill(&self, lost: MissingContent) {
        let Some(object) = self.caches.components.get(&lost.namespace, &lost.component) else {
            return;
        };
        if let Ok(validated) = validate(&object) {
            // The spec may name another repository by now.
            let validated = Validated {
                image: lost.image,
                ..validated
            };
            self.resolver.refill(
                Request::new(&self.caches, &self.trust, validated),
                lost.digest,
            );
        }
    }
}

/// Serves `router` on `listener` until `shutdown`, then lets open requests end.
pub async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    router: Router,
    shutdown: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        // Accepting is cancel-safe: a connection is either taken or still waits.
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Ok(slot) = Arc::clone(&connections).try_acquire_owned() else {
                    tracing::warn!(%peer, "too many connections to the hand-over; one was closed");
                    continue;
                };
                let (tls, router, shutdown) = (tls.clone(), router.clone(), shutdown.clone());
                tasks.spawn(async move {
                    connection(stream, peer, tls, router, shutdown).await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely; the next accept would fail at once.
                tracing::warn!(%error, "the hand-over cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(
        tokio::time::timeout(PATIENCE, async {
            while tasks.join_next().await.is_some() {}
        })
        .await,
    );
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: TlsAcceptor,
    router: Router,
    shutdown: CancellationToken,
) {
    let stream = match tokio::time::timeout(PATIENCE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return tracing::debug!(%peer, %error, "a TLS handshake with the hand-over failed");
        }
        Err(_) => return tracing::debug!(%peer, "a TLS handshake with the hand-over took too long"),
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(32 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(32)
        .keep_alive_interval(Some(PATIENCE));
    let service = TowerToHyperService::new(router);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = tokio::time::sleep(OLDEST) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error, "a connection to the hand-over broke");
    }
}

async fn revision(
    State(hand_over): State<HandOver>,
    Path((namespace, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response<Body> {
    let answer = async {
        let agent = hand_over.identify(&headers).await?;
        let known = match hand_over.authority.revision(&agent.node, &namespace, &name) {
            Ok(known) => known,
            Err(refusal) => return Err(hand_over.refuse(&agent, &namespace, &name, refusal).await),
        };
        let unreadable = || problem(Reason::SealInvalid, "the revision names no image");
        let (image, digest) = known.image().ok_or_else(unreadable)?;
        let Some(parcel) = hand_over.content.listing(&ParcelName::new(&image, &digest)) else {
            hand_over.refill(MissingContent {
                namespace,
                component: known.document.component.name,
                image,
                digest,
            });
            return Err(problem(
                Reason::HandOverNotYet,
                format!("the bytes of {digest} are being pulled; try again"),
            ));
        };
        Ok(axum::Json(SealedRevision {
            document: known.document,
            seal: known.seal,
            parcel,
            public_root: hand_over.relay.root().map(|root| root.to_string()),
        })
        .into_response())
    };
    finish(&hand_over.metrics, answer.await)
}

async fn blob(
    State(hand_over): State<HandOver>,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    let answer = async {
        let agent = hand_over.identify(&headers).await?;
        let unknown = || {
            problem(
                Reason::BlobUnknown,
                "there are no such bytes; ask by sha256:DIGEST",
            )
        };
        let digest: Digest = digest.parse().map_err(|_| unknown())?;
        match hand_over
            .authority
            .blob(&agent.node, &digest, &hand_over.content)
        {
            Ok(()) => {}
            Err(Withheld::NotYours) => {
                let message = format!(
                    "{digest} belongs to nothing that is placed on node {}",
                    agent.node
                );
                return Err(problem(Reason::HandOverForbidden, message));
            }
            Err(Withheld::Missing(missing)) => {
                for lost in missing {
                    hand_over.refill(lost);
                }
                return Err(problem(
                    Reason::HandOverNotYet,
                    "bytes are being pulled; try again",
                ));
            }
        }
        let Ok(transfer) = Arc::clone(&hand_over.transfers).try_acquire_owned() else {
            return Err(problem(
                Reason::HandOverBusy,
                "as many transfers as may be are under way; try again",
            ));
        };
        let Some(content) = hand_over.content.blob(&digest).await else {
            return Err(problem(
                Reason::HandOverNotYet,
                "the bytes were damaged and are being pulled again; try again",
            ));
        };
        let length = content.len();
        // The permit lives as long as the body: a slow reader is a transfer too.
        let stream =
            futures::stream::unfold((content, transfer), |(mut rest, transfer)| async move {
                let chunk = rest.split_to(rest.len().min(CHUNK));
                (!chunk.is_empty())
                    .then_some((Ok::<_, std::convert::Infallible>(chunk), (rest, transfer)))
            });
        let mut response = Response::new(Body::from_stream(stream));
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        Ok(response)
    };
    finish(&hand_over.metrics, answer.await)
}

async fn resolved_values(
    State(hand_over): State<HandOver>,
    Path((namespace, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response<Body> {
    let answer = async {
        let agent = hand_over.identify(&headers).await?;
        let known = match hand_over.authority.revision(&agent.node, &namespace, &name) {
            Ok(known) => known,
            Err(refusal) => return Err(hand_over.refuse(&agent, &namespace, &name, refusal).await),
        };
        let references = References::from(&known.document);
        let values = values::resolve(&hand_over.reader, &namespace, references)
            .await
            .map_err(|error| problem(error.reason(), error.to_string()))?;
        conditional::answer(&values, &headers)
    };
    finish(&hand_over.metrics, answer.await)
}

async fn denied(
    State(hand_over): State<HandOver>,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    let answer = async {
        // Who asks first: nothing of a stranger is read.
        let agent = hand_over.identify(&headers).await?;
        let report: DenialReport = report(body).await?;
        for told in report.components.iter().take(DENIAL_COMPONENTS_MAX) {
            // An agent speaks of what is on its node, and of nothing else.
            if hand_over.authority.is_placed(&agent.node, &told.component) {
                denials::count(&hand_over.metrics, told);
                hand_over.denials.take(&agent.node, told);
            }
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    finish(&hand_over.metrics, answer.await)
}

async fn tallied(
    State(hand_over): State<HandOver>,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    let answer = async {
        let agent = hand_over.identify(&headers).await?;
        // Only the leader judges rollouts, and replicas do not know each other.
        hand_over.gate.term(Instant::now()).map_err(|error| {
            let message = format!("{error}; ask again over another connection");
            problem(Reason::HandOverNotLeading, message)
        })?;
        let report: TallyReport = report(body).await?;
        for told in report.components.iter().take(TALLY_COMPONENTS_MAX) {
            let revisions = told.revisions.iter().map(|of| of.revision.as_str());
            // What another node did is its own to tell.
            if hand_over
                .authority
                .holds(&agent.node, &told.component, revisions)
            {
                hand_over.tallies.take(&agent.node, told);
            }
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    finish(&hand_over.metrics, answer.await)
}

/// What an agent that has said who it is posts.
async fn report<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let unreadable = |error: String| problem(Reason::HandOverForbidden, error);
    let body = axum::body::to_bytes(body, REPORT_MAX)
        .await
        .map_err(|error| unreadable(format!("the report could not be read: {error}")))?;
    serde_json::from_slice(&body)
        .map_err(|error| unreadable(format!("the report is not what this route takes: {error}")))
}

/// For every agent alike: it is public, and each checks it for itself.
async fn public_root(State(hand_over): State<HandOver>, headers: HeaderMap) -> Response<Body> {
    let answer = async {
        hand_over.identify(&headers).await?;
        let json = hand_over.relay.json().ok_or_else(|| {
            problem(
                Reason::BlobUnknown,
                "this operator relays no public root; its --tuf-mirror makes it do so",
            )
        })?;
        let json_type = (header::CONTENT_TYPE, "application/json");
        Ok(([json_type], json).into_response())
    };
    finish(&hand_over.metrics, answer.await)
}

/// Counts an answer and writes a problem as the agent reads it.
fn finish(metrics: &Metrics, answer: Result<Response<Body>, Problem>) -> Response<Body> {
    let response = answer.unwrap_or_else(|problem| {
        let status =
            StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let mut response = (status, axum::Json(problem)).into_response();
        if matches!(
            status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::CONFLICT
        ) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    });
    metrics.handed_over(response.status().as_u16());
    response
}
