//! What of the worker's word is written down.

use std::sync::Arc;

use artifact::Digest;
use crds::revision::RevisionDocument;
use tokio_util::sync::CancellationToken;

use super::*;

struct Desk {
    auditor: Auditor,
    denied: mpsc::Receiver<Denied>,
    writer: log::Writer,
    folder: tempfile::TempDir,
    loaded: Loaded,
}

fn desk(level: AuditLevel) -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let (log, writer) = log::log(folder.path().to_owned());
    let (denials, denied) = mpsc::channel(8);
    let document: RevisionDocument = serde_json::from_value(serde_json::json!({
        "version": 1,
        "component": {"namespace": "shop", "name": "orders", "uid": "1"},
        "image": "registry.example/shop/orders",
        "digest": "sha256:00",
        "audit": level,
    }))
    .unwrap();
    let loaded = Loaded {
        since: jiff::Timestamp::now(),
        document: Arc::new(document),
        signers: "key 00".into(),
        authorities: Default::default(),
        effective: Default::default(),
        given: Digest::of(b""),
    };
    let mut auditor = Auditor::new("node-1".into(), log, denials);
    auditor.loaded(&loaded);
    Desk {
        auditor,
        denied,
        writer,
        folder,
        loaded,
    }
}

impl Desk {
    fn note(&self, capability: &str, rule: Rule) -> Note {
        Note {
            time_millis: 1_000,
            namespace: "shop".into(),
            component: "orders".into(),
            revision: self.loaded.document.revision_name(),
            capability: capability.into(),
            object: "a\u{202e}b".into(),
            rule,
            caller: None,
        }
    }

    async fn lines(self) -> Vec<serde_json::Value> {
        let stop = CancellationToken::new();
        stop.cancel();
        self.writer.run(stop).await;
        let text = std::fs::read_to_string(self.folder.path().join(log::FILE));
        let text = text.unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

#[tokio::test]
async fn a_worker_that_broke_out_invents_neither_components_nor_capabilities() {
    let mut desk = desk(AuditLevel::FirstUse);
    let mut foreign = desk.note("network", Rule::NotGranted);
    foreign.namespace = "bank".into();
    let invented = desk.note("invented", Rule::NotGranted);
    desk.auditor.heard(vec![foreign, invented], 0);
    assert!(desk.denied.try_recv().is_err());
    assert!(desk.lines().await.is_empty());
}

#[tokio::test]
async fn a_denial_is_told_and_written_down_without_what_moves_a_cursor() {
    let mut desk = desk(AuditLevel::FirstUse);
    let note = desk.note("network", Rule::NotGranted);
    desk.auditor.heard(vec![note], 3);
    assert_eq!(desk.auditor.lost(), 3);
    let told = desk.denied.try_recv().unwrap();
    assert!(!told.object.contains('\u{202e}'));
    let lines = desk.lines().await;
    assert_eq!(lines[0]["allowed"], false);
    assert_eq!(lines[0]["time"], "1970-01-01T00:00:01Z");
    assert!(!lines[0]["object"].as_str().unwrap().contains('\u{202e}'));
}

#[tokio::test]
async fn the_last_records_of_a_revision_come_after_it_is_let_go() {
    let mut desk = desk(AuditLevel::All);
    let (component, name) = (
        desk.loaded.document.component.clone(),
        desk.loaded.document.revision_name(),
    );
    let figures = Figures {
        outcomes: BTreeMap::from([("Completed".to_owned(), 7)]),
        cpu_micros: 9,
        ..Figures::default()
    };
    desk.auditor.retired(&component, &name, Some(&figures));
    let note = desk.note("lifecycle", Rule::Granted);
    desk.auditor.heard(vec![note], 0);
    let lines = desk.lines().await;
    assert_eq!(lines[0]["object"], "calls=7 cpuMicroseconds=9");
    assert_eq!(lines[1]["capability"], "lifecycle");
}
