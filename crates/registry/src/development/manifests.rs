//! Manifests, tags and referrers in the development registry, as the
//! distribution specification words them. `serve` calls it for who is permitted.

use artifact::Digest;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LINK, LOCATION};
use http::{HeaderName, Response, request};
use serde_json::json;

use crate::document::{Manifest, OCI_INDEX, OCI_MANIFEST};

use super::response::{DIGEST, answer, document, error};
use super::serve::{query, text};
use super::store::Stored;
use super::{Shared, State};

pub(super) fn get(state: &State, repository: &str, reference: &str) -> Response<Bytes> {
    match state.store.manifest(repository, reference) {
        Some((digest, stored)) => answer(
            200,
            &[
                (DIGEST, digest.to_string()),
                (CONTENT_TYPE, stored.media_type),
            ],
            stored.body,
        ),
        None => error(404, "MANIFEST_UNKNOWN", "there is no such manifest"),
    }
}

pub(super) fn put(
    shared: &Shared,
    state: &mut State,
    parts: &request::Parts,
    repository: &str,
    reference: &str,
    body: Bytes,
) -> Response<Bytes> {
    let digest = Digest::of(&body);
    let by_digest = reference.contains(':');
    if by_digest && reference != digest.to_string() {
        return error(400, "DIGEST_INVALID", "the manifest has another digest");
    }
    let subject = serde_json::from_slice::<Manifest>(&body)
        .ok()
        .and_then(|manifest| manifest.subject);
    let stored = Stored {
        media_type: text(parts, &CONTENT_TYPE).unwrap_or_else(|| OCI_MANIFEST.to_owned()),
        body,
    };
    let tag = (!by_digest).then_some(reference);
    if state.store.put_manifest(repository, tag, stored).is_err() {
        return error(507, "DENIED", "the registry is full");
    }
    let mut headers = vec![
        (LOCATION, format!("/v2/{repository}/manifests/{digest}")),
        (DIGEST, digest.to_string()),
    ];
    if let Some(subject) = subject.filter(|_| shared.referrers) {
        headers.push((
            HeaderName::from_static("oci-subject"),
            subject.digest.to_string(),
        ));
    }
    answer(201, &headers, "")
}

pub(super) fn delete(state: &mut State, repository: &str, reference: &str) -> Response<Bytes> {
    if state.store.delete_manifest(repository, reference) {
        return answer(202, &[], "");
    }
    error(404, "MANIFEST_UNKNOWN", "there is no such manifest")
}

pub(super) fn tags(state: &State, repository: &str) -> Response<Bytes> {
    match state.store.tags(repository) {
        Some(tags) => document(
            &[],
            &json!({"name": repository, "tags": tags}),
            "application/json",
        ),
        None => error(404, "NAME_UNKNOWN", "there is no such repository"),
    }
}

pub(super) fn referrers(
    shared: &Shared,
    state: &State,
    parts: &request::Parts,
    repository: &str,
    digest: &str,
) -> Response<Bytes> {
    if !shared.referrers {
        return error(404, "UNSUPPORTED", "there is no referrers API here");
    }
    let Ok(subject) = digest.parse() else {
        return error(400, "DIGEST_INVALID", "this is not a SHA-256 digest");
    };
    let mut index = state.store.referrers(repository, &subject);
    let mut headers = Vec::new();
    if let Some(page) = shared.referrers_page {
        let from: usize = query(parts, "from")
            .and_then(|from| from.parse().ok())
            .unwrap_or(0);
        let end = from.saturating_add(page);
        if end < index.manifests.len() {
            let next = format!("</v2/{repository}/referrers/{digest}?from={end}>; rel=\"next\"");
            headers.push((LINK, next));
        }
        index.manifests = index.manifests.into_iter().skip(from).take(page).collect();
    }
    document(&headers, &index, OCI_INDEX)
}
