//! Answers of the development registry: built whole, then damaged by a fault on
//! their way out.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use artifact::Digest;
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::document::{ErrorBody, ErrorEntry};

use super::fault::Fault;

/// The header that names the digest of what is sent.
pub(super) const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// One piece of a body that never ends.
const ENDLESS_PIECE: usize = 16 * 1024;

/// An answer with this status, these headers and this body.
pub(super) fn answer(
    status: u16,
    headers: &[(HeaderName, String)],
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// An error as the specification words it.
pub(super) fn error(status: u16, code: &str, message: &str) -> Response<Bytes> {
    let body = ErrorBody {
        errors: vec![ErrorEntry {
            code: code.to_owned(),
            message: message.to_owned(),
        }],
    };
    let json = (CONTENT_TYPE, "application/json".to_owned());
    answer(
        status,
        &[json],
        serde_json::to_vec(&body).unwrap_or_default(),
    )
}

/// A JSON document.
pub(super) fn document(
    headers: &[(HeaderName, String)],
    value: &impl serde::Serialize,
    media_type: &str,
) -> Response<Bytes> {
    let mut headers = headers.to_vec();
    headers.push((CONTENT_TYPE, media_type.to_owned()));
    answer(200, &headers, serde_json::to_vec(value).unwrap_or_default())
}

/// The answer that a fault gives instead of the right one.
pub(super) fn instead(fault: &Fault) -> Option<Response<Body>> {
    let whole = |response: Response<Bytes>| Some(response.map(Body::from));
    match fault {
        Fault::Status(status) => whole(error(*status, "UNKNOWN", "a fault was asked for")),
        Fault::RateLimited { retry_after } => {
            let mut response = error(429, "TOOMANYREQUESTS", "a fault was asked for");
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(*retry_after));
            whole(response)
        }
        Fault::Answer {
            status,
            headers,
            body,
        } => {
            let headers: Vec<_> = headers
                .iter()
                .filter_map(|(name, value)| {
                    Some((HeaderName::try_from(*name).ok()?, value.clone()))
                })
                .collect();
            whole(answer(*status, &headers, body.clone()))
        }
        Fault::Endless { status } => {
            let pieces =
                stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from(vec![b' '; ENDLESS_PIECE])));
            let mut response = Response::new(Body::from_stream(pieces));
            *response.status_mut() = StatusCode::from_u16(*status).unwrap_or_default();
            Some(response)
        }
        Fault::Redirect { location } => {
            whole(answer(307, &[(LOCATION, location.clone())], Bytes::new()))
        }
        Fault::Delay(_)
        | Fault::Drip(_)
        | Fault::Truncate { .. }
        | Fault::Cut { .. }
        | Fault::Overlong { .. }
        | Fault::Corrupt
        | Fault::WrongDigestHeader
        | Fault::NoDigestHeader => None,
    }
}

/// The right answer, damaged.
pub(super) fn damaged(mut response: Response<Bytes>, fault: Option<&Fault>) -> Response<Body> {
    match fault {
        Some(Fault::Drip(interval)) => response.map(|body| drip(body, *interval)),
        Some(Fault::Truncate { to }) => {
            response.map(|body| Body::from(body.slice(..body.len().min(*to))))
        }
        Some(Fault::Cut { at }) => {
            let length = HeaderValue::from(response.body().len());
            response.headers_mut().insert(CONTENT_LENGTH, length);
            response.map(|body| {
                let head = Ok(body.slice(..body.len().min(*at)));
                let broken = Err(io::Error::from(io::ErrorKind::ConnectionReset));
                Body::from_stream(stream::iter([head, broken]))
            })
        }
        Some(Fault::Overlong { by }) => {
            response.headers_mut().remove(CONTENT_LENGTH);
            let by = *by;
            response.map(|body| {
                let pieces = [body, Bytes::from(vec![0; by])].map(Ok::<_, Infallible>);
                Body::from_stream(stream::iter(pieces))
            })
        }
        Some(Fault::Corrupt) => response.map(|body| {
            let mut body = body.to_vec();
            if let Some(last) = body.last_mut() {
                *last = !*last;
            }
            Body::from(body)
        }),
        Some(Fault::WrongDigestHeader) => {
            let wrong = Digest::of(b"something else").to_string();
            if let Ok(wrong) = HeaderValue::from_str(&wrong) {
                response.headers_mut().insert(DIGEST, wrong);
            }
            response.map(Body::from)
        }
        Some(Fault::NoDigestHeader) => {
            response.headers_mut().remove(DIGEST);
            response.map(Body::from)
        }
        _ => response.map(Body::from),
    }
}

fn drip(body: Bytes, interval: Duration) -> Body {
    let bytes = stream::iter(body).then(move |byte| async move {
        tokio::time::sleep(interval).await;
        Ok::<_, Infallible>(Bytes::copy_from_slice(&[byte]))
    });
    Body::from_stream(bytes)
}
