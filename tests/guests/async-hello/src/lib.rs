//! The smallest WASI 0.3 service: answers with the path, in a stream that a task writes.
//!
//! `/trap` executes `unreachable`, `/spin` loops, so that limits can be seen to hold on the
//! engine of its class as well.

use std::hint::black_box;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{wit_bindgen, wit_future, wit_stream};

wasip3::http::service::export!(Hello);

struct Hello;

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_else(|| "/".into());
        match path.as_str() {
            "/trap" => core::arch::wasm32::unreachable(),
            "/spin" => spin(),
            _ => {}
        }
        let (mut body, receiver) = wit_stream::new();
        let (trailers, trailers_receiver) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(Fields::new(), Some(receiver), trailers_receiver);
        wit_bindgen::spawn(async move {
            let text = format!("Hello from WASI 0.3\npath: {path}\n");
            body.write_all(text.into_bytes()).await;
            drop(body);
            drop(trailers);
        });
        Ok(response)
    }
}

fn spin() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}
