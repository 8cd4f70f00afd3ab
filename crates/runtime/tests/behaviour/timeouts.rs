//! The clock: to the response head, then for a body that stands still, then for all of it.

use crate::support::{PROBE, count, eventually, get, load, probe, request, small_config};
use capability::Span;
use http::StatusCode;
use http_body_util::BodyExt;
use runtime::http::BodyError;
use runtime::{AuditSink, Config, Outcome, Output, Runtime};
use std::time::Duration;

#[tokio::test]
async fn a_head_that_comes_too_late_is_a_504() {
    let component = probe(|workload| workload.limits.per_call.timeout = Span::milliseconds(100));
    let answer = get(&component, "/sleep?ms=60000").await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (StatusCode::GATEWAY_TIMEOUT, "TimeoutExceeded")
    );
    assert_eq!(component.stats().live, 0, "its slot is free");
    assert_eq!(component.stats().memory, 0, "its memory is free");
}

#[tokio::test]
async fn a_slow_body_may_take_longer_than_the_head() {
    let component = probe(|workload| workload.limits.per_call.timeout = Span::milliseconds(200));
    let answer = get(&component, "/slow?chunks=5&ms=100").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.text.ends_with("chunk 4\n"), "{}", answer.text);
    eventually("it is counted", || {
        count(&component, Outcome::Completed) == 1
    })
    .await;
}

#[tokio::test]
async fn a_body_that_stands_still_is_cut_and_its_reader_knows() {
    let config = Config {
        body_idle: Duration::from_millis(200),
        ..small_config()
    };
    let component = load(
        &Runtime::new(config, Output::discard(), AuditSink::discard()).unwrap(),
        PROBE,
        |_| {},
    );
    let response = component.handle(request("/stall")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "the first and last chunk\n");
    assert_eq!(
        body.frame().await.unwrap().unwrap_err(),
        BodyError(Outcome::Truncated)
    );
    eventually("it is counted", || {
        count(&component, Outcome::Truncated) == 1
    })
    .await;
    assert_eq!(component.stats().live, 0);
}

#[tokio::test]
async fn a_call_that_never_ends_is_cut_at_its_longest() {
    let config = Config {
        max_duration: Duration::from_millis(400),
        ..small_config()
    };
    let component = load(
        &Runtime::new(config, Output::discard(), AuditSink::discard()).unwrap(),
        PROBE,
        |_| {},
    );
    let response = component.handle(request("/slow?chunks=1000&ms=20")).await;
    let cut = response.into_body().collect().await.unwrap_err();
    assert_eq!(cut, BodyError(Outcome::Truncated));
}
