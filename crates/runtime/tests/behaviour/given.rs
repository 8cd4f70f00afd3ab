//! A component has what it was granted, and nothing of its host's.

use crate::support::{PROBE_CONFIG, get, load, probe, runtime};

#[tokio::test]
async fn environment_and_arguments_are_exactly_what_was_granted() {
    let component = probe(|workload| {
        workload.values.env = [
            ("LOG_LEVEL".into(), "info".into()),
            ("A".into(), "1".into()),
        ]
        .into();
        workload.values.args = vec!["--shop".into(), "two words".into()];
    });
    assert_eq!(get(&component, "/env").await.text, "A=1\nLOG_LEVEL=info\n");
    assert_eq!(get(&component, "/args").await.text, "--shop\ntwo words\n");
}

#[tokio::test]
async fn without_a_grant_there_is_nothing() {
    let component = probe(|_| {});
    assert_eq!(get(&component, "/env").await.text, "");
    assert_eq!(get(&component, "/args").await.text, "");
    assert_eq!(get(&component, "/dirs").await.text, "0\n");
}

#[tokio::test]
async fn configuration_is_read_by_key_and_as_a_whole() {
    let component = load(&runtime(), PROBE_CONFIG, |workload| {
        workload.values.config = [("greeting".into(), "hi".into()), ("x".into(), "".into())].into();
    });
    assert_eq!(get(&component, "/config").await.text, "greeting=hi\nx=\n");
    assert_eq!(get(&component, "/config?key=greeting").await.text, "hi\n");
    assert_eq!(get(&component, "/config?key=PATH").await.text, "none\n");
}

#[tokio::test]
async fn values_do_not_show_when_a_component_is_printed() {
    let component = probe(|workload| {
        workload.values.env = [("TOKEN".into(), "hunter2".into())].into();
        workload.values.config = [("password".into(), "hunter2".into())].into();
    });
    assert!(!format!("{component:?}").contains("hunter2"));
}
