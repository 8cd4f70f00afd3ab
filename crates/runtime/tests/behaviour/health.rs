//! A component is ready when it starts, and when it says so if it is asked.

use crate::support::{count, probe};
use runtime::{Outcome, ProbeFailure};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn starting_is_enough_without_a_path() {
    let component = probe(|_| {});
    component.probe(None, LIMIT).await.unwrap();
    assert_eq!(count(&component, Outcome::Completed), 1);
}

#[tokio::test]
async fn with_a_path_two_and_three_hundred_are_well_and_the_rest_is_not() {
    let component = probe(|_| {});
    for status in [200, 204, 301] {
        component
            .probe(Some(&format!("/status?code={status}")), LIMIT)
            .await
            .unwrap();
    }
    for status in [404, 500] {
        let path = format!("/status?code={status}");
        let failure = component.probe(Some(&path), LIMIT).await.unwrap_err();
        assert_eq!(failure, ProbeFailure::Unhealthy { path, status });
    }
}

#[tokio::test]
async fn a_component_that_is_too_slow_or_too_large_is_not_ready() {
    let component = probe(|_| {});
    let failure = component
        .probe(Some("/sleep?ms=60000"), Duration::from_millis(200))
        .await
        .unwrap_err();
    assert!(
        matches!(failure, ProbeFailure::Unhealthy { status: 504, .. }),
        "{failure}"
    );

    let component = probe(|workload| {
        workload.limits.per_call.memory = capability::Bytes::mib(1);
        workload.initial_memory = 0;
    });
    let failure = component.probe(None, LIMIT).await.unwrap_err();
    assert!(
        matches!(failure, ProbeFailure::Failed(Outcome::MemoryExceeded, _)),
        "{failure}"
    );
}

#[tokio::test]
async fn a_full_component_is_still_found_healthy() {
    let component = probe(|workload| workload.limits.per_replica.concurrency = 1);
    let (probed, _) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            component.probe(Some("/"), LIMIT).await
        },
        component.handle(crate::support::request("/sleep?ms=300")),
    );
    probed.unwrap();
}
