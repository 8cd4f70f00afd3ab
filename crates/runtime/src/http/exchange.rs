//! One request and its answer: the guest is driven to the response head, then beside the body.
//!
//! Until the head is there the guest runs in the connection's own task: no task is made for
//! a request that is answered at once. A guest that still works after its head goes on in a
//! task, because hyper asks for a body only when it can send. Called by `component`.

use super::answer::answer;
use super::body::{Body, RequestBody};
use super::head::{admit, strip};
use super::instance::{GuestBody, Head};
use super::outgoing::WAITING_MAX;
use super::proxy::Proxy;
use crate::admission::Slot;
use crate::call::{Account, Call};
use crate::caller::Caller;
use crate::cpu::Metered;
use crate::limits::Waiting;
use crate::outcome::Outcome;
use bytes::Bytes;
use http::{Request, Response};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout_at;

/// What an exchange needs of its component.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) account: Arc<Account>,
    pub(crate) body_idle: Duration,
    pub(crate) max_duration: Duration,
    /// Becomes true when no call may go on.
    pub(crate) cut: watch::Sender<bool>,
}

/// A request, and what is known of it besides its bytes.
pub(crate) struct Incoming<'a, B> {
    pub(crate) request: Request<B>,
    /// Who sent it.
    pub(crate) caller: Option<&'a Arc<Caller>>,
    /// None for a probe, which must not wait for callers.
    pub(crate) slot: Option<Slot>,
}

/// How far the guest has come.
enum Progress {
    Head(Response<GuestBody>),
    Over(Outcome),
}

/// Answers one request within `head_timeout` to the response head.
pub(crate) async fn exchange<B>(
    service: &Service,
    incoming: Incoming<'_, B>,
    head_timeout: Duration,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
{
    let Incoming {
        mut request,
        caller,
        slot,
    } = incoming;
    let limit = service.account.given.workload.max_request_body;
    if let Err(error) = admit(&mut request) {
        tracing::debug!(%error, "a request was refused");
        service.account.tally.count(Outcome::BadRequest);
        return answer(Outcome::BadRequest);
    }
    if request.body().size_hint().lower() > limit {
        service.account.tally.count(Outcome::RequestTooLarge);
        return answer(Outcome::RequestTooLarge);
    }

    let call = Call::new(Arc::clone(&service.account), caller);
    if slot.is_none() {
        call.exempt();
    }
    let request = request.map(|body| RequestBody::new(body, limit, Arc::clone(&call)));
    let (head, mut heads) = oneshot::channel();
    let guest = service.proxy.call(&call, slot, request, head);
    let mut guest = Metered::new(Arc::clone(&call), guest);
    let mut returned = None;
    let mut progress = poll_fn(|context| {
        if returned.is_none()
            && let Poll::Ready(result) = Pin::new(&mut guest).poll(context)
        {
            returned = Some(result);
        }
        // It may have sent its head and then trapped: then nobody need see the head.
        let ended = returned.and_then(Result::err).or_else(|| call.ended_by());
        if let Some(outcome) = ended {
            return Poll::Ready(Progress::Over(outcome));
        }
        Pin::new(&mut heads).poll(context).map(progress)
    });
    // Most calls are over at the first look, and need no timer.
    let at_once = poll_fn(|context| Poll::Ready(Pin::new(&mut progress).poll(context)));
    let progress = match at_once.await {
        Poll::Ready(progress) => Ok(progress),
        Poll::Pending => tokio::select! {
            biased;
            progress = timeout_at((call.started() + head_timeout).into(), progress) => progress,
            () = is_cut(&service.cut) => Ok(Progress::Over(Outcome::Truncated)),
        },
    };
    let response = match progress {
        Ok(Progress::Head(response)) => response,
        Ok(Progress::Over(outcome)) => return refuse(&call, outcome),
        Err(_) => return refuse(&call, Outcome::TimeoutExceeded),
    };

    let (mut parts, body) = response.into_parts();
    call.answered(parts.status.is_server_error());
    strip(&mut parts.headers);
    let body = match returned {
        Some(_) => {
            call.count(Outcome::Completed);
            Body::whole(body, call)
        }
        None => {
            let waiting = match Waiting::hold(&service.account, WAITING_MAX) {
                Ok(waiting) => waiting,
                Err(outcome) => return refuse(&call, outcome),
            };
            call.moved();
            let (idle, longest) = (service.body_idle, service.max_duration);
            let guest = drive(guest, Arc::clone(&call), idle, longest, service.cut.clone());
            Body::streaming(body, call, waiting, tokio::spawn(guest).abort_handle())
        }
    };
    Response::from_parts(parts, body)
}

/// Returns when no call may go on.
pub(crate) async fn is_cut(cut: &watch::Sender<bool>) {
    // It fails only without a sender, and there is one here.
    let _ = cut.subscribe().wait_for(|cut| *cut).await;
}

fn progress(head: Result<Head, oneshot::error::RecvError>) -> Progress {
    match head {
        // hyper can not send an interim response as the last word.
        Ok(Ok(response)) if !response.status().is_informational() => Progress::Head(response),
        Ok(_) | Err(_) => Progress::Over(Outcome::GuestError),
    }
}

fn refuse(call: &Call, outcome: Outcome) -> Response<Body> {
    call.end(outcome);
    call.count(outcome);
    answer(outcome)
}

/// Lets a guest produce its body, until it is done, stands still, or has taken too long.
async fn drive<F>(
    mut guest: Metered<F>,
    call: Arc<Call>,
    idle: Duration,
    longest: Duration,
    cut: watch::Sender<bool>,
) where
    F: Future<Output = wasmtime::Result<()>>,
{
    let end = call.started() + longest;
    let outcome = loop {
        let deadline = end.min(call.last_move() + idle);
        let ended = tokio::select! {
            biased;
            ended = timeout_at(deadline.into(), &mut guest) => ended,
            () = is_cut(&cut) => {
                call.end(Outcome::Truncated);
                break Outcome::Truncated;
            }
        };
        match ended {
            // A guest may end well although its request was cut under its hands.
            Ok(Ok(())) => break call.ended_by().unwrap_or(Outcome::Completed),
            Ok(Err(outcome)) => break outcome,
            // Bytes have moved meanwhile.
            Err(_) if end.min(call.last_move() + idle) > deadline => {}
            Err(_) => {
                // Before the store goes, so that the body's end is known to be none.
                call.end(Outcome::Truncated);
                break Outcome::Truncated;
            }
        }
    };
    call.count(outcome);
}
