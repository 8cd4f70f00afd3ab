//! WASI 0.3 components run on an engine of their own, under the same limits.

use crate::support::{HELLO, code, count, eventually, get, small_config, verified, workload};
use capability::{Limits, Span};
use http::StatusCode;
use runtime::{AuditSink, Component, Config, EngineClass, Outcome, Output, Runtime};
use std::sync::Arc;

const ASYNC_HELLO: &[u8] = include_bytes!("../../../../tests/guests/async-hello/async-hello.wasm");

fn runtime() -> Arc<Runtime> {
    Runtime::new(
        Config {
            p3: true,
            ..small_config()
        },
        Output::discard(),
        AuditSink::discard(),
    )
    .unwrap()
}

fn load(runtime: &Arc<Runtime>) -> Arc<Component> {
    let class = EngineClass::of(verified(ASYNC_HELLO).facts(), &Limits::default());
    assert_eq!(class, EngineClass::P3);
    let mut workload = workload("async-hello");
    workload.limits.per_call.cpu_time = Span::milliseconds(200);
    runtime.load(&code(class, ASYNC_HELLO), workload).unwrap()
}

#[tokio::test]
async fn an_async_handler_streams_its_answer_and_its_instance_ends() {
    let component = load(&runtime());
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
    let runtime = runtime();
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
