//! What the runtime answers when a guest does not.
//!
//! The status says who has to act: 4xx the caller, 500 the component's owner, 503 nobody but
//! time (with `Retry-After`), 504 the clock. The body is `{"reason", "message"}`, so that a
//! caller need not parse prose. Nothing a guest said is in it.

use super::body::Body;
use crate::outcome::Outcome;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde_json::json;

/// The response for a call that ended without an answer of its guest.
#[must_use]
pub fn answer(outcome: Outcome) -> Response<Body> {
    let text = format!(
        "{{\"reason\":\"{}\",\"message\":\"{}\"}}\n",
        outcome.name(),
        outcome.message()
    );
    let mut response = Response::new(Body::text(text));
    *response.status_mut() = status(outcome);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status(outcome) == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The response to a request that calls nothing, or calls it wrongly: what is wrong, and where in
/// the request's JSON, so far as that is known.
pub(crate) fn refusal(status: StatusCode, message: &str, path: Option<&str>) -> Response<Body> {
    let mut answer = json!({"reason": Outcome::BadRequest.name(), "message": message});
    if let (Some(path), Some(answer)) = (path, answer.as_object_mut()) {
        answer.insert("path".to_owned(), path.into());
    }
    let mut response = Response::new(Body::text(format!("{answer}\n")));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn status(outcome: Outcome) -> StatusCode {
    match outcome {
        Outcome::Completed => StatusCode::OK,
        Outcome::BadRequest | Outcome::Cancelled => StatusCode::BAD_REQUEST,
        Outcome::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Outcome::TimeoutExceeded => StatusCode::GATEWAY_TIMEOUT,
        // Another revision or node answers the next one.
        Outcome::ConcurrencyLimit | Outcome::NodeSaturated | Outcome::Truncated => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        // Trying again is no use: the same call would end the same way.
        Outcome::MemoryExceeded
        | Outcome::CpuExceeded
        | Outcome::FuelExhausted
        | Outcome::IoExceeded
        | Outcome::Trapped
        | Outcome::GuestError
        | Outcome::HostFault => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
