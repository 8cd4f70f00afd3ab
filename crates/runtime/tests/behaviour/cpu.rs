//! CPU ends at its limit, and a waiting call uses none.

use crate::support::{HELLO, PROBE, count, get, load, probe, runtime};
use capability::Span;
use http::StatusCode;
use runtime::Outcome;

#[tokio::test]
async fn a_loop_ends_as_cpu_exceeded_and_a_neighbour_answers_meanwhile() {
    let runtime = runtime();
    let hostile = load(&runtime, PROBE, |workload| {
        workload.limits.per_call.cpu_time = Span::milliseconds(300)
    });
    let neighbour = load(&runtime, HELLO, |_| {});
    let spin = tokio::spawn(async move { (get(&hostile, "/spin").await, hostile) });
    let mut answered = 0;
    while !spin.is_finished() {
        assert_eq!(get(&neighbour, "/").await.status, StatusCode::OK);
        answered += 1;
    }
    let (answer, hostile) = spin.await.unwrap();
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (StatusCode::INTERNAL_SERVER_ERROR, "CpuExceeded")
    );
    assert!(
        answered > 10,
        "the neighbour, on the same thread, answered {answered} times"
    );
    assert_eq!(count(&hostile, Outcome::CpuExceeded), 1);
    assert!(hostile.stats().cpu_micros >= 250_000);
}

#[tokio::test]
async fn waiting_costs_no_cpu() {
    let component = probe(|workload| workload.limits.per_call.cpu_time = Span::milliseconds(100));
    assert_eq!(get(&component, "/sleep?ms=400").await.text, "slept\n");
    let used = component.stats().cpu_micros;
    assert!(used < 100_000, "it used {used} µs of CPU to sleep");
}
