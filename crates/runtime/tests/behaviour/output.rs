//! What guests print comes out as JSON lines with their names on, and never in the way.

use crate::support::{PROBE, get, load, small_config};
use runtime::{AuditSink, Output, Runtime};
use serde_json::Value;

#[tokio::test]
async fn a_printed_line_carries_the_name_of_who_printed_it() {
    let (output, lines) = Output::channel(100);
    let component = load(
        &Runtime::new(small_config(), output, AuditSink::discard()).unwrap(),
        PROBE,
        |_| {},
    );
    get(&component, "/stdout?text=two%0Alines%1b[31m").await;
    let lines: Vec<Value> = lines
        .try_iter()
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["message"], "two");
    assert_eq!(lines[1]["message"], "lines\u{1b}[31m");
    for line in &lines {
        assert_eq!(line["namespace"], "shop");
        assert_eq!(line["component"], "probe");
        assert_eq!(line["stream"], "stdout");
        assert_eq!(line["level"], "guest");
    }
}

#[tokio::test]
async fn a_flood_is_dropped_counted_and_answered() {
    let (output, lines) = Output::channel(10_000);
    let component = load(
        &Runtime::new(small_config(), output, AuditSink::discard()).unwrap(),
        PROBE,
        |_| {},
    );
    assert_eq!(
        get(&component, "/stdout?lines=2000&size=1000").await.text,
        "printed\n"
    );
    let arrived = lines.try_iter().count() as u64;
    let dropped = component.stats().dropped_lines;
    assert_eq!(arrived + dropped, 2000);
    assert!(dropped > 1000, "only {dropped} of 2 MB were dropped");
}

#[tokio::test]
async fn a_trap_is_explained_to_the_owner_and_not_to_the_caller() {
    let (output, lines) = Output::channel(100);
    let component = load(
        &Runtime::new(small_config(), output, AuditSink::discard()).unwrap(),
        PROBE,
        |_| {},
    );
    let answer = get(&component, "/trap").await;
    assert!(!answer.text.contains("unreachable"), "{}", answer.text);
    let line: Value = serde_json::from_str(&lines.try_recv().unwrap()).unwrap();
    assert_eq!(line["stream"], "runtime");
    assert!(
        line["message"].as_str().unwrap().contains("unreachable"),
        "{line}"
    );
}
