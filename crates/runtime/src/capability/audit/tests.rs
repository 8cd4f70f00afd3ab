//! What is recorded at each level, what is thinned out, and what is never lost.

use super::*;
use crate::caller::Caller;
use std::time::Duration;

fn audit(level: AuditLevel, capacity: usize) -> (Arc<Audit>, AuditRecords) {
    let (sink, records) = AuditSink::channel(capacity);
    let identity = Identity {
        namespace: "shop".into(),
        component: "orders".into(),
        revision: "orders-1".into(),
        node: "n1".into(),
    };
    (Audit::new(sink, identity, level), records)
}

fn used(audit: &Audit, object: &str) {
    audit.note(Capability::FileRead, object, Rule::Granted, None);
}

fn denied(audit: &Audit, object: &str) {
    audit.note(Capability::FileRead, object, Rule::LinkRefused, None);
}

fn objects(records: &AuditRecords) -> Vec<String> {
    let records = records.take(usize::MAX);
    records.into_iter().map(|record| record.object).collect()
}

#[test]
fn each_level_records_what_it_says() {
    for (level, expected) in [
        (AuditLevel::Denials, vec!["/no", "/no"]),
        (AuditLevel::FirstUse, vec!["/a", "/b", "/no", "/no"]),
        (
            AuditLevel::All,
            vec!["orders-1", "/a", "/a", "/b", "/no", "/no"],
        ),
    ] {
        let (audit, records) = audit(level, 100);
        audit.note(Capability::Lifecycle, "orders-1", Rule::Granted, None);
        for object in ["/a", "/a", "/b"] {
            used(&audit, object);
        }
        denied(&audit, "/no");
        denied(&audit, "/no");
        assert_eq!(objects(&records), expected, "{level:?}");
        let uses = audit.uses()[Capability::FileRead.index()];
        assert_eq!((uses.allowed, uses.denied), (3, 2));
    }
}

#[test]
fn a_record_says_who_what_and_why() {
    let (audit, records) = audit(AuditLevel::Denials, 1);
    let caller = Arc::new(Caller {
        trigger: "web".into(),
        address: Some([192, 0, 2, 7].into()),
    });
    let rule = Rule::AboveCeiling {
        policy: "baseline".into(),
    };
    audit.note(Capability::FileRead, "/etc", rule.clone(), Some(&caller));
    let record = records.take(1).pop().unwrap();
    assert_eq!(record.identity.component, "orders");
    assert_eq!(record.caller.as_deref(), Some(&*caller));
    assert_eq!(record.capability.name(), "file-read");
    assert_eq!(record.rule, rule);
}

#[test]
fn what_is_too_much_for_the_reader_is_counted_and_the_first_of_a_kind_is_kept() {
    let (audit, records) = audit(AuditLevel::Denials, 2);
    for object in ["/1", "/2", "/3", "/4"] {
        denied(&audit, object);
    }
    audit.note(Capability::Network, "evil.example", Rule::NotGranted, None);
    assert_eq!(objects(&records), ["/1", "/2", "evil.example"]);
    assert_eq!((records.lost(), audit.lost()), (2, 2));
}

#[test]
fn a_flood_of_one_component_is_thinned_out_and_the_allowance_comes_back() {
    let (audit, records) = audit(AuditLevel::All, 100_000);
    for _ in 0..1_000 {
        denied(&audit, "/x");
    }
    let taken = objects(&records).len() as u64;
    assert!((101..=120).contains(&taken), "{taken}");
    assert_eq!(taken + audit.lost(), 1_000);
    audit.seen.lock().unwrap().refilled -= Duration::from_secs(1);
    denied(&audit, "/y");
    assert_eq!(objects(&records), ["/y"]);
    // A first of another kind needs no allowance.
    for _ in 0..100 {
        denied(&audit, "/x");
    }
    let _ = records.take(usize::MAX);
    used(&audit, "/z");
    assert_eq!(objects(&records), ["/z"]);
}

#[test]
fn what_was_used_is_remembered_up_to_a_bound() {
    let (audit, records) = audit(AuditLevel::FirstUse, 100_000);
    for number in 0..2 * FIRST_USES {
        used(&audit, &number.to_string());
    }
    assert_eq!(audit.seen.lock().unwrap().used.len(), FIRST_USES);
    let taken = records.take(usize::MAX).len() as u64;
    assert_eq!(taken + audit.lost(), 2 * FIRST_USES as u64);
}

#[test]
fn guest_text_can_neither_move_a_cursor_nor_grow() {
    let (audit, records) = audit(AuditLevel::All, 8);
    used(&audit, "/a\n\u{1b}[2J\u{202e}b");
    used(&audit, &"x".repeat(10_000));
    let objects = objects(&records);
    assert_eq!(objects[0], "/a\\u{a}\\u{1b}[2J\\u{202e}b");
    assert_eq!(objects[1].chars().count(), OBJECT_MAX + 1);
}

#[tokio::test]
async fn a_reader_waits_and_misses_nothing() {
    let (audit, records) = audit(AuditLevel::All, 8);
    let reader = tokio::spawn(async move { records.next(10).await });
    tokio::task::yield_now().await;
    used(&audit, "/a");
    assert_eq!(reader.await.unwrap().len(), 1);
}
