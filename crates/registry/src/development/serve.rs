//! Answers one request to the development registry: records it, meets its
//! fault, checks permission, and does what the distribution specification says.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, Response, request};
use reqwest::Url;
use serde_json::json;

use super::fault::Fault;
use super::response::{answer, damaged, document, error, instead};
use super::route::{Part, Route};
use super::{Recorded, Shared, State as Changing, blobs, manifests};

/// The largest body that is taken.
const BODY_MAX: usize = 128 * 1024 * 1024;

pub(super) async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let authorization = text(&parts, &AUTHORIZATION);
    let fault = {
        let mut state = shared.lock();
        state.record(Recorded {
            method: parts.method.clone(),
            path: path.clone(),
            authorization: authorization
                .as_deref()
                .and_then(|value| value.split_once(' '))
                .map(|(scheme, _)| scheme.to_owned()),
        });
        state.faults.next(&parts.method, &path)
    };
    if let Some(response) = fault.as_ref().and_then(instead) {
        return response;
    }
    if let Some(Fault::Delay(pause)) = fault {
        tokio::time::sleep(pause).await;
    }
    let Ok(body) = to_bytes(body, BODY_MAX).await else {
        return error(413, "SIZE_INVALID", "the body is too large").map(Body::from);
    };
    let mut response = handle(&shared, &parts, &path, authorization.as_deref(), body);
    if parts.method == Method::HEAD {
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        *response.body_mut() = Bytes::new();
    }
    damaged(response, fault.as_ref())
}

fn handle(
    shared: &Shared,
    parts: &request::Parts,
    path: &str,
    authorization: Option<&str>,
    body: Bytes,
) -> Response<Bytes> {
    let reads = parts.method == Method::GET || parts.method == Method::HEAD;
    let state = &mut *shared.lock();
    let (repository, part) = match Route::parse(path) {
        None => return error(404, "UNSUPPORTED", "there is nothing here"),
        Some(Route::Token) => return token(shared, state, parts, authorization),
        // Says how to ask, and nothing else.
        Some(Route::Base) => {
            return match authorization {
                None if shared.access.asks() => unauthorized(shared, parts),
                _ => answer(200, &[], "{}"),
            };
        }
        Some(Route::In(repository, part)) => (repository, part),
    };
    if !shared
        .access
        .permits(&state.tokens, authorization, repository, !reads)
    {
        return unauthorized(shared, parts);
    }
    match (part, &parts.method) {
        (Part::Blob(digest), _) if reads => blobs::get(state, parts, repository, digest),
        (Part::Uploads, &Method::POST) => blobs::begin(state, parts, repository, body),
        (Part::Upload(id), &Method::PATCH) => blobs::append(state, repository, id, &body),
        (Part::Upload(id), &Method::PUT) => blobs::finish(state, parts, repository, id, &body),
        (Part::Manifest(reference), _) if reads => manifests::get(state, repository, reference),
        (Part::Manifest(reference), &Method::PUT) => {
            manifests::put(shared, state, parts, repository, reference, body)
        }
        (Part::Manifest(reference), &Method::DELETE) => {
            manifests::delete(state, repository, reference)
        }
        (Part::Tags, _) if reads => manifests::tags(state, repository),
        (Part::Referrers(digest), _) if reads => {
            manifests::referrers(shared, state, parts, repository, digest)
        }
        _ => error(405, "UNSUPPORTED", "this is not offered here"),
    }
}

fn unauthorized(shared: &Shared, parts: &request::Parts) -> Response<Bytes> {
    let mut response = error(401, "UNAUTHORIZED", "authentication is required");
    let challenge = shared.access.challenge(&origin(shared, parts));
    if let Some(challenge) = challenge.and_then(|challenge| HeaderValue::from_str(&challenge).ok())
    {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

fn token(
    shared: &Shared,
    state: &mut Changing,
    parts: &request::Parts,
    authorization: Option<&str>,
) -> Response<Bytes> {
    let scope = query(parts, "scope").unwrap_or_default();
    match shared
        .access
        .token(&mut state.tokens, authorization, &scope)
    {
        Some(token) => document(
            &[],
            &json!({"token": token, "expires_in": 300}),
            "application/json",
        ),
        None => error(401, "UNAUTHORIZED", "these credentials are not accepted"),
    }
}

/// Scheme, host and port as the client sees them.
fn origin(shared: &Shared, parts: &request::Parts) -> String {
    match (text(parts, &HOST), shared.origin.split_once("://")) {
        (Some(host), Some((scheme, _))) => format!("{scheme}://{host}"),
        _ => shared.origin.clone(),
    }
}

/// A header as text.
pub(super) fn text(parts: &request::Parts, name: &HeaderName) -> Option<String> {
    Some(parts.headers.get(name)?.to_str().ok()?.to_owned())
}

/// A parameter of the query.
pub(super) fn query(parts: &request::Parts, name: &str) -> Option<String> {
    // Only the query is read; the host is there to make it a URL.
    let url = Url::parse(&format!("http://registry/?{}", parts.uri.query()?)).ok()?;
    url.query_pairs()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}
