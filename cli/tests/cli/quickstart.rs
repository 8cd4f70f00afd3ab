//! The first thing that anybody runs.

use super::program::{Home, get};

#[test]
fn the_quickstart_serves_and_its_next_steps_work_as_printed() {
    let home = Home::new();
    let running = home.start(&["quickstart", "--port", &Home::port(), "-o", "json"]);
    let serving = running.event("serving");
    let url = serving["urls"][0].as_str().unwrap().to_owned();
    assert!(get(&format!("{url}/x")).contains("path: /x"));

    let next = running.wait_for("what to try next", |line| line.contains("secondVersion"));
    let next: serde_json::Value = serde_json::from_str(&next).unwrap();
    let text = |key: &str| next[key].as_str().unwrap().to_owned();
    let image = format!("{}/hello:1", text("registry"));
    home.run(&["verify", &image, "--policy", &text("yaml")])
        .success();
    home.run(&["push", &image, &text("secondVersion")])
        .success();
    assert_eq!(running.event("refused")["reason"], "Unsigned");
    home.run(&["sign", &image, "--key", &text("key")]).success();
    running.event("serving");
    assert!(get(&url).contains("version: 2"));
    assert_eq!(running.interrupt(), Some(0));
}
