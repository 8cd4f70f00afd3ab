//! A guest that ends badly ends alone, and says nothing through the host.

use crate::support::{HELLO, PROBE, count, eventually, get, load, probe, request, runtime};
use http::StatusCode;
use runtime::Outcome;

#[tokio::test]
async fn a_trap_is_a_500_and_the_next_call_is_served() {
    let runtime = runtime();
    let component = load(&runtime, PROBE, |_| {});
    let neighbour = load(&runtime, HELLO, |_| {});
    let answer = get(&component, "/trap").await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (StatusCode::INTERNAL_SERVER_ERROR, "Trapped")
    );
    assert_eq!(get(&component, "/").await.text, "probe\n");
    assert_eq!(get(&neighbour, "/").await.status, StatusCode::OK);
    assert_eq!(count(&component, Outcome::Trapped), 1);
}

#[tokio::test]
async fn an_exit_and_a_missing_answer_are_errors_of_the_guest() {
    let component = probe(|_| {});
    for path in ["/exit", "/silent"] {
        let answer = get(&component, path).await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (StatusCode::INTERNAL_SERVER_ERROR, "GuestError"),
            "{path}"
        );
    }
    assert_eq!(count(&component, Outcome::GuestError), 2);
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_the_instance_with_it() {
    let component = probe(|_| {});
    let call = component.handle(request("/sleep?ms=60000"));
    let gave_up = tokio::time::timeout(std::time::Duration::from_millis(50), call).await;
    assert!(gave_up.is_err());
    assert_eq!(component.stats().live, 0);
    assert_eq!(count(&component, Outcome::Cancelled), 1);

    // The same when the head was there and the body was not read.
    let response = component.handle(request("/slow?chunks=1000&ms=20")).await;
    assert_eq!(response.status(), StatusCode::OK);
    drop(response);
    eventually("the instance is gone", || component.stats().live == 0).await;
    assert_eq!(count(&component, Outcome::Cancelled), 2);
}
