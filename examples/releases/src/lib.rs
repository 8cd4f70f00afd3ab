//! `GET /OWNER/REPOSITORY` answers with what GitHub says of its newest release.
//!
//! There is no token in here, and none is given to it: the host adds the `Authorization`
//! header on the way out, to `api.github.com` and to nobody else (`releases.yaml`).
//! `examples/build.sh` builds it.

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, IncomingResponse, OutgoingBody, OutgoingRequest,
    OutgoingResponse, ResponseOutparam, Scheme,
};

const HOST: &str = "api.github.com";
/// What is handed on at once: as much as one write may take, so that no answer is held as a whole.
const CHUNK: u64 = 4096;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

struct Releases;

wasip2::http::proxy::export!(Releases);

impl wasip2::exports::http::incoming_handler::Guest for Releases {
    fn handle(request: IncomingRequest, outparam: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_else(|| "/".into());
        match latest(&path) {
            Ok(response) => relay(outparam, response),
            // A denied host is an error like any other.
            Err(error) => fail(outparam, &format!("{HOST}: {error}\n")),
        }
    }
}

/// Asks for the newest release of `/OWNER/REPOSITORY`.
fn latest(repository: &str) -> Result<IncomingResponse, ErrorCode> {
    let headers = Fields::from_list(&[
        ("accept".to_owned(), b"application/vnd.github+json".to_vec()),
        ("user-agent".to_owned(), b"releases/1.0".to_vec()),
    ])
    .map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
    let request = OutgoingRequest::new(headers);
    let path = format!("/repos{repository}/releases/latest");
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    request.set_scheme(Some(&Scheme::Https)).map_err(invalid)?;
    request.set_authority(Some(HOST)).map_err(invalid)?;
    request.set_path_with_query(Some(&path)).map_err(invalid)?;
    let answer = handle(request, None)?;
    answer.subscribe().block();
    match answer.get() {
        Some(Ok(response)) => response,
        _ => Err(ErrorCode::InternalError(None)),
    }
}

/// Hands an answer on as it comes.
fn relay(outparam: ResponseOutparam, from: IncomingResponse) {
    let (status, source) = (from.status(), from.consume());
    let Some(body) = begin(outparam, status) else { return };
    if let (Ok(source), Ok(sink)) = (source, body.write())
        && let Ok(stream) = source.stream()
    {
        // Ends with the answer, or when the caller has gone away.
        while let Ok(chunk) = stream.blocking_read(CHUNK)
            && sink.blocking_write_and_flush(&chunk).is_ok()
        {}
    }
    let _ = OutgoingBody::finish(body, None);
}

/// 502 with the reason.
fn fail(outparam: ResponseOutparam, text: &str) {
    let Some(body) = begin(outparam, 502) else { return };
    if let Ok(stream) = body.write() {
        let _ = stream.blocking_write_and_flush(text.as_bytes());
    }
    let _ = OutgoingBody::finish(body, None);
}

/// The head of the answer.
fn begin(outparam: ResponseOutparam, status: u16) -> Option<OutgoingBody> {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).ok()?;
    let body = response.body().ok()?;
    ResponseOutparam::set(outparam, Ok(response));
    Some(body)
}
