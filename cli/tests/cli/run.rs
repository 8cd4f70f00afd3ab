//! `run` serves a signed image, follows its tag, and ends well.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use super::program::{Home, Running, component, get, hello, hello_v2, repository};

/// Runs what the two files say, and looks at them and at tags five times a second.
fn follow(home: &Home, file: &str, trust: &str) -> Running {
    home.start(&[
        "run",
        file,
        trust,
        "--port",
        &Home::port(),
        "--poll",
        "200ms",
        "-o",
        "json",
    ])
}

#[test]
fn a_signed_image_serves_and_its_successor_takes_over_when_the_tag_moves() {
    let home = Home::new();
    let (_registry, address) = home.registry(&[]);
    let trust = home.keygen(&format!("{address}/**"));
    let image = format!("{address}/hello:1");
    home.run(&["push", &image, &hello(), "--sign", "cosign.key"])
        .success();
    let file = home.write("hello.yaml", component(&image));

    let running = follow(&home, &file, &trust);
    let serving = running.event("serving");
    let url = serving["urls"][0].as_str().unwrap().to_owned();
    assert!(get(&url).contains("version: 1"));

    home.run(&["push", &image, &hello_v2(), "--sign", "cosign.key"])
        .success();
    let swapped = running.event("serving");
    assert_eq!(swapped["urls"], serving["urls"], "the address stays");
    assert_ne!(swapped["revision"], serving["revision"]);
    assert!(get(&url).contains("version: 2"));
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn what_is_paused_waits_and_what_runs_goes_on() {
    let home = Home::new();
    let (_registry, address) = home.registry(&[]);
    let trust = home.keygen(&format!("{address}/**"));
    let image = format!("{address}/hello:1");
    home.run(&["push", &image, &hello(), "--sign", "cosign.key"])
        .success();
    let paused = format!("{}  rollout: {{paused: true}}\n", component(&image));
    let file = home.write("hello.yaml", component(&image));
    let running = follow(&home, &file, &trust);
    let url = running.event("serving")["urls"][0]
        .as_str()
        .unwrap()
        .to_owned();

    // Paused, what runs is as it should be: only a successor has to wait.
    home.write("hello.yaml", paused);
    home.run(&["push", &image, &hello_v2(), "--sign", "cosign.key"])
        .success();
    let refused = loop {
        let refused = running.event("refused");
        // For a moment it is pushed and not yet signed.
        if refused["reason"] != "Unsigned" {
            break refused;
        }
    };
    assert_eq!(refused["reason"], "RolloutPaused", "{refused}");
    assert!(get(&url).contains("version: 1"));

    home.write("hello.yaml", component(&image));
    running.event("serving");
    assert!(get(&url).contains("version: 2"));
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn a_wrong_edit_is_told_and_what_runs_goes_on() {
    let home = Home::new();
    let file = home.write("hello.yaml", component("registry.example/hello:1"));
    let build = format!("hello={}", hello());
    let running = home.start(&[
        "run",
        &file,
        "--set-image",
        &build,
        "--port",
        &Home::port(),
        "--poll",
        "200ms",
        "-o",
        "json",
    ]);
    let url = running.event("serving")["urls"][0]
        .as_str()
        .unwrap()
        .to_owned();

    home.write(
        "hello.yaml",
        component("registry.example/hello:1").replace("triggers", "trigers"),
    );
    let unusable = running.event("unusable");
    assert!(
        unusable["message"]
            .as_str()
            .unwrap()
            .contains("spec.trigers"),
        "{unusable}"
    );
    assert!(get(&url).contains("version: 1"));

    // A changed field is a new revision of the same image.
    let changed = component("registry.example/hello:1") + "  args: [--verbose]\n";
    home.write("hello.yaml", changed);
    running.event("serving");
    assert!(get(&url).contains("version: 1"));
    assert_eq!(running.interrupt(), Some(0));
}

/// A component that runs by itself, and does what these arguments say.
fn job(image: &str, args: &str) -> String {
    format!(
        "apiVersion: lighterman.dev/v1alpha1\nkind: WasmComponent\nmetadata: {{name: worker}}\nspec:\n  image: {image}\n  triggers: [{{name: main, run: {{restartPolicy: OnFailure}}}}]\n  args: {args}\n"
    )
}

#[test]
fn a_job_runs_at_every_start_and_a_version_that_fails_is_told_with_its_code() {
    let home = Home::new();
    let (_registry, address) = home.registry(&[]);
    let trust = home.keygen(&format!("{address}/**"));
    let image = format!("{address}/worker:1");
    let worker = repository("tests/guests/worker/worker.wasm");
    let worker = worker.display().to_string();
    home.run(&["push", &image, &worker, "--sign", "cosign.key"])
        .success();
    let file = home.write("worker.yaml", job(&image, "[print=done]"));
    for _ in 0..2 {
        let running = follow(&home, &file, &trust);
        running.hears("what it prints", |line| line.contains("\"done\""));
        assert_eq!(running.interrupt(), Some(0));
    }

    let running = follow(&home, &file, &trust);
    while running.event("runs")["completed"] != 1 {}
    home.write("worker.yaml", job(&image, "[exit=3]"));
    let failed = running.wait_for("its code", |line| line.contains("\"exitCode\":3"));
    assert!(failed.contains("\"waiting\":1"), "{failed}");
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn a_component_with_ports_is_reached_at_the_address_that_is_told() {
    let home = Home::new();
    let (_registry, address) = home.registry(&[]);
    let trust = home.keygen(&format!("{address}/**"));
    let image = format!("{address}/echo:1");
    let echo = repository("tests/guests/echo/echo.wasm");
    let echo = echo.display().to_string();
    home.run(&["push", &image, &echo, "--sign", "cosign.key"])
        .success();
    let server = format!(
        "apiVersion: lighterman.dev/v1alpha1\nkind: WasmComponent\nmetadata: {{name: echo}}\nspec:\n  image: {image}\n  triggers: [{{name: main, run: {{ports: [{{name: tcp, port: 5000}}]}}}}]\n"
    );
    let file = home.write("echo.yaml", server);
    let running = follow(&home, &file, &trust);
    let runs = loop {
        let runs = running.event("runs");
        if runs["running"] == 1 {
            break runs;
        }
    };
    let url = runs["urls"][0].as_str().unwrap();
    let mut stream = TcpStream::connect(url.strip_prefix("tcp://").unwrap()).unwrap();
    stream.write_all(b"hello\n").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert_eq!(answer, "echo hello\n");
    assert_eq!(running.interrupt(), Some(0));
}

#[test]
fn a_preview_is_served_beside_the_component_at_an_address_of_its_own() {
    let home = Home::new();
    let previews = "  previews: [{name: next, image: \"registry.example/hello:2\"}]\n";
    let text = format!("{}{previews}", component("registry.example/hello:1"));
    let file = home.write("hello.yaml", text);
    let running = home.start(&[
        "run",
        &file,
        "--set-image",
        &format!("hello={}", hello()),
        "--set-image",
        &format!("hello-next={}", hello_v2()),
        "--port",
        &Home::port(),
        "-o",
        "json",
    ]);
    let mut served = [running.event("serving"), running.event("serving")];
    served.sort_by_key(|event| event["component"].to_string());
    for (event, (name, version)) in served
        .iter()
        .zip([("default/hello", "1"), ("default/hello-next", "2")])
    {
        assert_eq!(event["component"], name);
        let answer = get(event["urls"][0].as_str().unwrap());
        assert!(answer.contains(&format!("version: {version}")), "{answer}");
    }
    assert_eq!(running.interrupt(), Some(0));
}
