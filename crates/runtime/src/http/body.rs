//! Bodies in both directions: bounded, watched, and never cut without the reader knowing.
//!
//! Must not drive the guest; `exchange` does. A response that was cut ends in an error, so
//! that HTTP/1 closes without the last chunk and HTTP/2 resets the stream: a caller must be
//! able to tell a whole response from a part.

use crate::call::Call;
use crate::limits::{HostBytes, Waiting};
use crate::outcome::Outcome;
use crate::serve::Busy;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, ready};
use tokio::task::AbortHandle;
use wasmtime_wasi_http::{Error, WasiBody};

/// Bytes of trailers, either way.
const TRAILERS_MAX: usize = 8 * 1024;

/// The body of an answer: a guest's, or the runtime's own.
pub struct Body {
    content: Content,
    /// Tells the connection that a request is still being answered.
    busy: Option<Busy>,
}

/// A response was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the response was cut: {}", .0.message())]
pub struct BodyError(pub Outcome);

/// The body of a request, up to its limit.
pub(crate) struct RequestBody<B> {
    body: B,
    limit: u64,
    received: u64,
    call: Arc<Call>,
    /// Dropped with this, for whoever watches.
    held: Option<Arc<AtomicBool>>,
}

enum Content {
    Text(Option<Bytes>),
    /// What the runtime has written for a guest, on the account of its call.
    Written {
        text: Option<Bytes>,
        _held: HostBytes,
    },
    /// All of it has been produced; it only waits to be sent.
    Whole {
        body: WasiBody,
        call: Arc<Call>,
    },
    Streaming {
        body: WasiBody,
        call: Arc<Call>,
        _waiting: Waiting,
        driver: Driver,
    },
}

/// The task in which the guest goes on. Stopped when the reader goes away before the end.
struct Driver(Option<AbortHandle>);

impl Body {
    /// A body of the runtime's own, such as an error message.
    #[must_use]
    pub fn text(text: impl Into<Bytes>) -> Body {
        Body {
            content: Content::Text(Some(text.into())),
            busy: None,
        }
    }

    pub(crate) fn written(text: impl Into<Bytes>, held: HostBytes) -> Body {
        Body {
            content: Content::Written {
                text: Some(text.into()),
                _held: held,
            },
            busy: None,
        }
    }

    pub(super) fn whole(body: WasiBody, call: Arc<Call>) -> Body {
        Body {
            content: Content::Whole { body, call },
            busy: None,
        }
    }

    pub(super) fn streaming(
        body: WasiBody,
        call: Arc<Call>,
        waiting: Waiting,
        driver: AbortHandle,
    ) -> Body {
        let driver = Driver(Some(driver));
        Body {
            content: Content::Streaming {
                body,
                call,
                _waiting: waiting,
                driver,
            },
            busy: None,
        }
    }

    pub(crate) fn keep_busy(&mut self, busy: Busy) {
        self.busy = Some(busy);
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Body")
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.content {
            Content::Text(text) | Content::Written { text, .. } => {
                Poll::Ready(text.take().map(|text| Ok(Frame::data(text))))
            }
            Content::Whole { body, call } => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                Poll::Ready(frame.map(|frame| {
                    let frame = frame.map_err(|_| BodyError(Outcome::GuestError))?;
                    admitted(frame, call)
                }))
            }
            Content::Streaming {
                body, call, driver, ..
            } => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                Poll::Ready(match (frame, call.ended_by()) {
                    (Some(Ok(frame)), _) => {
                        call.moved();
                        Some(admitted(frame, call))
                    }
                    (Some(Err(_)), reason) => {
                        Some(Err(BodyError(reason.unwrap_or(Outcome::GuestError))))
                    }
                    // The guest's end of the body is gone because its store is.
                    (None, Some(reason)) => Some(Err(BodyError(reason))),
                    (None, None) => {
                        // It has been read to the end: the guest may finish its work.
                        driver.0 = None;
                        None
                    }
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Text(text) | Content::Written { text, .. } => text.is_none(),
            Content::Whole { body, .. } => body.is_end_stream(),
            Content::Streaming { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Text(text) | Content::Written { text, .. } => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Content::Whole { body, .. } | Content::Streaming { body, .. } => body.size_hint(),
        }
    }
}

/// A frame of a guest's answer, as far as its call may still write.
fn admitted(frame: Frame<Bytes>, call: &Call) -> Result<Frame<Bytes>, BodyError> {
    let bytes = frame.data_ref().map_or(0, Bytes::len);
    match call.transfer(bytes) {
        true => Ok(bounded(frame)),
        false => Err(BodyError(Outcome::IoExceeded)),
    }
}

/// Trailers without headers of the hop, and none at all if they are too large.
fn bounded(frame: Frame<Bytes>) -> Frame<Bytes> {
    if frame.is_data() {
        return frame;
    }
    match frame.into_trailers() {
        Ok(mut trailers) => {
            super::head::strip(&mut trailers);
            if size(&trailers) > TRAILERS_MAX {
                trailers.clear();
            }
            Frame::trailers(trailers)
        }
        Err(other) => other,
    }
}

fn size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum()
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl<B> RequestBody<B> {
    pub(crate) fn new(body: B, limit: u64, call: Arc<Call>) -> RequestBody<B> {
        RequestBody {
            body,
            limit,
            received: 0,
            call,
            held: None,
        }
    }

    /// Holds on to something as long as this is there.
    pub(super) fn hold(&mut self, watch: Arc<AtomicBool>) {
        self.held = Some(watch);
    }
}

impl<B> http_body::Body for RequestBody<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        // What hyper says of a broken connection is for its log; the guest learns that it broke.
        let Ok(frame) = frame else {
            return Poll::Ready(Some(Err(Error::ConnectionTerminated)));
        };
        self.call.moved();
        if let Some(trailers) = frame.trailers_ref()
            && size(trailers) > TRAILERS_MAX
        {
            return Poll::Ready(Some(Err(Error::HttpRequestTrailerSectionSize(None))));
        }
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        self.received = self.received.saturating_add(bytes as u64);
        if !self.call.transfer(bytes) {
            return Poll::Ready(Some(Err(Error::ConnectionTerminated)));
        }
        if self.received > self.limit {
            self.call.end(Outcome::RequestTooLarge);
            return Poll::Ready(Some(Err(Error::HttpRequestBodySize(Some(self.limit)))));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
