//! A limit of bytes holds over all that a call reads and writes.

use crate::support::{HELLO, PROBE, count, get, load, post, probe, request, runtime};
use capability::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use runtime::Outcome;

const LIMIT: Bytes = Bytes::kib(256);

#[tokio::test]
async fn a_request_and_its_answer_count_together() {
    let component = probe(|workload| workload.limits.per_call.io = Some(LIMIT));
    let echoed = post(&component, "/echo", vec![b'x'; 100 << 10]).await;
    assert_eq!(
        (echoed.status, echoed.text.len()),
        (StatusCode::OK, 100 << 10)
    );
    let refused = post(&component, "/echo", vec![b'x'; 300 << 10]).await;
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (StatusCode::INTERNAL_SERVER_ERROR, "IoExceeded")
    );
    assert_eq!(count(&component, Outcome::IoExceeded), 1);
    // Every call has its own.
    let again = post(&component, "/echo", vec![b'x'; 100 << 10]).await;
    assert_eq!(again.status, StatusCode::OK);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_cut_so_that_the_caller_can_tell() {
    let runtime = runtime();
    let component = load(&runtime, PROBE, |workload| {
        workload.limits.per_call.io = Some(LIMIT);
    });
    let neighbour = load(&runtime, HELLO, |_| {});
    let response = component.handle(request("/big?bytes=4194304")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let cut = response.into_body().collect().await.unwrap_err();
    assert_eq!(cut.0, Outcome::IoExceeded);
    assert_eq!(get(&neighbour, "/").await.status, StatusCode::OK);
    let free = probe(|_| {});
    assert_eq!(get(&free, "/big?bytes=4194304").await.text.len(), 4 << 20);
}
