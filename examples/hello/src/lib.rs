//! Answers every request with a greeting, the path that was asked for and its own version.
//!
//! The smallest useful component: it exports `wasi:http/incoming-handler` and needs
//! nothing granted. `examples/build.sh` builds it.

use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

/// What the second release, `hello-v2.wasm`, says differently is set where it is built.
const GREETING: &str = match option_env!("HELLO_GREETING") {
    Some(greeting) => greeting,
    None => "Hello from Lighterman",
};
const VERSION: &str = match option_env!("HELLO_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

struct Hello;

wasip2::http::proxy::export!(Hello);

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(request: IncomingRequest, outparam: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_else(|| "/".into());
        let text = format!("{GREETING}\npath: {path}\nversion: {VERSION}\n");
        answer(outparam, &text);
    }
}

/// 200 with a text.
fn answer(outparam: ResponseOutparam, text: &str) {
    let entry = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let headers = [
        entry("content-type", "text/plain; charset=utf-8"),
        entry("content-length", &text.len().to_string()),
    ];
    let Ok(headers) = Fields::from_list(&headers) else { return };
    let response = OutgoingResponse::new(headers);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(outparam, Ok(response));
    // A caller that has gone away is no error of ours, so the results are not looked at.
    if let Ok(stream) = body.write() {
        let _ = stream.blocking_write_and_flush(text.as_bytes());
    }
    let _ = OutgoingBody::finish(body, None);
}
