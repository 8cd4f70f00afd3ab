//! Components that run by themselves, on a node in this process.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crds::component::RestartPolicy::{Always, Never, OnFailure};
use crds::placement::{RunEnd, RunStatus};
use crds::{ComponentPlacementStatus, Reason};
use node_agent::{Desired, DesiredRevision};
use serde_json::Value;

use crate::rig::{LocalNode, Shelf, config, hello, living, run_placement, worker};

/// A node, and the lines that its guests print.
struct Heard {
    node: LocalNode,
    lines: Receiver<String>,
}

impl Heard {
    fn start(state: &std::path::Path, desired: Desired, shelf: &Arc<Shelf>) -> Self {
        let (output, lines) = runtime::Output::channel(10_000);
        let node = LocalNode::start_heard(config(state), desired, Arc::clone(shelf), output);
        Self { node, lines }
    }

    /// What guests have said since this was asked last.
    fn said(&self) -> Vec<String> {
        let message = |line: String| {
            let line: Value = serde_json::from_str(&line).unwrap();
            line["message"].as_str().unwrap().to_owned()
        };
        self.lines.try_iter().map(message).collect()
    }

    fn times_said(&self, line: &str) -> usize {
        self.said().iter().filter(|said| *said == line).count()
    }

    async fn until(&self, what: &str, wanted: impl Fn(&ComponentPlacementStatus) -> bool) {
        self.node.told.until(what, wanted).await;
    }

    async fn until_running(&self, revision: &DesiredRevision, running: i32) {
        self.until(&format!("{running} of {} run", revision.name), |status| {
            status.ready
                && run(status)
                    .is_some_and(|run| run.revision == revision.name && run.running == running)
        })
        .await;
    }
}

fn run(status: &ComponentPlacementStatus) -> Option<&RunStatus> {
    status.run.as_ref()
}

fn reason(status: &ComponentPlacementStatus) -> &str {
    status.conditions.first().map_or("", |ready| &ready.reason)
}

const MOMENT: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_completed_is_not_run_again_by_a_restart_or_another_replica() {
    let (state, shelf) = (tempfile::tempdir().unwrap(), Arc::new(Shelf::new()));
    shelf.run(OnFailure, &["print=done"]);
    let job = shelf.put(worker(), 100);
    let completed = |replicas: i32| {
        move |status: &ComponentPlacementStatus| {
            status.ready && run(status).is_some_and(|run| run.completed == replicas)
        }
    };
    let desired = run_placement(1, vec![job.clone()]);
    let heard = Heard::start(state.path(), desired.clone(), &shelf);
    heard.until("completed", completed(1)).await;
    assert_eq!(heard.times_said("done"), 1);
    heard.node.stop().await;

    let heard = Heard::start(state.path(), desired, &shelf);
    heard.until("completed", completed(1)).await;
    heard.node.desired.send_replace(run_placement(2, vec![job]));
    heard.until("completed twice", completed(2)).await;
    assert_eq!(heard.times_said("done"), 1, "only the new replica runs");
    heard.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_says_how_and_is_started_again_after_a_pause() {
    let (state, shelf) = (tempfile::tempdir().unwrap(), Arc::new(Shelf::new()));
    shelf.run(OnFailure, &["print=again", "exit=3"]);
    let bad = shelf.put(worker(), 100);
    let heard = Heard::start(state.path(), run_placement(1, vec![bad]), &shelf);
    heard
        .until("waiting", |status| {
            let end = RunEnd {
                reason: Reason::GuestError,
                exit_code: Some(3),
                port: None,
            };
            !status.ready
                && reason(status) == "RunRestarting"
                && run(status).is_some_and(|run| run.waiting == 1 && run.last_end == Some(end))
        })
        .await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let times = heard.times_said("again");
    // After 0.3, 0.6, 1, 1... seconds, for two seconds more than that was waited.
    assert!((3..=9).contains(&times), "{times}");
    heard.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_started_again_has_failed_for_good() {
    let (state, shelf) = (tempfile::tempdir().unwrap(), Arc::new(Shelf::new()));
    shelf.run(Never, &["print=once", "trap"]);
    let bad = shelf.put(worker(), 100);
    let heard = Heard::start(state.path(), run_placement(1, vec![bad]), &shelf);
    heard
        .until("failed", |status| {
            !status.ready
                && reason(status) == "RunFailed"
                && run(status).is_some_and(|run| {
                    run.failed == 1
                        && run.last_end.as_ref().map(|end| end.reason) == Some(Reason::Trapped)
                })
        })
        .await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!(heard.times_said("once"), 1);
    heard.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_revision_starts_when_the_old_one_has_ended() {
    let (state, shelf) = (tempfile::tempdir().unwrap(), Arc::new(Shelf::new()));
    shelf.run(Always, &["print=one", "tick=5"]);
    let v1 = shelf.put(worker(), 100);
    let heard = Heard::start(state.path(), run_placement(1, vec![v1.clone()]), &shelf);
    heard.until_running(&v1, 1).await;
    shelf.run(Always, &["print=two", "sleep=100000"]);
    let v2 = shelf.put(worker(), 100);
    heard
        .node
        .desired
        .send_replace(run_placement(1, vec![v2.clone()]));
    heard.until_running(&v2, 1).await;
    heard
        .until("the old one is let go", |status| {
            status.revisions.len() == 1
        })
        .await;
    tokio::time::sleep(MOMENT).await;
    let said = heard.said();
    assert_eq!(said.last().map(String::as_str), Some("two"), "{said:?}");
    assert!(said.contains(&"one".to_owned()) && said.contains(&"tick 1".to_owned()));
    heard.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_cannot_be_prepared_replaces_nothing() {
    let (state, shelf) = (tempfile::tempdir().unwrap(), Arc::new(Shelf::new()));
    shelf.run(Always, &["tick=10"]);
    let v1 = shelf.put(worker(), 100);
    let heard = Heard::start(state.path(), run_placement(1, vec![v1.clone()]), &shelf);
    heard.until_running(&v1, 1).await;
    let no_run = shelf.put(hello(1), 100);
    let both = vec![
        no_run,
        DesiredRevision {
            weight: 0,
            ..v1.clone()
        },
    ];
    heard.node.desired.send_replace(run_placement(1, both));
    heard
        .until("refused", |status| {
            let mut revisions = status.revisions.iter();
            revisions.any(|revision| revision.reason == Some(Reason::ExportMissing))
        })
        .await;
    heard.until_running(&v1, 1).await;
    heard.said();
    tokio::time::sleep(MOMENT).await;
    let said = heard.said();
    assert!(
        said.len() > 10 && !said.contains(&"tick 1".to_owned()),
        "{said:?}"
    );
    heard.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_come_and_go_as_they_are_asked_for() {
    let (state, shelf) = (tempfile::tempdir().unwrap(), Arc::new(Shelf::new()));
    shelf.run(Always, &["tick=10"]);
    let v1 = shelf.put(worker(), 100);
    let heard = Heard::start(state.path(), run_placement(1, vec![v1.clone()]), &shelf);
    for replicas in [1_u8, 3, 2] {
        heard
            .node
            .desired
            .send_replace(run_placement(replicas.into(), vec![v1.clone()]));
        heard.until_running(&v1, replicas.into()).await;
    }
    heard.node.desired.send_replace(Desired::default());
    let silence = async {
        loop {
            heard.said();
            tokio::time::sleep(Duration::from_millis(100)).await;
            if heard.said().is_empty() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), silence)
        .await
        .expect("nothing runs any more");
    heard.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_are_replaced_one_after_the_other_and_a_bad_one_stops_it() {
    let (state, shelf) = (tempfile::tempdir().unwrap(), Arc::new(Shelf::new()));
    shelf.run(Always, &["tick=10"]);
    let v1 = shelf.put(worker(), 100);
    let heard = Heard::start(state.path(), run_placement(2, vec![v1.clone()]), &shelf);
    heard.until_running(&v1, 2).await;
    shelf.run(Always, &["print=bad", "exit=1"]);
    let v2 = shelf.put(worker(), 100);
    let both = vec![
        v2.clone(),
        DesiredRevision {
            weight: 0,
            ..v1.clone()
        },
    ];
    heard.node.desired.send_replace(run_placement(2, both));
    heard
        .until("one waits", |status| {
            run(status).is_some_and(|run| run.revision == v2.name && run.waiting == 1)
        })
        .await;
    heard.said();
    tokio::time::sleep(MOMENT).await;
    let ticks = heard
        .said()
        .iter()
        .filter(|said| said.starts_with("tick"))
        .count();
    assert!(ticks > 10, "the other old one goes on: {ticks}");
    // As the operator undoes it.
    heard
        .node
        .desired
        .send_replace(run_placement(2, vec![v1.clone()]));
    heard.until_running(&v1, 2).await;
    heard.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_goes_on_over_an_update_and_an_undo_takes_no_form_but_its_own() {
    let (state, shelf) = (tempfile::tempdir().unwrap(), Arc::new(Shelf::new()));
    shelf.run(Always, &["count=10"]);
    let v1 = shelf.put(living(), 100);
    let heard = Heard::start(state.path(), run_placement(1, vec![v1.clone()]), &shelf);
    heard.until_running(&v1, 1).await;
    tokio::time::sleep(MOMENT).await;

    // A form that both know.
    shelf.run(Always, &["count=11"]);
    let v2 = shelf.put(living(), 100);
    let after = |new: &DesiredRevision, old: &DesiredRevision| {
        let old = DesiredRevision {
            weight: 0,
            ..old.clone()
        };
        run_placement(1, vec![new.clone(), old])
    };
    heard.node.desired.send_replace(after(&v2, &v1));
    heard.until_running(&v2, 1).await;
    tokio::time::sleep(MOMENT).await;
    let said = heard.said();
    let begins: Vec<u64> = begins(&said);
    assert!(
        begins.len() == 2 && begins[0] == 0 && begins[1] > 10,
        "{said:?}"
    );
    assert!(said.contains(&"shutdown".to_owned()));

    // Another form is refused, and begins anew.
    shelf.run(Always, &["count=12", "schema=2"]);
    let v3 = shelf.put(living(), 100);
    heard.node.desired.send_replace(after(&v3, &v2));
    heard.until_running(&v3, 1).await;
    tokio::time::sleep(MOMENT).await;
    let said = heard.said();
    assert_eq!(self::begins(&said), [0], "{said:?}");
    assert!(
        said.iter().any(|line| line.contains("schema 1 is unknown")),
        "{said:?}"
    );

    // Whoever is gone back to is not even asked.
    let back = DesiredRevision {
        weight: 100,
        ..v2.clone()
    };
    heard.node.desired.send_replace(after(&back, &v3));
    heard.until_running(&v2, 1).await;
    tokio::time::sleep(MOMENT).await;
    let said = heard.said();
    assert_eq!(self::begins(&said), [0], "{said:?}");
    assert!(
        !said.iter().any(|line| line.contains("unknown")),
        "{said:?}"
    );
    heard.node.stop().await;
}

/// With which count each instance began.
fn begins(said: &[String]) -> Vec<u64> {
    let begins = said.iter().filter_map(|line| line.strip_prefix("init "));
    begins.map(|count| count.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_does_not_hear_is_cut_after_the_grace_period() {
    let (state, shelf) = (tempfile::tempdir().unwrap(), Arc::new(Shelf::new()));
    shelf.run(Always, &["count=10", "deaf"]);
    let v1 = shelf.put(living(), 100);
    let heard = Heard::start(state.path(), run_placement(1, vec![v1.clone()]), &shelf);
    heard.until_running(&v1, 1).await;
    shelf.run(Always, &["count=10"]);
    let v2 = shelf.put(living(), 100);
    let asked = Instant::now();
    heard
        .node
        .desired
        .send_replace(run_placement(1, vec![v2.clone()]));
    heard.until_running(&v2, 1).await;
    let took = asked.elapsed();
    // The revision says 5 seconds.
    assert!((4..20).contains(&took.as_secs()), "{took:?}");
    assert!(!heard.said().contains(&"shutdown".to_owned()));
    heard.node.stop().await;
}
