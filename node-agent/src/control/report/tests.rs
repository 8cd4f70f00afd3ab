//! What is said of a placement, and that nothing is said twice.

use std::sync::Mutex;

use artifact::Digest;
use crds::revision::ComponentIdentity;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::super::plan::RunningRevision;
use super::*;
use crate::desired::DesiredRevision;
use crate::source::ReportError;

fn placement() -> DesiredPlacement {
    DesiredPlacement {
        uid: "uid".into(),
        generation: 4,
        component: ComponentIdentity::default(),
        replicas: 1,
        ports: BTreeMap::new(),
        revisions: vec![DesiredRevision {
            name: "v2".into(),
            digest: Digest::of(b"v2"),
            weight: 100,
        }],
    }
}

fn slot(weights: &[&str], revisions: &[(&str, Phase)]) -> RunningSlot {
    RunningSlot {
        weights: Some(
            weights
                .iter()
                .map(|name| ((*name).to_owned(), 100))
                .collect(),
        ),
        revisions: revisions
            .iter()
            .map(|(name, phase)| {
                let digest = Digest::of(name.as_bytes());
                (
                    (*name).to_owned(),
                    RunningRevision {
                        digest,
                        phase: phase.clone(),
                        run: None,
                        listens: BTreeMap::new(),
                    },
                )
            })
            .collect(),
        ..RunningSlot::default()
    }
}

fn reason(status: &ComponentPlacementStatus) -> &str {
    &status.conditions[0].reason
}

#[test]
fn a_placement_is_ready_while_any_revision_serves() {
    let failed = Phase::Failed(Failure {
        reason: Reason::Unsigned,
        message: "not signed".into(),
        due: false,
    });
    let slot = slot(&["v1"], &[("v1", Phase::Prepared), ("v2", failed)]);
    let status = status(
        &placement(),
        Some(&slot),
        None,
        &BTreeMap::new(),
        Timestamp::UNIX_EPOCH,
    );
    assert!(status.ready);
    assert_eq!(status.serving.as_deref(), Some("v1"));
    assert_eq!(status.observed_generation, Some(4));
    let phases: Vec<_> = status
        .revisions
        .iter()
        .map(|r| (r.name.as_str(), r.phase))
        .collect();
    assert_eq!(
        phases,
        [("v2", StatusPhase::Failed), ("v1", StatusPhase::Serving)]
    );
    assert_eq!(status.revisions[0].reason, Some(Reason::Unsigned));
}

#[test]
fn a_placement_that_cannot_listen_says_so() {
    let unopened = Failure {
        reason: Reason::PortInUse,
        message: "port 20017".into(),
        due: true,
    };
    let status = status(
        &placement(),
        None,
        Some(&unopened),
        &BTreeMap::new(),
        Timestamp::UNIX_EPOCH,
    );
    assert!(!status.ready);
    assert_eq!(reason(&status), "PortInUse");
}

#[test]
fn a_slot_that_answers_503_is_not_ready() {
    let status = status(
        &placement(),
        Some(&slot(&[], &[])),
        None,
        &BTreeMap::new(),
        Timestamp::UNIX_EPOCH,
    );
    assert!(!status.ready);
    assert_eq!(reason(&status), "Preparing");
}

#[test]
fn what_serves_and_would_be_refused_today_goes_on_and_is_said() {
    let slot = slot(&["v2"], &[("v2", Phase::Prepared)]);
    let refused = Refused {
        reason: Reason::NoPolicyMatches,
        message: "no policy".into(),
    };
    let doubts = BTreeMap::from([("v2".to_owned(), refused)]);
    let status = status(
        &placement(),
        Some(&slot),
        None,
        &doubts,
        Timestamp::UNIX_EPOCH,
    );
    assert!(status.ready);
    let said: Vec<_> = status
        .conditions
        .iter()
        .map(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            ("Ready", "True", "Ready"),
            ("Verified", "False", "NoPolicyMatches")
        ]
    );
}

#[derive(Default)]
struct Unreliable {
    fails: Mutex<u32>,
    told: Mutex<Vec<bool>>,
}

impl Sink for Unreliable {
    fn report<'a>(
        &'a self,
        placement: &'a PlacementKey,
        status: &'a ComponentPlacementStatus,
    ) -> BoxFuture<'a, Result<(), ReportError>> {
        let mut fails = self.fails.lock().unwrap();
        let result = if *fails > 0 {
            *fails -= 1;
            Err(ReportError {
                placement: placement.clone(),
                message: "away".into(),
            })
        } else {
            self.told.lock().unwrap().push(status.ready);
            Ok(())
        };
        std::future::ready(result).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_is_told_once_and_a_lost_report_again() {
    let sink = Arc::new(Unreliable {
        fails: Mutex::new(1),
        ..Unreliable::default()
    });
    let key = PlacementKey {
        namespace: "shop".into(),
        name: "orders".into(),
    };
    let (statuses, receiver) = watch::channel(Statuses::from([(
        key.clone(),
        ComponentPlacementStatus::default(),
    )]));
    let stop = CancellationToken::new();
    let task = tokio::spawn(run(
        receiver,
        Arc::clone(&sink) as Arc<dyn Sink>,
        stop.clone(),
    ));
    tokio::time::sleep(Duration::from_secs(60)).await;
    // Sent again as it is: nobody is told.
    statuses.send_modify(|_| {});
    tokio::time::sleep(Duration::from_secs(60)).await;
    statuses.send_modify(|all| {
        all.get_mut(&key).unwrap().ready = true;
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    stop.cancel();
    task.await.unwrap();
    assert_eq!(*sink.told.lock().unwrap(), [false, true]);
}
