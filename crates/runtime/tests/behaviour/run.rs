//! A component that runs has no time to answer in, and how it ended is told apart.

use crate::support::{HELLO, MIB, PROBE, WORKER, code, eventually, get, runtime, workload};
use artifact::component::World;
use capability::{Bytes, Span};
use runtime::{
    AuditSink, Caller, Component, EngineClass, LoadError, Outcome, Output, Runtime, Start, Workload,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn try_load(
    runtime: &Arc<Runtime>,
    wasm: &[u8],
    adjust: impl FnOnce(&mut Workload),
) -> Result<Arc<Component>, LoadError> {
    let mut workload = workload("worker");
    workload.limits.per_call.cpu_time = Span::milliseconds(10);
    workload.limits.per_call.timeout = Span::milliseconds(10);
    adjust(&mut workload);
    runtime.load_command(&code(EngineClass::SMALL, wasm), workload)
}

fn worker(runtime: &Arc<Runtime>, args: &[&str]) -> Arc<Component> {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    try_load(runtime, WORKER, |workload| workload.values.args = args).unwrap()
}

/// How it ended, by name, and with which code.
async fn run(args: &[&str]) -> (Outcome, Option<u8>) {
    let ended = worker(&runtime(), args).run(Start::default(), || {}).await;
    (ended.outcome, ended.exit_code)
}

#[tokio::test]
async fn a_run_ends_as_it_says_itself() {
    assert_eq!(run(&[]).await, (Outcome::Completed, Some(0)));
    assert_eq!(run(&["exit=0"]).await, (Outcome::Completed, Some(0)));
    assert_eq!(run(&["fail"]).await, (Outcome::GuestError, Some(1)));
    assert_eq!(run(&["exit=3"]).await, (Outcome::GuestError, Some(3)));
}

#[tokio::test]
async fn a_trap_and_too_much_memory_are_told_apart() {
    assert_eq!(run(&["trap"]).await, (Outcome::Trapped, None));
    assert_eq!(run(&["hold=100"]).await, (Outcome::MemoryExceeded, None));
}

#[tokio::test]
async fn a_run_may_take_longer_than_any_call() {
    let ended = run(&["spin=100", "sleep=100"]).await;
    assert_eq!(ended, (Outcome::Completed, Some(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_loop_leave_neighbours_their_turn() {
    let runtime = runtime();
    let looping = worker(&runtime, &["spin"]);
    looping.set_replicas(8);
    let runs: Vec<_> = (0..8)
        .map(|_| {
            let looping = Arc::clone(&looping);
            tokio::spawn(async move { looping.run(Start::default(), || {}).await })
        })
        .collect();
    let neighbour = runtime
        .load(&code(EngineClass::SMALL, PROBE), workload("probe"))
        .unwrap();
    eventually("the loops have begun", || {
        looping.stats().cpu_micros > 100_000
    })
    .await;
    let begun = Instant::now();
    assert_eq!(get(&neighbour, "/").await.text, "probe\n");
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    looping.cut();
    for run in runs {
        assert_eq!(run.await.unwrap().outcome, Outcome::Truncated);
    }
    assert_eq!((looping.stats().live, looping.stats().memory), (0, 0));
}

#[tokio::test]
async fn what_a_replica_may_hold_is_not_multiplied_by_its_runs() {
    let runtime = runtime();
    let component = try_load(&runtime, WORKER, |workload| {
        workload.limits.per_call.memory = Bytes(64 * MIB);
        workload.limits.per_replica.memory = Bytes(64 * MIB);
        workload.values.args = vec!["hold=40".into(), "sleep=200".into()];
    })
    .unwrap();
    let both = tokio::join!(
        component.run(Start::default(), || {}),
        component.run(Start::default(), || {})
    );
    let mut outcomes = [both.0.outcome, both.1.outcome];
    outcomes.sort();
    assert_eq!(outcomes, [Outcome::Completed, Outcome::MemoryExceeded]);
}

#[tokio::test]
async fn whoever_lets_go_of_a_run_ends_it() {
    let runtime = runtime();
    let component = worker(&runtime, &["tick=10"]);
    let started = AtomicBool::new(false);
    let run = component.run(Start::default(), || started.store(true, Ordering::Relaxed));
    let ended = tokio::time::timeout(Duration::from_millis(300), run).await;
    assert!(ended.is_err(), "{ended:?}");
    assert!(started.load(Ordering::Relaxed));
    assert_eq!((component.stats().live, component.stats().memory), (0, 0));
}

#[tokio::test]
async fn runs_are_no_calls() {
    let runtime = runtime();
    let component = worker(&runtime, &["spin=20", "exit=3"]);
    component.run(Start::default(), || {}).await;
    let stats = component.stats();
    assert!(stats.cpu_micros >= 1_000, "{stats:?}");
    assert!(
        stats.outcomes.iter().all(|(_, count)| *count == 0),
        "{stats:?}"
    );
}

#[tokio::test]
async fn what_a_run_prints_names_its_trigger() {
    let (output, lines) = Output::channel(16);
    let config = crate::support::small_config();
    let runtime = Runtime::new(config, output, AuditSink::discard()).unwrap();
    let caller = Arc::new(Caller {
        trigger: "main".into(),
        address: None,
    });
    let component = worker(&runtime, &["print=done"]);
    let start = Start {
        caller: Some(caller),
        ..Start::default()
    };
    component.run(start, || {}).await;
    let line = lines.recv().unwrap();
    assert!(
        line.contains(r#""message":"done","stream":"stdout","trigger":"main""#),
        "{line}"
    );
}

#[test]
fn what_has_no_run_is_not_loaded_to_run() {
    let refused = try_load(&runtime(), HELLO, |_| {}).unwrap_err();
    assert!(matches!(refused, LoadError::NoRun), "{refused}");
    let facts = crate::support::verified(WORKER);
    assert_eq!(facts.facts().world, World::Command);
}
