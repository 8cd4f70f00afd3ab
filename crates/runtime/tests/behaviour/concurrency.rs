//! Slots: a component's own run out as ConcurrencyLimit, the node's as NodeSaturated.

use crate::support::{HELLO, MIB, PROBE, count, eventually, get, load, probe, small_config};
use http::StatusCode;
use runtime::{AuditSink, Component, Config, Outcome, Output, Runtime};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// `calls` calls that sleep, once all of them are in progress.
async fn occupy(
    component: &Arc<Component>,
    calls: u32,
    milliseconds: u64,
) -> Vec<JoinHandle<StatusCode>> {
    let path = format!("/sleep?ms={milliseconds}");
    let tasks = (0..calls)
        .map(|_| {
            let (component, path) = (Arc::clone(component), path.clone());
            tokio::spawn(async move { get(&component, &path).await.status })
        })
        .collect();
    eventually("all calls are in progress", || {
        component.stats().live == calls
    })
    .await;
    tasks
}

#[tokio::test]
async fn one_call_more_than_the_component_may_have_is_refused() {
    let component = probe(|workload| workload.limits.per_replica.concurrency = 3);
    let busy = occupy(&component, 3, 600).await;
    let refused = get(&component, "/").await;
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "ConcurrencyLimit")
    );
    assert_eq!(refused.headers["retry-after"], "1");
    for call in busy {
        assert_eq!(call.await.unwrap(), StatusCode::OK);
    }
    assert_eq!(get(&component, "/").await.status, StatusCode::OK);
    assert_eq!(count(&component, Outcome::ConcurrencyLimit), 1);
}

#[tokio::test]
async fn a_short_wait_is_better_than_a_refusal() {
    let component = probe(|workload| workload.limits.per_replica.concurrency = 1);
    let busy = occupy(&component, 1, 50).await;
    assert_eq!(get(&component, "/").await.status, StatusCode::OK);
    assert_eq!(busy.len(), 1);
}

#[tokio::test]
async fn replicas_add_up() {
    let component = probe(|workload| {
        workload.limits.per_replica.concurrency = 2;
        workload.replicas = 2;
    });
    drop(occupy(&component, 4, 100).await);
    component.set_replicas(1);
    eventually("they have ended", || component.stats().live == 0).await;
    drop(occupy(&component, 2, 400).await);
    assert_eq!(get(&component, "/").await.reason(), "ConcurrencyLimit");
}

#[tokio::test]
async fn a_component_that_takes_the_whole_node_leaves_others_what_is_guaranteed() {
    let config = Config {
        live_stores: 8,
        ..small_config()
    };
    let runtime = Runtime::new(config, Output::discard(), AuditSink::discard()).unwrap();
    let greedy = load(&runtime, PROBE, |_| {});
    let modest = load(&runtime, HELLO, |_| {});
    // Eight slots, two components with two guaranteed each: four are shared.
    let busy = occupy(&greedy, 6, 800).await;
    let refused = get(&greedy, "/").await;
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "NodeSaturated")
    );
    for _ in 0..5 {
        assert_eq!(get(&modest, "/").await.status, StatusCode::OK);
    }
    for call in busy {
        assert_eq!(call.await.unwrap(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_namespace_that_takes_all_it_can_leaves_half_of_the_node_to_others() {
    let config = Config {
        live_stores: 300,
        ..small_config()
    };
    let runtime = Runtime::new(config, Output::discard(), AuditSink::discard()).unwrap();
    let of = |namespace: &'static str| {
        load(&runtime, PROBE, |workload| {
            workload.identity.namespace = namespace.into();
            workload.limits.per_replica.concurrency = 200;
            workload.limits.per_replica.memory = capability::Bytes(512 * MIB);
        })
    };
    let (one, two, other) = (of("greedy"), of("greedy"), of("modest"));
    // Half of 300 for the namespace, and what is guaranteed to each of its two components.
    let mut busy = occupy(&one, 102, 5_000).await;
    busy.extend(occupy(&two, 52, 5_000).await);
    for component in [&one, &two] {
        assert_eq!(get(component, "/").await.reason(), "NodeSaturated");
    }
    for call in occupy(&other, 60, 50).await {
        assert_eq!(call.await.unwrap(), StatusCode::OK);
    }
    busy.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn calls_that_are_cut_are_counted_as_that_and_answered() {
    let component = probe(|_| {});
    let busy = occupy(&component, 2, 60_000).await;
    component.cut();
    for call in busy {
        assert_eq!(call.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(
        get(&component, "/sleep?ms=60000").await.reason(),
        "Truncated"
    );
    assert_eq!(count(&component, Outcome::Truncated), 3);
    assert_eq!(count(&component, Outcome::Cancelled), 0);
}
