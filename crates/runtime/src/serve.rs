//! Connections: which HTTP they speak, what they may cost, and how they end.
//!
//! HTTP/1.1, and HTTP/2 with prior knowledge; TLS is someone else's. Judges no request and
//! knows no component. The embedder accepts, counts its connections, and calls `connection`.

mod drain;
mod watched;

use crate::http::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::timeout;

pub use drain::Drain;
use drain::{Entered, Phase};
pub(crate) use watched::Busy;
use watched::{Activity, Watched};

/// RFC 9113 3.4: how a client says that it speaks HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Limits of a connection.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The first bytes have to come within this time.
    pub first_byte: Duration,
    /// A request head has to be complete within this time of its first byte.
    pub head: Duration,
    /// A connection may be without a request for this long.
    pub keep_alive: Duration,
    /// A caller may take no byte of an answer for this long.
    pub stalled: Duration,
    /// Bytes of a request head (HTTP/1), or of a header list (HTTP/2: half of it).
    pub head_size: usize,
    /// Header fields of a request (HTTP/1).
    pub headers: usize,
    /// Bytes that are read ahead of, or wait to be written to, a connection (HTTP/1).
    pub buffer: usize,
    /// Concurrent streams of an HTTP/2 connection.
    pub streams: u32,
    /// Bytes a caller may send ahead on one stream, and on the connection.
    pub stream_window: u32,
    /// See `stream_window`.
    pub connection_window: u32,
    /// Bytes of one stream's answer that wait to be written.
    pub send_buffer: usize,
    /// Streams a caller may have reset before we have looked at them (CVE-2023-44487).
    pub pending_resets: usize,
    /// Streams we may reset because of the caller's errors before the connection ends.
    pub error_resets: usize,
    /// How often an HTTP/2 caller is asked whether it is there, and how long it may take.
    pub ping: Duration,
    /// See `ping`.
    pub pong: Duration,
}

/// Answers the requests of connections.
/// It is cloned for each request.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

/// How a connection ended early.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    /// No byte came in time.
    #[error("the caller sent nothing in time")]
    Silent,
    /// Reading the first bytes failed.
    #[error("the connection broke: {0}")]
    Broken(#[from] std::io::Error),
    /// What came was no HTTP, too large, too slow, or stopped in the middle.
    #[error("the connection ended: {0}")]
    Http(#[from] hyper::Error),
    /// It was still open at the end of the drain.
    #[error("the connection was cut at the end of its grace period")]
    Cut,
}

impl Default for Settings {
    fn default() -> Self {
        const KIB: usize = 1024;
        Settings {
            first_byte: Duration::from_secs(5),
            head: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            stalled: Duration::from_secs(30),
            head_size: 32 * KIB,
            headers: 100,
            buffer: 64 * KIB,
            streams: 100,
            stream_window: 64 << 10,
            connection_window: 1 << 20,
            send_buffer: 64 * KIB,
            pending_resets: 20,
            error_resets: 1_024,
            ping: Duration::from_secs(20),
            pong: Duration::from_secs(10),
        }
    }
}

/// Serves one connection to its end. How it ends is the caller's affair and only logged.
pub async fn connection<I, H>(io: I, handler: &H, settings: &Settings, drain: &Drain)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler + Clone,
{
    if let Err(error) = serve(io, handler.clone(), settings, drain.enter()).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn serve<I, H>(
    mut io: I,
    handler: H,
    settings: &Settings,
    mut drain: Entered,
) -> Result<(), ConnectionError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler + Clone,
{
    let (start, is_http2) = tokio::select! {
        start = first_bytes(&mut io, settings.first_byte) => start?,
        // A connection without a request has nothing to lose.
        () = drain.reaches(Phase::Cut) => return Err(ConnectionError::Cut),
    };
    if start.is_empty() {
        return Ok(());
    }
    let activity = Arc::new(Activity::new(settings));
    let io = TokioIo::new(Watched::new(io, start, Arc::clone(&activity)));
    let service = service_fn(move |request| {
        let handler = handler.clone();
        let busy = activity.begin();
        async move {
            let mut response = handler.handle(request).await;
            response.body_mut().keep_busy(busy);
            Ok::<_, Infallible>(response)
        }
    });
    if is_http2 {
        let connection = http2_builder(settings).serve_connection(io, service);
        run(
            connection,
            |connection| connection.graceful_shutdown(),
            drain,
        )
        .await
    } else {
        let mut builder = http1_builder(settings);
        // On a connection that hyper has not read from yet a graceful shutdown would close.
        builder.keep_alive(!drain.has_started());
        let connection = builder.serve_connection(io, service);
        run(
            connection,
            |connection| connection.graceful_shutdown(),
            drain,
        )
        .await
    }
}

/// Drives a connection; asks it to end when the drain starts, drops it when it is cut.
async fn run<C>(
    connection: C,
    shut_down: impl Fn(Pin<&mut C>),
    mut drain: Entered,
) -> Result<(), ConnectionError>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        result = connection.as_mut() => return Ok(result?),
        () = drain.reaches(Phase::Draining) => shut_down(connection.as_mut()),
    }
    tokio::select! {
        biased;
        result = connection.as_mut() => Ok(result?),
        () = drain.reaches(Phase::Cut) => Err(ConnectionError::Cut),
    }
}

/// Reads until it is clear which HTTP the caller speaks. hyper-util's own detection has no
/// time limit.
async fn first_bytes<I>(io: &mut I, limit: Duration) -> Result<(Vec<u8>, bool), ConnectionError>
where
    I: AsyncRead + Unpin,
{
    let read = async {
        let mut start = Vec::with_capacity(PREFACE.len());
        loop {
            let before = start.len();
            let mut rest = (&mut *io).take((PREFACE.len() - before) as u64);
            if rest.read_buf(&mut start).await? == 0 {
                return Ok((start, false));
            }
            if start == PREFACE {
                return Ok((start, true));
            }
            if !PREFACE.starts_with(&start) {
                return Ok((start, false));
            }
        }
    };
    timeout(limit, read)
        .await
        .map_err(|_| ConnectionError::Silent)?
}

fn http1_builder(settings: &Settings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // `Watched` keeps all times, for one timer per connection instead of one per request.
        .header_read_timeout(None)
        .max_headers(settings.headers)
        .max_header_size(settings.head_size)
        .max_buf_size(settings.buffer)
        .half_close(false);
    builder
}

fn http2_builder(settings: &Settings) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.streams)
        .initial_stream_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_send_buf_size(settings.send_buffer)
        .max_header_list_size(u32::try_from(settings.head_size / 2).unwrap_or(16 << 10))
        .max_pending_accept_reset_streams(settings.pending_resets)
        .max_local_error_reset_streams(settings.error_resets)
        .keep_alive_interval(settings.ping)
        .keep_alive_timeout(settings.pong);
    builder
}
