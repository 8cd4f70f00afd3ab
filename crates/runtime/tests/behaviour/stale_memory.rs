//! A new instance reads only zeros and its own image, whoever had the memory before.

use crate::support::{PROBE, code, get, load, request, runtime, small_config, workload};
use http::StatusCode;
use runtime::{AuditSink, Config, EngineClass, Output, Runtime};

/// One slot after the other is stained and looked at, on every path a call can end by.
async fn stain_and_look(class: EngineClass) {
    let config = Config {
        live_stores: 8,
        ..small_config()
    };
    let runtime = Runtime::new(config, Output::discard(), AuditSink::discard()).unwrap();
    let component = runtime
        .load(&code(class, PROBE), workload("probe"))
        .unwrap();
    for round in 0..40 {
        let dirty = get(&component, "/dirty").await;
        assert_eq!(dirty.status, StatusCode::OK);
        if round % 4 == 0 {
            get(&component, "/grow").await;
            get(&component, "/trap").await;
            drop(component.handle(request("/slow?chunks=100&ms=5")).await);
        }
        assert_eq!(
            get(&component, "/clean").await.text,
            "0\n",
            "{class:?}, round {round}"
        );
    }
}

#[tokio::test]
async fn nothing_is_left_of_the_last_instance_on_the_small_engine() {
    stain_and_look(EngineClass::SMALL).await;
}

#[tokio::test]
async fn nothing_is_left_of_the_last_instance_on_the_large_engine() {
    stain_and_look(EngineClass::LARGE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_while_many_calls_take_turns() {
    let runtime = runtime();
    let dirty = load(&runtime, PROBE, |_| {});
    let clean = load(&runtime, PROBE, |_| {});
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let (dirty, clean) = (dirty.clone(), clean.clone());
            tokio::spawn(async move {
                for _ in 0..25 {
                    let (_, look) = tokio::join!(get(&dirty, "/dirty"), get(&clean, "/clean"));
                    assert_eq!(look.text, "0\n");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}
