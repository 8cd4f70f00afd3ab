//! Summarises a file: `GET /input/orders.csv` reads `/data/input/orders.csv`, writes what it
//! found to `/data/output/orders.csv.summary`, and answers with it.
//!
//! Plain `std::fs`, and it looks at no path itself: what it may open is decided outside, by
//! `Component.toml`, the `WasmComponent` and the `CapabilityPolicy` together. Anything else
//! is an ordinary error to it. `examples/build.sh` builds it.

use std::fs;
use std::path::Path;

use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct DataProcessor;

wasip2::http::proxy::export!(DataProcessor);

impl wasip2::exports::http::incoming_handler::Guest for DataProcessor {
    fn handle(request: IncomingRequest, outparam: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_else(|| "/".into());
        let (status, text) = match summarise(&path) {
            Ok(summary) => (200, summary),
            Err(error) => (404, format!("{error}\n")),
        };
        answer(outparam, status, &text);
    }
}

/// Counts what is in a file, and leaves the counts beside the other results.
fn summarise(path: &str) -> Result<String, String> {
    let input = format!("/data{path}");
    let text = fs::read_to_string(&input).map_err(|error| format!("{input}: {error}"))?;
    let name = Path::new(path).file_name().unwrap_or_default().display();
    let summary = format!(
        "{name}: {} lines, {} words, {} bytes\n",
        text.lines().count(),
        text.split_whitespace().count(),
        text.len()
    );
    let output = format!("/data/output/{name}.summary");
    fs::write(&output, &summary).map_err(|error| format!("{output}: {error}"))?;
    Ok(summary)
}

/// A status with a text.
fn answer(outparam: ResponseOutparam, status: u16, text: &str) {
    let entry = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let headers = [
        entry("content-type", "text/plain; charset=utf-8"),
        entry("content-length", &text.len().to_string()),
    ];
    let Ok(headers) = Fields::from_list(&headers) else { return };
    let response = OutgoingResponse::new(headers);
    if response.set_status_code(status).is_err() {
        return;
    }
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(outparam, Ok(response));
    // A caller that has gone away is no error of ours, so the results are not looked at.
    if let Ok(stream) = body.write() {
        let _ = stream.blocking_write_and_flush(text.as_bytes());
    }
    let _ = OutgoingBody::finish(body, None);
}
