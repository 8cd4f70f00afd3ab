//! The body of a response that a guest receives: in time, without secrets, in its place.
//!
//! Holds the place of its request among those in flight until it is dropped. Used by
//! `outgoing`.

use super::fault::body_fault;
use super::scrub::Scrubber;
use crate::call::Call;
use crate::capability::network::Place;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error;

/// A response body on its way in.
pub(super) struct ResponseBody {
    body: Incoming,
    scrubber: Option<Scrubber>,
    /// Trailers that wait for what the scrubber holds.
    last: Option<Frame<Bytes>>,
    ended: bool,
    idle: Duration,
    /// Runs while the guest waits.
    timer: Option<Pin<Box<Sleep>>>,
    call: Arc<Call>,
    _place: Place,
}

impl ResponseBody {
    pub(super) fn new(
        body: Incoming,
        scrubber: Option<Scrubber>,
        idle: Duration,
        call: Arc<Call>,
        place: Place,
    ) -> ResponseBody {
        ResponseBody {
            body,
            scrubber,
            last: None,
            ended: false,
            idle,
            timer: None,
            call,
            _place: place,
        }
    }

    fn poll_incoming(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| body_fault(&error))));
        }
        let deadline = Instant::now() + self.idle;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        ready!(timer.as_mut().poll(context));
        self.ended = true;
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    /// What goes to the guest in place of a frame; none when it is held back.
    fn scrub(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let Some(scrubber) = &mut self.scrubber else {
            return Some(frame);
        };
        match frame.into_data() {
            Ok(data) => {
                let data = scrubber.push(data);
                (!data.is_empty()).then(|| Frame::data(data))
            }
            Err(frame) => {
                let mut trailers = frame.into_trailers().ok()?;
                scrubber.headers(&mut trailers);
                match scrubber.finish() {
                    Some(held) => {
                        self.last = Some(Frame::trailers(trailers));
                        Some(Frame::data(held))
                    }
                    None => Some(Frame::trailers(trailers)),
                }
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(last) = self.last.take() {
            return Poll::Ready(Some(Ok(last)));
        }
        while !self.ended {
            match ready!(self.poll_incoming(context)) {
                Some(Ok(frame)) => {
                    if !self.call.transfer(frame.data_ref().map_or(0, Bytes::len)) {
                        self.ended = true;
                        return Poll::Ready(Some(Err(Error::ConnectionTerminated)));
                    }
                    if let Some(frame) = self.scrub(frame) {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.ended = true;
                    let held = self.scrubber.as_mut().and_then(Scrubber::finish);
                    return Poll::Ready(held.map(|held| Ok(Frame::data(held))));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        let held = self.scrubber.as_ref().map_or(0, Scrubber::held);
        self.last.is_none() && held == 0 && (self.ended || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // Stars are as long as what they stand for, but some of it may be held back now.
        match self.scrubber {
            Some(_) => SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}
