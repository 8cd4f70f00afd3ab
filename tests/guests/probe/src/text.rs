//! Answers and query strings as short as they can be.

use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::OutputStream;

/// The value of `name` in a query string, with `%XX` and `+` undone.
pub fn query(parameters: &str, name: &str) -> Option<String> {
    let value = parameters.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then_some(value)
    })?;
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// A whole response at once.
pub fn answer(outparam: ResponseOutparam, status: u16, text: &str) {
    let (stream, body) = begin(outparam, status, Fields::new());
    write(&stream, text.as_bytes());
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

/// The head of a response, and the stream for its body.
pub fn begin(
    outparam: ResponseOutparam,
    status: u16,
    headers: Fields,
) -> (OutputStream, OutgoingBody) {
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).expect("a status");
    let body = response.body().expect("the first use of the body");
    ResponseOutparam::set(outparam, Ok(response));
    let stream = body.write().expect("the first use of the stream");
    (stream, body)
}

/// Writes all bytes, waiting for room; `false` when the caller has gone.
pub fn write(stream: &OutputStream, bytes: &[u8]) -> bool {
    // 4096 is the most that blocking-write-and-flush takes at once.
    bytes.chunks(4096).all(|chunk| stream.blocking_write_and_flush(chunk).is_ok())
}

/// The request's headers, one a line.
pub fn headers(request: &IncomingRequest) -> String {
    let mut lines: Vec<String> = request
        .headers()
        .entries()
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value)))
        .collect();
    lines.sort();
    lines.concat()
}
