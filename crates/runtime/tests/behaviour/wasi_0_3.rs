//! WASI 0.3 components run on an engine of their own, under the same limits.

use crate::support::{
    ASYNC_HELLO, HELLO, code, count, eventually, get, runtime_p3, verified, workload,
};
use capability::{Limits, Span};
use http::StatusCode;
use runtime::{Component, EngineClass, Outcome, Runtime};
use std::sync::Arc;

fn load(runtime: &Arc<Runtime>) -> Arc<Component> {
    let class = EngineClass::of(verified(ASYNC_HELLO).facts(), &Limits::default());
    assert_eq!(class, EngineClass::P3);
    let mut workload = workload("async-hello");
    workload.limits.per_call.cpu_time = Span::milliseconds(200);
    runtime.load(&code(class, ASYNC_HELLO), workload).unwrap()
}

#[tokio::test]
async fn an_async_handler_streams_its_answer_and_its_instance_ends() {
    let component = load(&runtime_p3());
    for _ in 0..3 {
        let answer = get(&component, "/there").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.text, "Hello from WASI 0.3\npath: /there\n");
    }
    eventually("all are over", || {
        count(&component, Outcome::Completed) == 3
    })
    .await;
    assert_eq!(component.stats().live, 0);
    assert_eq!(component.stats().memory, 0);
}

#[tokio::test]
async fn its_traps_and_loops_end_alone() {
    let runtime = runtime_p3();
    let component = load(&runtime);
    let neighbour = runtime
        .load(&code(EngineClass::SMALL, HELLO), workload("hello"))
        .unwrap();
    assert_eq!(get(&component, "/trap").await.reason(), "Trapped");
    let (spin, other) = tokio::join!(get(&component, "/spin"), get(&neighbour, "/"));
    assert_eq!(spin.reason(), "CpuExceeded");
    assert_eq!(other.status, StatusCode::OK);
    assert_eq!(get(&component, "/").await.status, StatusCode::OK);
}
