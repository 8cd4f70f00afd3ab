//! What a component is judged by: how many callers it answered, how fast, and how it failed.
//! What callers cause and what the platform asks for itself is apart.

use crate::support::{get, post, probe, request};
use http::StatusCode;
use runtime::Component;
use std::time::Duration;

/// Calls that are timed, those among them that the guest answered with 5xx, and failures.
fn judged(component: &Component) -> (u64, u64, u64) {
    let stats = component.stats();
    let timed = stats.latencies.iter().map(|(_, count)| count).sum();
    let failures = stats.outcomes.iter().filter(|(one, _)| one.is_failure());
    let failed = failures.map(|(_, count)| count).sum();
    (timed, stats.errors, failed)
}

#[tokio::test]
async fn what_a_guest_answers_is_apart_from_how_it_fails() {
    let component = probe(|_| {});
    get(&component, "/").await;
    get(&component, "/status?code=404").await;
    assert_eq!(judged(&component), (2, 0, 0));
    let answer = get(&component, "/status?code=503").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(judged(&component), (3, 1, 0));
    get(&component, "/trap").await;
    assert_eq!(judged(&component), (4, 1, 1));
}

#[tokio::test]
async fn what_callers_cause_is_not_judged() {
    let component = probe(|workload| {
        workload.max_request_body = 10;
        workload.limits.per_replica.concurrency = 1;
    });
    let answer = post(&component, "/echo", vec![0; 100]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let (_, turned_away) = tokio::join!(component.handle(request("/sleep?ms=3000")), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        get(&component, "/").await
    },);
    assert_eq!(turned_away.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(judged(&component), (1, 0, 0), "the one that slept");
}

#[tokio::test]
async fn a_probe_is_no_caller() {
    let component = probe(|_| {});
    let limit = Duration::from_secs(5);
    component.probe(Some("/"), limit).await.unwrap();
    assert_eq!(judged(&component), (0, 0, 0));
}

#[tokio::test]
async fn a_head_is_timed_when_it_comes_and_a_caller_that_gave_up_waited_so_long() {
    let component = probe(|_| {});
    // The body takes a second, its head does not.
    let response = component.handle(request("/slow?chunks=50&ms=20")).await;
    let slowest = |component: &Component| component.stats().latencies.last().map(|of| of.0);
    assert!(
        slowest(&component).unwrap() < 900_000,
        "{:?}",
        component.stats()
    );
    drop(response);

    let call = component.handle(request("/sleep?ms=60000"));
    assert!(
        tokio::time::timeout(Duration::from_secs(1), call)
            .await
            .is_err()
    );
    assert!(
        slowest(&component).unwrap() > 1_000_000,
        "{:?}",
        component.stats()
    );
}
