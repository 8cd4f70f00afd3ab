//! Memory ends at its limit, for the call, the replica and the node, and harms nobody else.

use crate::support::{
    HELLO, MIB, PROBE, count, eventually, get, load, probe, request, runtime, small_config,
};
use capability::Bytes;
use http::StatusCode;
use runtime::{AuditSink, Config, Outcome, Output, Runtime};

#[tokio::test]
async fn a_call_that_grows_for_ever_ends_as_memory_exceeded_and_a_neighbour_answers() {
    let runtime = runtime();
    let hostile = load(&runtime, PROBE, |_| {});
    let neighbour = load(&runtime, HELLO, |_| {});
    let (answer, other) = tokio::join!(get(&hostile, "/grow"), get(&neighbour, "/x"));
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (StatusCode::INTERNAL_SERVER_ERROR, "MemoryExceeded")
    );
    assert_eq!(other.status, StatusCode::OK);
    assert_eq!(count(&hostile, Outcome::MemoryExceeded), 1);
}

#[tokio::test]
async fn a_guest_that_can_do_with_less_is_told_no_and_lives() {
    let component = probe(|workload| workload.limits.per_call.memory = Bytes(16 * MIB));
    let answer = get(&component, "/grow?mib=100").await;
    assert_eq!(answer.status, StatusCode::OK);
    let held: u64 = answer.text.trim().parse().unwrap();
    assert!((8..16).contains(&held), "it got {held} of 16 MiB");
    eventually("the call is counted as completed", || {
        count(&component, Outcome::Completed) == 1
    })
    .await;
}

#[tokio::test]
async fn calls_share_the_budget_of_their_replica_and_give_it_back() {
    let component = probe(|workload| {
        workload.limits.per_call.memory = Bytes(16 * MIB);
        workload.limits.per_replica.memory = Bytes(20 * MIB);
    });
    let holder = component.handle(request("/sleep?ms=300"));
    let (_, during) = tokio::join!(holder, get(&component, "/grow?mib=10"));
    assert_eq!(during.text.trim(), "10");
    eventually("what calls held has been given back", || {
        component.stats().memory == 0
    })
    .await;
    // Twice the replicas hold twice as much.
    component.set_replicas(2);
    assert_eq!(get(&component, "/grow?mib=10").await.text.trim(), "10");
}

#[tokio::test]
async fn a_replica_without_room_for_one_more_call_refuses_that_call() {
    let component = probe(|workload| {
        workload.limits.per_call.memory = Bytes(2 * MIB);
        workload.limits.per_replica.memory = Bytes(2 * MIB);
    });
    let holder = tokio::spawn({
        let component = component.clone();
        async move { get(&component, "/sleep?ms=400").await }
    });
    eventually("the first call holds memory", || {
        component.stats().memory > MIB
    })
    .await;
    assert_eq!(get(&component, "/").await.reason(), "MemoryExceeded");
    assert_eq!(holder.await.unwrap().text, "slept\n");
    assert_eq!(get(&component, "/").await.text, "probe\n");
}

#[tokio::test]
async fn a_node_without_memory_says_so_and_when_to_come_back() {
    let config = Config {
        guest_memory: 4 * MIB,
        ..small_config()
    };
    let runtime = Runtime::new(config, Output::discard(), AuditSink::discard()).unwrap();
    let component = load(&runtime, PROBE, |_| {});
    let holder = tokio::spawn({
        let component = component.clone();
        async move {
            tokio::join!(
                get(&component, "/sleep?ms=400"),
                get(&component, "/sleep?ms=400")
            )
        }
    });
    eventually("two calls hold memory", || {
        runtime.guest_memory_used() > 3 * MIB
    })
    .await;
    let refused = get(&component, "/").await;
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "NodeSaturated")
    );
    assert_eq!(refused.headers["retry-after"], "1");
    holder.await.unwrap();
    assert_eq!(runtime.guest_memory_used(), 0);
    assert_eq!(get(&component, "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn handles_and_randomness_are_bounded() {
    let component = probe(|_| {});
    assert_eq!(get(&component, "/handles").await.reason(), "Trapped");
    assert_eq!(get(&component, "/random?bytes=65536").await.text, "65536\n");
    assert_eq!(
        get(&component, "/random?bytes=65537").await.reason(),
        "Trapped"
    );
}
