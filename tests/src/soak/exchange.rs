//! One request, in each of the ways that callers have. Nothing is ever sent twice: a connection
//! that breaks under a request has failed it. Only a request that was never written, because its
//! connection had ended before, goes over another one. Called by `traffic`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::request::Builder;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::tenant::Endpoint;

/// Connections that wait for their next request.
const KEPT: usize = 32;
/// HTTP/2 connections; each carries many requests at once.
const MULTIPLEXED: usize = 4;
/// Pieces of a slow body, each as long after the one before, so that it takes two seconds.
const PIECES: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);
/// One piece of a slow upload.
const PIECE: &[u8] = &[b'x'; 256];

type Outgoing = UnsyncBoxBody<Bytes, Infallible>;
type Kept = (Endpoint, http1::SendRequest<Outgoing>);
type Shared = (Endpoint, http2::SendRequest<Outgoing>);

/// How a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// HTTP/1.1 over a connection that had requests before.
    KeptAlive,
    /// HTTP/1.1 over a connection of its own.
    Fresh,
    /// HTTP/2 with prior knowledge, beside other requests of the connection.
    Multiplexed,
    /// A body that takes its time to come.
    SlowUpload,
    /// An answer that takes its time.
    SlowDownload,
}

/// The callers of one Service.
pub(super) struct Callers {
    endpoints: Arc<Mutex<Vec<Endpoint>>>,
    turn: AtomicUsize,
    kept: Mutex<VecDeque<Kept>>,
    multiplexed: [tokio::sync::Mutex<Option<Shared>>; MULTIPLEXED],
}

impl Callers {
    /// Callers that know these endpoints, which somebody keeps up to date.
    pub(super) fn of(endpoints: Arc<Mutex<Vec<Endpoint>>>) -> Self {
        Self {
            endpoints,
            turn: AtomicUsize::new(0),
            kept: Mutex::default(),
            multiplexed: Default::default(),
        }
    }

    /// Asks, and gives the whole answer of a quick request.
    ///
    /// # Errors
    /// Whatever a caller would call a failure.
    pub(super) async fn ask(&self, way: Way) -> Result<String> {
        match way {
            Way::KeptAlive => self.kept_alive().await,
            Way::Fresh => {
                let endpoint = self.endpoint()?;
                let mut sender = connect(&endpoint).await?;
                let answer = sender.send_request(get(&endpoint, "/")?).await?;
                text(answer).await
            }
            Way::Multiplexed => self.multiplexed().await,
            Way::SlowUpload => self.slow_upload().await,
            Way::SlowDownload => {
                let endpoint = self.endpoint()?;
                let mut sender = connect(&endpoint).await?;
                let path = format!("/slow?chunks={PIECES}&ms={}", PAUSE.as_millis());
                let answer = text(sender.send_request(get(&endpoint, &path)?).await?).await?;
                let pieces = answer.lines().count();
                ensure!(pieces == PIECES, "{pieces} of {PIECES} pieces came");
                Ok(String::new())
            }
        }
    }

    async fn kept_alive(&self) -> Result<String> {
        loop {
            let kept = self.lock().pop_front();
            let (endpoint, mut sender) = match kept {
                // The server may have ended it meanwhile: nothing was asked over it.
                Some((_, sender)) if !sender.is_ready() => continue,
                Some(kept) => kept,
                None => {
                    let endpoint = self.endpoint()?;
                    let sender = connect(&endpoint).await?;
                    (endpoint, sender)
                }
            };
            let answer = match sender.try_send_request(get(&endpoint, "/")?).await {
                Ok(answer) => answer,
                Err(error) if error.message().is_some() => continue,
                Err(error) => return Err(error.into_error()).context("over a kept connection"),
            };
            let text = text(answer).await?;
            // It is ready again once the connection has seen the end of the answer.
            if sender.ready().await.is_ok() {
                let mut kept = self.lock();
                if kept.len() < KEPT {
                    kept.push_back((endpoint, sender));
                }
            }
            return Ok(text);
        }
    }

    async fn multiplexed(&self) -> Result<String> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let slot = self.multiplexed.get(turn % MULTIPLEXED);
        let slot = slot.context("there is such a slot")?;
        loop {
            let (endpoint, mut sender) = {
                let mut slot = slot.lock().await;
                match slot.as_ref().filter(|(_, sender)| !sender.is_closed()) {
                    Some(open) => open.clone(),
                    None => {
                        let endpoint = self.endpoint()?;
                        let stream = TcpStream::connect(endpoint.address).await?;
                        let (sender, connection) =
                            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                        // Its end is seen by the requests on it.
                        tokio::spawn(async move { drop(connection.await) });
                        slot.insert((endpoint, sender)).clone()
                    }
                }
            };
            match sender.try_send_request(get(&endpoint, "/")?).await {
                Ok(answer) => return text(answer).await,
                Err(error) if error.message().is_some() => {
                    // Asked to go elsewhere before it was sent.
                    let mut slot = slot.lock().await;
                    if slot.as_ref().is_some_and(|(_, sender)| sender.is_closed()) {
                        *slot = None;
                    }
                    drop(slot);
                    tokio::task::yield_now().await;
                }
                Err(error) => return Err(error.into_error()).context("over HTTP/2"),
            }
        }
    }

    async fn slow_upload(&self) -> Result<String> {
        let endpoint = self.endpoint()?;
        let mut sender = connect(&endpoint).await?;
        let pieces = futures::stream::unfold(0, |sent| async move {
            if sent == PIECES {
                return None;
            }
            tokio::time::sleep(PAUSE).await;
            Some((Ok(Frame::data(Bytes::from_static(PIECE))), sent + 1))
        });
        let body = StreamBody::new(pieces).boxed_unsync();
        let request = request(&endpoint, Method::POST, "/echo").body(body)?;
        let answer = text(sender.send_request(request).await?).await?;
        let (came, sent) = (answer.len(), PIECES * PIECE.len());
        ensure!(came == sent, "{came} of {sent} bytes came back");
        Ok(String::new())
    }

    /// The next one of those that are ready, as kube-proxy would choose.
    fn endpoint(&self) -> Result<Endpoint> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let ready = self
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let chosen = ready.get(turn % ready.len().max(1)).cloned();
        chosen.context("no endpoint of the Service is ready")
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection of HTTP/1.1, which lives as long as what is returned.
async fn connect(endpoint: &Endpoint) -> Result<http1::SendRequest<Outgoing>> {
    let stream = TcpStream::connect(endpoint.address).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end is seen by the request on it.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn request(endpoint: &Endpoint, method: Method, path: &str) -> Builder {
    let builder = Request::builder().method(method).uri(endpoint.url(path));
    builder.header(header::HOST, endpoint.address.to_string())
}

fn get(endpoint: &Endpoint, path: &str) -> Result<Request<Outgoing>> {
    let nothing = Empty::new().boxed_unsync();
    Ok(request(endpoint, Method::GET, path).body(nothing)?)
}

async fn text(answer: Response<Incoming>) -> Result<String> {
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    if status != StatusCode::OK {
        bail!("answered {status}: {text}");
    }
    Ok(text)
}
