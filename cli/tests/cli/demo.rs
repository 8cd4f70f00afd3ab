//! The demonstration, as `make demo` runs it.

use super::program::Home;

#[test]
fn every_step_of_the_demo_holds_on_this_machine() {
    let ended = Home::new()
        .run(&["demo", "--rate", "50", "-o", "json"])
        .success();
    let steps: Vec<serde_json::Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(steps.len(), 7, "{ended:?}");
    assert!(
        steps[1]["figure"].as_str().unwrap().contains(" 0 failed"),
        "{ended:?}"
    );
}
