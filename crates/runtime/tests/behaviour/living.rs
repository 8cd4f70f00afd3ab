//! A component that runs may have a life: it is asked to end, and hands its state on.

use crate::support::{LIVING, MIB, code, runtime, workload};
use capability::Bytes;
use runtime::{
    AuditSink, Component, Ended, EngineClass, Outcome, Output, Runtime, Saved, Start, Stop,
};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// One on a runtime of its own, and what it prints.
struct Living {
    component: Arc<Component>,
    lines: Receiver<String>,
}

impl Living {
    fn new(args: &[&str]) -> Living {
        Living::holding(args, 512 * MIB)
    }

    fn holding(args: &[&str], memory: u64) -> Living {
        let (output, lines) = Output::channel(1_000);
        let config = crate::support::small_config();
        let runtime = Runtime::new(config, output, AuditSink::discard()).unwrap();
        let mut workload = workload("living");
        workload.limits.per_replica.memory = Bytes(memory);
        workload.values.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let code = code(EngineClass::SMALL, LIVING);
        let component = runtime.load_command(&code, workload).unwrap();
        Living { component, lines }
    }

    async fn run(&self, stop: &Stop, state: Option<Saved>) -> Ended {
        let start = Start {
            caller: None,
            stop: stop.clone(),
            state,
            ..Start::default()
        };
        self.component.run(start, || {}).await
    }

    /// Runs until it is asked to end, after a moment.
    async fn run_a_moment(&self, wants_state: bool, state: Option<Saved>) -> Ended {
        let stop = Stop::default();
        let asking = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            stop.ask(wants_state);
        };
        tokio::join!(self.run(&stop, state), asking).0
    }

    fn said(&self) -> Vec<String> {
        let message = |line: String| {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            line["message"].as_str().unwrap().to_owned()
        };
        self.lines.try_iter().map(message).collect()
    }

    fn has_said(&self, text: &str) -> bool {
        self.said().iter().any(|line| line.contains(text))
    }
}

fn last_count(said: &[String]) -> u64 {
    let mut counts = said.iter().filter_map(|line| line.strip_prefix("count "));
    counts.next_back().unwrap().parse().unwrap()
}

#[tokio::test]
async fn it_is_asked_to_end_and_shut_down_in_order() {
    let living = Living::new(&["count=10"]);
    assert!(living.component.can_be_asked());
    let ended = living.run_a_moment(false, None).await;
    assert_eq!(
        (ended.outcome, ended.exit_code),
        (Outcome::Completed, Some(0))
    );
    assert!(ended.saved.is_none(), "nobody wanted it");
    let said = living.said();
    assert_eq!(said.first().unwrap(), "init 0");
    assert_eq!(said.last().unwrap(), "shutdown");
}

#[tokio::test]
async fn a_count_goes_on_in_the_next_version() {
    let old = Living::new(&["count=10"]);
    let ended = old.run_a_moment(true, None).await;
    let saved = ended.saved.expect("it hands its state on");
    assert_eq!(saved.schema(), 1);
    assert!(old.component.stats().memory > 0, "it is on its account");
    let reached = last_count(&old.said());

    let new = Living::new(&["count=10"]);
    let ended = new.run_a_moment(false, Some(saved)).await;
    assert!(ended.is_success());
    let said = new.said();
    assert!(said.contains(&format!("init {reached}")), "{said:?}");
    assert!(said.contains(&format!("count {}", reached + 1)), "{said:?}");
    assert_eq!(old.component.stats().memory, 0);
}

#[tokio::test]
async fn a_state_that_is_refused_or_ends_the_instance_is_a_cold_start() {
    for how in ["bad-restore=refuse", "bad-restore=trap", "schema=2"] {
        let old = Living::new(&["count=10"]);
        let saved = old.run_a_moment(true, None).await.saved;
        let new = Living::new(&["count=10", how]);
        let ended = new.run_a_moment(false, saved).await;
        assert!(ended.is_success(), "{how}: {ended:?}");
        let said = new.said();
        assert!(said.contains(&"init 0".to_owned()), "{how}: {said:?}");
        assert!(
            said.iter().any(|line| line.contains("begins anew")),
            "{how}: {said:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_takes_too_long_is_given_up() {
    let old = Living::new(&["count=10"]);
    let saved = old.run_a_moment(true, None).await.saved;
    let new = Living::new(&["bad-restore=spin"]);
    let begun = Instant::now();
    let ended = new.run(&Stop::default(), saved).await;
    assert!(ended.is_success() && new.has_said("it took too long"));
    let stuck = Living::new(&["count=10", "bad-save=spin"]);
    let ended = stuck.run_a_moment(true, None).await;
    assert!(ended.saved.is_none() && ended.is_success());
    let took = begun.elapsed();
    assert!((10..20).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test]
async fn what_is_not_saved_well_is_not_handed_on() {
    for how in ["bad-save=refuse", "bad-save=trap"] {
        let living = Living::new(&["count=10", how]);
        let ended = living.run_a_moment(true, None).await;
        assert!(ended.is_success() && ended.saved.is_none(), "{how}");
    }
}

#[tokio::test]
async fn a_state_is_bounded_by_the_memory_of_a_replica() {
    let within = Living::holding(&["count=10", "bytes=4000000"], 32 * MIB);
    assert!(within.run_a_moment(true, None).await.saved.is_some());
    let beyond = Living::holding(&["count=10", "bytes=9000000"], 32 * MIB);
    assert!(beyond.run_a_moment(true, None).await.saved.is_none());
}

#[tokio::test]
async fn a_life_that_fails_says_so() {
    let living = Living::new(&["fail-init"]);
    let ended = living.run(&Stop::default(), None).await;
    assert_eq!(
        (ended.outcome, ended.exit_code),
        (Outcome::GuestError, Some(1))
    );
    assert!(living.has_said("the run failed: it was told to"));
    let living = Living::new(&["trap"]);
    let ended = living.run(&Stop::default(), None).await;
    assert_eq!(ended.outcome, Outcome::Trapped);
}

#[tokio::test]
async fn what_does_not_look_can_not_be_asked() {
    let runtime = runtime();
    let code = code(EngineClass::SMALL, crate::support::WORKER);
    let worker = runtime.load_command(&code, workload("worker")).unwrap();
    assert!(!worker.can_be_asked());
}
