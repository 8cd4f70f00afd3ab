//! The body of a request that a guest sends, on its way out.
//!
//! Keeps trailers from carrying what headers may not, and notes when bytes moved, because an
//! answer is not late while its request is still being sent. Used by `outgoing`.

use crate::call::Call;
use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use wasmtime_wasi_http::{Error, WasiBody};

/// A guest's request body.
pub(crate) struct RequestBody {
    body: WasiBody,
    /// Trailers that must not pass.
    withheld: Arc<[HeaderName]>,
    sent: Arc<Sent>,
    call: Arc<Call>,
}

/// When a request last moved.
#[derive(Debug)]
pub(super) struct Sent {
    started: Instant,
    /// Milliseconds after the start.
    moved: AtomicU64,
}

impl Sent {
    pub(super) fn new() -> Arc<Sent> {
        Arc::new(Sent {
            started: Instant::now(),
            moved: AtomicU64::new(0),
        })
    }

    pub(super) fn last(&self) -> Instant {
        self.started + Duration::from_millis(self.moved.load(Ordering::Relaxed))
    }

    fn note(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(elapsed, Ordering::Relaxed);
    }
}

impl RequestBody {
    pub(super) fn new(
        body: WasiBody,
        withheld: Arc<[HeaderName]>,
        sent: Arc<Sent>,
        call: Arc<Call>,
    ) -> RequestBody {
        RequestBody {
            body,
            withheld,
            sent,
            call,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let Poll::Ready(Some(Ok(frame))) = polled else {
            return polled;
        };
        self.sent.note();
        if !self.call.transfer(frame.data_ref().map_or(0, Bytes::len)) {
            return Poll::Ready(Some(Err(Error::ConnectionTerminated)));
        }
        Poll::Ready(Some(Ok(match frame.into_trailers() {
            Ok(mut trailers) => {
                for name in self.withheld.iter() {
                    trailers.remove(name);
                }
                Frame::trailers(trailers)
            }
            Err(data) => data,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
