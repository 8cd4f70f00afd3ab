//! A call over HTTP: `POST /<interface>/<function>` with the arguments as a JSON object, answered
//! with what the function gives.
//!
//! What the caller does wrong is told before there is an instance. A `result` of the function is
//! taken apart: 200 with what is ok, 422 with what is not. All else is as with any other call
//! (`http::answer`). Called by `component`.

use super::Calls;
use super::door::Offered;
use crate::call::Call;
use crate::caller::Caller;
use crate::http::body::RequestBody;
use crate::http::head::admit;
use crate::http::{Body, answer, refusal};
use crate::limits::HostBytes;
use crate::outcome::Outcome;
use crate::typed::{self, Function, Misread, Shape, Signature, Unwritten};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use std::cell::RefCell;
use std::sync::Arc;
use wasmtime::component::Val;

/// Where the description of what there is stands.
const OPENAPI: &str = "/openapi.json";

/// Functions that an answer lists: whoever asks for what is not there may do so often.
const TOLD: usize = 20;

/// Why a request calls no function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Uncalled {
    /// It is no HTTP for this server.
    Invalid,
    /// It asks what there is.
    Description,
    /// Nothing is at its path.
    Nothing,
    /// What is there is asked with another method.
    Method(&'static str),
    /// Its body is not said to be JSON.
    NoJson,
}

/// What an answer is made of.
struct Reply {
    status: StatusCode,
    text: Vec<u8>,
    held: HostBytes,
}

/// Why there is none.
enum Failure {
    /// The call ended.
    Ended(Outcome),
    /// The arguments are wrong: where, and how.
    Arguments { path: String, problem: String },
}

/// Answers one request.
pub(crate) async fn exchange<B>(
    calls: &Calls,
    caller: &Arc<Caller>,
    mut request: Request<B>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
{
    let tally = &calls.account.tally;
    let Some(offered) = calls.invoke.doors.get(&caller.trigger) else {
        return answer(Outcome::HostFault);
    };
    let routed = match admit(&mut request) {
        Ok(()) => route(calls, offered, &request),
        Err(_) => Err(Uncalled::Invalid),
    };
    let (function, signature) = match routed {
        Ok(routed) => routed,
        Err(uncalled) => {
            if uncalled != Uncalled::Description {
                tally.count(Outcome::BadRequest);
            }
            return uncalled.answer(offered);
        }
    };
    let limit = offered.max_request_body;
    if request.body().size_hint().lower() > limit {
        tally.count(Outcome::RequestTooLarge);
        return answer(Outcome::RequestTooLarge);
    }
    let _slot = match calls.account.slots.take().await {
        Ok(slot) => slot,
        Err(outcome) => {
            tally.count(outcome);
            return answer(outcome);
        }
    };
    let call = Call::new(Arc::clone(&calls.account), Some(caller));
    let body = RequestBody::new(request.into_body(), limit, Arc::clone(&call));
    let mut misread = None;
    let work = async {
        let work = reply(calls, &call, function, signature, body).await;
        work.map_err(|failure| match failure {
            Failure::Ended(outcome) => outcome,
            Failure::Arguments { path, problem } => {
                misread = Some((path, problem));
                Outcome::BadRequest
            }
        })
    };
    let replied = calls.in_time(&call, work).await;
    match (replied, misread) {
        (Ok(reply), _) => {
            call.answered(false);
            call.count(Outcome::Completed);
            written(reply)
        }
        (Err(Outcome::BadRequest), Some((path, problem))) => {
            let message = format!("{path}: {problem}");
            refusal(StatusCode::BAD_REQUEST, &message, Some(&path))
        }
        (Err(outcome), _) => answer(outcome),
    }
}

/// The function that a request calls.
fn route<'a, B>(
    calls: &'a Calls,
    offered: &Offered,
    request: &Request<B>,
) -> Result<(&'a Function, &'a Signature), Uncalled> {
    let (method, path) = (request.method(), request.uri().path());
    if path == OPENAPI {
        return Err(match *method {
            Method::GET => Uncalled::Description,
            _ => Uncalled::Method("GET"),
        });
    }
    let function = offered.function(path, calls.invoke.functions());
    // All that a door offers can be called: it was looked at when the component was loaded.
    let called = function.and_then(|function| Some((function, function.signature().ok()?)));
    match called {
        None => Err(Uncalled::Nothing),
        Some(_) if *method != Method::POST => Err(Uncalled::Method("POST")),
        Some(_) if !is_json(request.headers()) => Err(Uncalled::NoJson),
        Some(called) => Ok(called),
    }
}

/// Whether a body is said to be JSON. Pages of strangers can have a browser send anything else
/// to any address, without a question to whoever is there.
fn is_json(headers: &HeaderMap) -> bool {
    let said = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let said = said.unwrap_or_default();
    let essence = said.split(|byte| *byte == b';').next();
    let essence = essence.unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"application/json")
}

impl Uncalled {
    fn answer(self, offered: &Offered) -> Response<Body> {
        match self {
            Uncalled::Invalid => answer(Outcome::BadRequest),
            Uncalled::Description => json(StatusCode::OK, Body::text(offered.openapi.clone())),
            Uncalled::Nothing => {
                let told = offered.told();
                let there = told.iter().take(TOLD).map(|path| format!("POST /{path}"));
                let mut there: Vec<String> = there.collect();
                if told.len() > TOLD {
                    there.push(format!("{} more", told.len() - TOLD));
                }
                let message = format!(
                    "nothing is here; there is {}, and GET {OPENAPI} describes it",
                    there.join(", ")
                );
                refusal(StatusCode::NOT_FOUND, &message, None)
            }
            Uncalled::Method(allowed) => {
                let message = format!("this is asked with {allowed}");
                let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, &message, None);
                let allowed = HeaderValue::from_static(allowed);
                response.headers_mut().insert(ALLOW, allowed);
                response
            }
            Uncalled::NoJson => refusal(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the arguments have to be JSON; send the header content-type: application/json",
                None,
            ),
        }
    }
}

/// Reads the arguments, calls, and writes what came.
async fn reply<B>(
    calls: &Calls,
    call: &Arc<Call>,
    function: &Function,
    signature: &Signature,
    body: RequestBody<B>,
) -> Result<Reply, Failure>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
{
    let mut room = HostBytes::hold(call, 0)?;
    let text = whole(call, body, &mut room).await?;
    let arguments = {
        let room = RefCell::new(&mut room);
        let charge = |bytes: usize| room.borrow_mut().grow(bytes).is_ok();
        typed::arguments(signature, &text, &charge)
    };
    drop(text);
    let arguments = arguments.map_err(|misread| match misread {
        Misread::TooMuch => Failure::Ended(call.denied().unwrap_or(Outcome::MemoryExceeded)),
        Misread::Unfit { path, problem } => Failure::Arguments { path, problem },
    })?;
    let gives = signature.result.is_some();
    let value = calls.perform(call, function, gives, &arguments).await?;
    drop((arguments, room));
    let (status, shape, value) = taken_apart(signature.result.as_ref(), value.as_ref())?;
    let mut held = HostBytes::hold(call, 0)?;
    let text = match (shape, value) {
        (Some(shape), Some(value)) => {
            let mut charge = |bytes: usize| held.grow(bytes).is_ok();
            typed::write(shape, value, &mut charge)
        }
        _ => Ok(b"null".to_vec()),
    };
    let text = text.map_err(|unwritten| match unwritten {
        Unwritten::TooMuch => call.denied().unwrap_or(Outcome::MemoryExceeded),
        Unwritten::Unfit => Outcome::HostFault,
    })?;
    // What is read and written over the network is one count.
    if !call.transfer(text.len()) {
        return Err(Outcome::IoExceeded.into());
    }
    Ok(Reply { status, text, held })
}

/// A `result` at the outside is the difference between two answers.
fn taken_apart<'a>(
    shape: Option<&'a Shape>,
    value: Option<&'a Val>,
) -> Result<(StatusCode, Option<&'a Shape>, Option<&'a Val>), Outcome> {
    match (shape, value) {
        (Some(Shape::Result(ok, _)), Some(Val::Result(Ok(value)))) => {
            Ok((StatusCode::OK, ok.as_deref(), value.as_deref()))
        }
        (Some(Shape::Result(..)), Some(Val::Result(Err(_)))) => {
            Ok((StatusCode::UNPROCESSABLE_ENTITY, shape, value))
        }
        (None, None) | (Some(_), Some(_)) => Ok((StatusCode::OK, shape, value)),
        _ => Err(Outcome::HostFault),
    }
}

/// The whole body, on the account of the call.
async fn whole<B>(
    call: &Call,
    mut body: RequestBody<B>,
    room: &mut HostBytes,
) -> Result<Vec<u8>, Outcome>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
{
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        // It says itself why it ended, unless its connection broke.
        let frame = frame.map_err(|_| call.ended_by().unwrap_or(Outcome::Cancelled))?;
        if let Some(data) = frame.data_ref() {
            room.grow(data.len())?;
            text.extend_from_slice(data);
        }
    }
    Ok(text)
}

fn written(reply: Reply) -> Response<Body> {
    let Reply {
        status,
        mut text,
        held,
    } = reply;
    text.push(b'\n');
    json(status, Body::written(text, held))
}

fn json(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

impl From<Outcome> for Failure {
    fn from(outcome: Outcome) -> Failure {
        Failure::Ended(outcome)
    }
}
