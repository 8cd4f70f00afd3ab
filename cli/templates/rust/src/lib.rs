//! Answers every HTTP request with a greeting.

wit_bindgen::generate!({ path: "wit", world: "component", generate_all });

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Component;

impl Guest for Component {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("a new response has a body");
        ResponseOutparam::set(answer, Ok(response));

        let stream = body.write().expect("a new body has a stream");
        stream
            .blocking_write_and_flush(format!("Hello from {{name}}: {path}\n").as_bytes())
            .expect("the caller reads the answer");
        drop(stream);
        OutgoingBody::finish(body, None).expect("a body without a length may end here");
    }
}

export!(Component);
