//! A placement's life on a node that runs in this process.

use std::sync::Arc;
use std::time::Duration;

use crds::Reason;
use crds::placement::Phase;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use node_agent::{Desired, DesiredRevision};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::rig::{LocalNode, Shelf, ask, client, free_port, hello, load, placement};

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_component_serves_and_stops_when_its_placement_goes() {
    let (state, shelf, port) = (
        tempfile::tempdir().unwrap(),
        Arc::new(Shelf::new()),
        free_port(),
    );
    let v1 = shelf.put(hello(1), 100);
    let node = LocalNode::start(state.path(), placement(port, vec![v1.clone()]), shelf);
    node.told.until_serving(&v1.name).await;
    let (status, body) = ask(&client(), port).await.unwrap();
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("Hello"), "{body}");

    node.desired.send_replace(Desired::default());
    let refused = async {
        while ask(&client(), port).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused)
        .await
        .expect("the port is closed");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_image_takes_over_under_load_without_a_failed_request() {
    let (state, shelf, port) = (
        tempfile::tempdir().unwrap(),
        Arc::new(Shelf::new()),
        free_port(),
    );
    let v1 = shelf.put(hello(1), 100);
    let node = LocalNode::start(state.path(), placement(port, vec![v1.clone()]), shelf);
    node.told.until_serving(&v1.name).await;

    let enough = CancellationToken::new();
    let callers: Vec<_> = (0..4).map(|_| load(port, enough.clone())).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;

    // As the operator does it: prepare beside, then move the weight, then let the old one go.
    let v2 = node.shelf.put(hello(2), 0);
    node.desired
        .send_replace(placement(port, vec![v1.clone(), v2.clone()]));
    let prepared = v2.name.clone();
    node.told
        .until("prepared", |status| {
            status
                .revisions
                .iter()
                .any(|r| r.name == prepared && r.phase == Phase::Prepared)
        })
        .await;
    let v2 = node_agent::DesiredRevision { weight: 100, ..v2 };
    node.desired.send_replace(placement(port, vec![v2.clone()]));
    node.told.until_serving(&v2.name).await;
    node.told
        .until("drained", |status| status.revisions.len() == 1)
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    enough.cancel();

    let mut versions = std::collections::BTreeSet::new();
    for caller in callers {
        let tally = caller.await.unwrap();
        assert_eq!(tally.failures, Vec::<String>::new());
        versions.extend(tally.answers.into_keys());
    }
    assert_eq!(versions.len(), 2, "both versions answered: {versions:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_with_the_last_request_and_not_with_the_grace_period() {
    let (state, shelf, port) = (
        tempfile::tempdir().unwrap(),
        Arc::new(Shelf::new()),
        free_port(),
    );
    let (v1, v2) = (shelf.put(hello(1), 100), shelf.put(hello(2), 0));
    let both = placement(port, vec![v1.clone(), v2.clone()]);
    let node = LocalNode::start(state.path(), both, shelf);
    node.told
        .until("both prepared", |status| {
            status.revisions.len() == 2
                && status
                    .revisions
                    .iter()
                    .all(|of| matches!(of.phase, Phase::Serving | Phase::Prepared))
        })
        .await;
    // It has had requests, and has none now.
    ask(&client(), port).await.unwrap();
    let swapped = std::time::Instant::now();
    let v2 = DesiredRevision { weight: 100, ..v2 };
    node.desired.send_replace(placement(port, vec![v2]));
    node.told
        .until("drained", |status| status.revisions.len() == 1)
        .await;
    // The rig gives requests five seconds.
    assert!(
        swapped.elapsed() < Duration::from_secs(3),
        "{:?}",
        swapped.elapsed()
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_split_the_requests() {
    let (state, shelf, port) = (
        tempfile::tempdir().unwrap(),
        Arc::new(Shelf::new()),
        free_port(),
    );
    let (v1, v2) = (shelf.put(hello(1), 90), shelf.put(hello(2), 10));
    let node = LocalNode::start(state.path(), placement(port, vec![v1.clone(), v2]), shelf);
    node.told
        .until("both serving", |status| {
            status.revisions.len() == 2
                && status.revisions.iter().all(|r| r.phase == Phase::Serving)
        })
        .await;
    let client = client();
    let mut second = 0;
    for _ in 0..200 {
        let (status, body) = ask(&client, port).await.unwrap();
        assert_eq!(status, 200, "{body}");
        second += u32::from(body.contains("version: 2"));
    }
    assert_eq!(
        second, 20,
        "exactly a tenth of 200, for the turn goes round"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_image_is_refused_as_unsigned_and_answered_with_503() {
    let (state, shelf, port) = (
        tempfile::tempdir().unwrap(),
        Arc::new(Shelf::new()),
        free_port(),
    );
    let v1 = shelf.put_with(hello(1), 100, Vec::new());
    let node = LocalNode::start(state.path(), placement(port, vec![v1]), shelf);
    node.told
        .until("refused", |status| {
            !status.ready
                && status
                    .revisions
                    .iter()
                    .any(|r| r.phase == Phase::Failed && r.reason == Some(Reason::Unsigned))
        })
        .await;
    assert_eq!(ask(&client(), port).await.unwrap().0, 503);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_new_version_leaves_the_old_one_serving() {
    let (state, shelf, port) = (
        tempfile::tempdir().unwrap(),
        Arc::new(Shelf::new()),
        free_port(),
    );
    let v1 = shelf.put(hello(1), 100);
    let node = LocalNode::start(state.path(), placement(port, vec![v1.clone()]), shelf);
    node.told.until_serving(&v1.name).await;
    let bad = node
        .shelf
        .put(b"\0asm\x0d\0\x01\0garbage".as_slice().into(), 100);
    node.desired.send_replace(placement(port, vec![bad]));
    let name = v1.name.clone();
    node.told
        .until("the bad one failed", |status| {
            status.serving.as_ref() == Some(&name)
                && status.revisions.iter().any(|r| r.phase == Phase::Failed)
        })
        .await;
    assert_eq!(ask(&client(), port).await.unwrap().0, 200);
    node.stop().await;
}

/// A node that has served one revision and is stopped, and what it was told.
struct Stopped {
    state: tempfile::TempDir,
    shelf: Arc<Shelf>,
    v1: DesiredRevision,
    desired: Desired,
}

async fn served_and_stopped() -> Stopped {
    let (state, shelf) = (tempfile::tempdir().unwrap(), Arc::new(Shelf::new()));
    let v1 = shelf.put(hello(1), 100);
    let desired = placement(free_port(), vec![v1.clone()]);
    let node = LocalNode::start(state.path(), desired.clone(), Arc::clone(&shelf));
    node.told.until_serving(&v1.name).await;
    node.stop().await;
    Stopped {
        state,
        shelf,
        v1,
        desired,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn machine_code_is_made_once_and_found_again_after_a_restart() {
    let Stopped {
        state,
        shelf,
        v1,
        desired,
    } = served_and_stopped().await;
    let code = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        name.starts_with("code-").then(|| {
            (
                name,
                std::os::unix::fs::MetadataExt::ino(&entry.metadata().unwrap()),
            )
        })
    };
    let files = || {
        std::fs::read_dir(state.path().join("cache"))
            .unwrap()
            .filter_map(code)
            .collect::<Vec<_>>()
    };
    let before = files();
    assert_eq!(before.len(), 1);

    let node = LocalNode::start(state.path(), desired, shelf);
    node.told.until_serving(&v1.name).await;
    node.stop().await;
    assert_eq!(files(), before, "the same file was used, none was written");
}

/// Starts a revision, denies it by a policy that says this `when_running`, and starts again.
async fn restarted_after_denial(when_running: &str) -> (LocalNode, tempfile::TempDir) {
    let Stopped {
        state,
        shelf,
        v1,
        desired,
    } = served_and_stopped().await;
    let denied = [v1.digest.to_string()];
    shelf.tighten(json!({"deny": {"digests": denied}, "whenRunning": when_running}));
    (LocalNode::start(state.path(), desired, shelf), state)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_only_reports_starts_again() {
    let (node, _state) = restarted_after_denial("Report").await;
    node.told
        .until("serving what is denied, and saying so", |status| {
            let denied = |condition: &Condition| condition.reason == "DigestDenied";
            status.ready && status.conditions.iter().any(denied)
        })
        .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_stops_does_not_start_again() {
    let (node, _state) = restarted_after_denial("Stop").await;
    node.told
        .until("refused as denied", |status| {
            assert!(!status.ready, "it serves: {status:#?}");
            let mut revisions = status.revisions.iter();
            revisions.any(|revision| revision.reason == Some(Reason::DigestDenied))
        })
        .await;
    node.stop().await;
}

/// A policy that came while a verdict by the old ones was on its way: the node must not wait for
/// the time at which it looks at refusals anyway.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_overtakes_a_verdict_is_judged_by_soon() {
    let (state, shelf, port) = (
        tempfile::tempdir().unwrap(),
        Arc::new(Shelf::new()),
        free_port(),
    );
    let v1 = shelf.put(hello(1), 100);
    shelf.delete_policy();
    shelf.tell_late(true);
    let node = LocalNode::start(
        state.path(),
        placement(port, vec![v1.clone()]),
        Arc::clone(&shelf),
    );
    while shelf.judged() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    shelf.restore_policy();
    node.trust_changes.send_replace(1);
    // The change is heard before the verdict comes.
    tokio::time::sleep(Duration::from_millis(200)).await;
    shelf.tell_late(false);
    node.told.until_serving(&v1.name).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_policy_stops_nothing_that_ran_and_admits_nothing_new() {
    let (state, shelf, port) = (
        tempfile::tempdir().unwrap(),
        Arc::new(Shelf::new()),
        free_port(),
    );
    let v1 = shelf.put(hello(1), 100);
    let desired = placement(port, vec![v1.clone()]);
    let node = LocalNode::start(state.path(), desired.clone(), Arc::clone(&shelf));
    node.told.until_serving(&v1.name).await;
    node.stop().await;

    shelf.delete_policy();
    let node = LocalNode::start(state.path(), desired, Arc::clone(&shelf));
    node.told
        .until(
            "serving what would be refused today, and saying so",
            |status| {
                status.ready
                    && status.conditions.iter().any(|condition| {
                        condition.type_ == "Verified"
                            && condition.status == "False"
                            && condition.reason == "NoPolicyMatches"
                    })
            },
        )
        .await;
    assert_eq!(ask(&client(), port).await.unwrap().0, 200);

    let v2 = shelf.put(hello(2), 0);
    node.desired
        .send_replace(placement(port, vec![v1, v2.clone()]));
    node.told
        .until("the new one refused", |status| {
            status
                .revisions
                .iter()
                .any(|r| r.name == v2.name && r.reason == Some(Reason::NoPolicyMatches))
        })
        .await;
    node.stop().await;
}
