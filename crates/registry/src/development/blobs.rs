//! Blobs and their uploads in the development registry, as the distribution
//! specification words them. `serve` calls it for who is permitted.

use artifact::Digest;
use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderValue, Response, request};

use super::State;
use super::response::{DIGEST, answer, error};
use super::serve::{query, text};

pub(super) fn get(
    state: &State,
    parts: &request::Parts,
    repository: &str,
    digest: &str,
) -> Response<Bytes> {
    let found = digest
        .parse()
        .ok()
        .and_then(|digest| state.store.blob(repository, &digest));
    let Some(content) = found else {
        return error(404, "BLOB_UNKNOWN", "there is no such blob");
    };
    let headers = [
        (DIGEST, digest.to_owned()),
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
    ];
    let Some((first, last)) = text(parts, &RANGE).and_then(|value| range(&value, content.len()))
    else {
        return answer(200, &headers, content);
    };
    let mut response = answer(206, &headers, content.slice(first..=last));
    if let Ok(value) = HeaderValue::from_str(&format!("bytes {first}-{last}/{}", content.len())) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

pub(super) fn begin(
    state: &mut State,
    parts: &request::Parts,
    repository: &str,
    body: Bytes,
) -> Response<Bytes> {
    if let Some(digest) = query(parts, "digest") {
        return keep(state, repository, &digest, body);
    }
    if let (Some(digest), Some(from)) = (query(parts, "mount"), query(parts, "from"))
        && let Some(content) = digest
            .parse()
            .ok()
            .and_then(|digest| state.store.blob(&from, &digest))
    {
        return keep(state, repository, &digest, content);
    }
    match state.store.begin_upload() {
        Some(id) => upload_at(202, repository, &id, 0),
        None => error(429, "TOOMANYREQUESTS", "too many uploads are under way"),
    }
}

pub(super) fn append(
    state: &mut State,
    repository: &str,
    id: &str,
    chunk: &[u8],
) -> Response<Bytes> {
    match state.store.append(id, chunk) {
        Some(Ok(length)) => upload_at(202, repository, id, length),
        Some(Err(_)) => error(507, "DENIED", "the registry is full"),
        None => error(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload"),
    }
}

pub(super) fn finish(
    state: &mut State,
    parts: &request::Parts,
    repository: &str,
    id: &str,
    body: &[u8],
) -> Response<Bytes> {
    match state.store.append(id, body) {
        Some(Ok(_)) => {}
        Some(Err(_)) => return error(507, "DENIED", "the registry is full"),
        None => return error(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload"),
    }
    let content = state.store.finish_upload(id).unwrap_or_default();
    keep(
        state,
        repository,
        &query(parts, "digest").unwrap_or_default(),
        content,
    )
}

fn keep(state: &mut State, repository: &str, digest: &str, content: Bytes) -> Response<Bytes> {
    let actual = Digest::of(&content).to_string();
    if actual != digest {
        return error(400, "DIGEST_INVALID", "the content has another digest");
    }
    if state.store.put_blob(repository, content).is_err() {
        return error(507, "DENIED", "the registry is full");
    }
    let location = format!("/v2/{repository}/blobs/{actual}");
    answer(201, &[(LOCATION, location), (DIGEST, actual)], "")
}

fn upload_at(status: u16, repository: &str, id: &str, length: usize) -> Response<Bytes> {
    // Relative, as the specification allows, and as many clients forget.
    let location = format!("/v2/{repository}/blobs/uploads/{id}");
    let range = format!("0-{}", length.saturating_sub(1));
    answer(status, &[(LOCATION, location), (RANGE, range)], "")
}

/// `bytes=first-last`, one range only; everything else is answered whole.
fn range(value: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let last = match last {
        "" => length.checked_sub(1)?,
        last => last.parse::<usize>().ok()?.min(length.checked_sub(1)?),
    };
    (first <= last).then_some((first, last))
}
