//! A component's HTTP client: connections kept for its next requests, and for nobody else's.
//!
//! One client per component revision, so that no request ever travels on a connection that
//! another grant opened; keyed by scheme, host and port within it. HTTP/1.1 and, where TLS
//! agrees on it, HTTP/2. Every connection is made by `dial`. Used by `http::outgoing`, which
//! has judged the request.

use super::dial::{DialError, Dialer};
use super::places::Place;
use super::tls;
use crate::http::outgoing::{RequestBody, Target};
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tower_service::Service;

/// The client of one component.
pub(crate) type HttpClient = Client<Connector, RequestBody>;

/// Idle connections to one server.
const IDLE_MAX: usize = 8;
/// RFC 9113 6.5.2: what a server may send before the guest reads.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
const SEND_BUFFER: usize = 64 << 10;
/// A dead HTTP/2 connection is found out while requests wait on it.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);
/// hyper reads no smaller heads.
const HEAD_MIN: usize = 8 << 10;

/// Makes the connections of a client.
#[derive(Clone)]
pub(crate) struct Connector {
    dialer: Arc<Dialer>,
    tls: Option<TlsConnector>,
}

/// Why there is no connection for HTTP.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    #[error("the TLS handshake took too long")]
    Timeout,
}

/// A connection, plain or in TLS.
pub(crate) struct Link {
    io: TokioIo<Box<dyn Duplex>>,
    is_http2: bool,
    _place: Place,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The client of one component. Opens nothing yet.
pub(crate) fn client(dialer: &Arc<Dialer>) -> HttpClient {
    let settings = &dialer.uplink.settings;
    let connector = Connector {
        dialer: Arc::clone(dialer),
        tls: dialer.uplink.tls().map(tls::connector),
    };
    let head_list = u32::try_from(settings.head_size).unwrap_or(u32::MAX);
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(settings.idle)
        .pool_max_idle_per_host(IDLE_MAX)
        .set_host(true)
        .http1_max_buf_size(settings.head_size.max(HEAD_MIN))
        .http2_max_header_list_size(head_list)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_send_buf_size(SEND_BUFFER)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PONG)
        .build(connector)
}

impl Connector {
    async fn connect(self, uri: Uri) -> Result<Link, ConnectError> {
        // The same that the request was judged by: the client takes it out of the request.
        let target = Target::parse(&uri).map_err(|_| DialError::Denied)?;
        let destination = target.destination();
        let reach = self.dialer.effective.destination(&destination);
        let reach = reach.map_err(|_| DialError::Denied)?;
        let deadline = Instant::now() + self.dialer.uplink.settings.connect;
        let dialed = self.dialer.connect(&destination, reach, deadline).await?;
        if !target.is_tls() {
            return Ok(Link::new(dialed.stream, false, dialed.place));
        }
        let unavailable = || ConnectError::Tls(io::Error::other("TLS is not set up"));
        let connector = self.tls.as_ref().ok_or_else(unavailable)?;
        let host = destination.host.to_string();
        let stream = timeout_at(deadline, tls::handshake(connector, host, dialed.stream))
            .await
            .map_err(|_| ConnectError::Timeout)?
            .map_err(ConnectError::Tls)?;
        let is_http2 = tls::is_http2(&stream);
        Ok(Link::new(stream, is_http2, dialed.place))
    }
}

impl Service<Uri> for Connector {
    type Response = Link;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Link, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

impl Link {
    fn new(io: impl Duplex + 'static, is_http2: bool, place: Place) -> Link {
        Link {
            io: TokioIo::new(Box::new(io)),
            is_http2,
            _place: place,
        }
    }
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        match self.is_http2 {
            true => Connected::new().negotiated_h2(),
            false => Connected::new(),
        }
    }
}

impl Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
