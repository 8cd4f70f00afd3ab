//! `run` grants what request, grant and policies allow together, and says what is missing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::program::{Home, Running, get, repository};

const EXAMPLE: &str = "data-processor";

fn example(name: &str, file: &str) -> String {
    let path = repository("examples").join(name).join(file);
    format!("{name}={}", path.display())
}

fn yaml(name: &str) -> String {
    std::fs::read_to_string(repository(&format!("examples/{name}.yaml"))).unwrap()
}

/// The arguments that run an example from this YAML.
fn arguments<'a>(file: &'a str, wasm: &'a str, manifest: &'a str) -> Vec<&'a str> {
    vec![
        "run",
        file,
        "--set-image",
        wasm,
        "--manifest",
        manifest,
        "-o",
        "json",
    ]
}

/// Runs an example from this YAML; the URL it serves at.
fn serve(home: &Home, name: &str, file: &str, more: &[&str]) -> (Running, String) {
    let wasm = example(name, &format!("{name}.wasm"));
    let manifest = example(name, "Component.toml");
    let port = Home::port();
    let mut arguments = arguments(file, &wasm, &manifest);
    arguments.extend(["--port", &port, "--poll", "200ms"]);
    arguments.extend(more);
    let running = home.start(&arguments);
    let url = running.event("serving")["urls"][0]
        .as_str()
        .unwrap()
        .to_owned();
    (running, url)
}

/// What `run` says against this YAML.
fn refused(yaml: String) -> String {
    let home = Home::new();
    let file = home.write("refused.yaml", yaml);
    let wasm = example(EXAMPLE, "data-processor.wasm");
    let manifest = example(EXAMPLE, "Component.toml");
    home.run(&arguments(&file, &wasm, &manifest))
        .fails(1, &[])
        .stderr
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(folder).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => find(&path, name),
            false => (path.file_name()? == name).then_some(path),
        }
    })
}

#[test]
fn the_example_reads_its_input_and_writes_its_output_and_nothing_else() {
    let home = Home::new();
    let file = home.write("data-processor.yaml", yaml(EXAMPLE));
    let (running, url) = serve(&home, EXAMPLE, &file, &[]);

    let summary = "orders.csv: 3 lines, 3 words, 28 bytes\n";
    assert_eq!(get(&format!("{url}/input/orders.csv")), summary);
    let written = find(&home.path(""), "orders.csv.summary").unwrap();
    assert_eq!(std::fs::read_to_string(written).unwrap(), summary);

    let own = get(&format!("{url}/output/orders.csv.summary"));
    assert!(own.contains("Permission denied"), "{own}");
    let absent = get(&format!("{url}/input/absent.csv"));
    assert!(absent.contains("No such file"), "{absent}");
    assert_eq!(running.interrupt(), Some(0));
    assert_eq!(find(&home.path(""), "orders.csv.summary"), None);
}

#[test]
fn a_changed_config_map_reaches_the_next_request() {
    let home = Home::new();
    let file = home.write("data-processor.yaml", yaml(EXAMPLE));
    let (_running, url) = serve(&home, EXAMPLE, &file, &[]);
    assert!(get(&format!("{url}/input/orders.csv")).contains("3 lines"));
    home.write(
        "data-processor.yaml",
        yaml(EXAMPLE).replace("    2,7.90\n", "    2,7.90\n    3,1.00\n"),
    );
    until("the fourth line is read", || {
        get(&format!("{url}/input/orders.csv")).contains("4 lines")
    });
}

#[test]
fn what_is_asked_for_and_not_granted_is_refused_with_the_yaml_that_grants_it() {
    let granted = yaml(EXAMPLE);
    let (start, end) = (
        granted.find("  volumes:").unwrap(),
        granted.find("---").unwrap(),
    );
    let nothing = format!("{}{}", &granted[..start], &granted[end..]);
    let said = refused(nothing.clone());
    assert!(said.contains("CapabilityNotGranted"), "{said}");

    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let what = said["error"]["what"].as_str().unwrap();
    let (_, proposed) = what.split_once("spec:\n").unwrap();
    let home = Home::new();
    let mended = format!("{}{proposed}{}", &granted[..start], &granted[end..]);
    let file = home.write("mended.yaml", mended);
    home.run(&["check", &file]).success();
    serve(&home, EXAMPLE, &file, &[]);
}

#[test]
fn what_a_policy_does_not_admit_is_refused_with_its_name() {
    let said = refused(yaml(EXAMPLE).replace("[emptyDir, configMap]", "[configMap]"));
    for text in [
        "CapabilityAboveCeiling",
        "CapabilityPolicy data",
        "emptyDir",
    ] {
        assert!(said.contains(text), "no {text} in {said}");
    }
}

#[test]
fn without_a_policy_nothing_can_be_granted() {
    let whole = yaml(EXAMPLE);
    let policy = whole.rfind("---").unwrap();
    let said = refused(whole[..policy].to_owned());
    assert!(said.contains("CapabilityAboveCeiling"), "{said}");
    assert!(said.contains("no CapabilityPolicy"), "{said}");
}

#[test]
fn a_directory_of_this_machine_needs_the_flag_besides_the_policy() {
    let home = Home::new();
    let folder = home.path("orders");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("today.csv"), "one\n").unwrap();
    let folder = folder.display().to_string();
    let text = yaml(EXAMPLE)
        .replace(
            "configMap: {name: orders}",
            &format!("hostPath: {{path: {folder}}}"),
        )
        .replace(
            "volumes: [emptyDir, configMap]",
            &format!("volumes: [emptyDir, hostPath]\n    hostPaths: [\"{folder}/**\"]"),
        );
    let file = home.write("host-path.yaml", &text);
    let (_running, url) = serve(&home, EXAMPLE, &file, &["--host-path", &folder]);
    assert!(get(&format!("{url}/input/today.csv")).contains("1 lines"));

    let said = refused(text);
    assert!(said.contains("--host-path"), "{said}");
}

#[test]
fn what_was_observed_and_suggested_is_enough() {
    let home = Home::new();
    // A right to something in each volume, so that it sees the directory and asks.
    let blind = yaml(EXAMPLE)
        .replace("/data/input/**", "/data/input/nothing")
        .replace("/data/output/**", "/data/output/nothing");
    let file = home.write("blind.yaml", &blind);
    let wasm = example(EXAMPLE, "data-processor.wasm");
    let port = Home::port();
    let observe = |file: &str, audit: &str| {
        let running = home.start(&[
            "run",
            file,
            "--set-image",
            &wasm,
            "--observe",
            audit,
            "--port",
            &port,
            "--poll",
            "200ms",
            "-o",
            "json",
        ]);
        let url = running.event("serving")["urls"][0]
            .as_str()
            .unwrap()
            .to_owned();
        let answer = get(&format!("{url}/input/orders.csv"));
        until("the denial is recorded", || {
            let records = std::fs::read_to_string(home.path(audit)).unwrap();
            records.contains("NotGranted")
        });
        assert_eq!(running.interrupt(), Some(0));
        answer
    };
    let denied = observe(&file, "first.jsonl");
    assert!(
        denied.contains("/data/input/orders.csv: Permission denied"),
        "{denied}"
    );
    let first = home
        .run(&["suggest", "first.jsonl", "-o", "json"])
        .success();
    let manifest = first.json()[0]["manifest"].as_str().unwrap().to_owned();
    assert!(
        manifest.contains("\"/data/input/orders.csv\""),
        "{manifest}"
    );

    // The next attempt gets further, and shows what comes then.
    let readable = blind.replace("/data/input/nothing", "/data/input/orders.csv");
    let file = home.write("readable.yaml", &readable);
    let denied = observe(&file, "second.jsonl");
    assert!(
        denied.contains("/data/output/orders.csv.summary"),
        "{denied}"
    );
    let second = home
        .run(&["suggest", "second.jsonl", "-o", "json"])
        .success();
    let second = second.json()[0].clone();
    let (manifest, grant) = (
        second["manifest"].as_str().unwrap(),
        second["grant"].as_str().unwrap(),
    );
    for path in ["/data/input/orders.csv", "/data/output/orders.csv.summary"] {
        assert!(
            manifest.contains(path) && grant.contains(path),
            "{manifest}{grant}"
        );
    }
    assert!(
        !manifest.contains('*') && !grant.contains('*'),
        "{manifest}{grant}"
    );
    home.run(&[
        "run",
        &file,
        "--set-image",
        &wasm,
        "--observe",
        "second.jsonl",
    ])
    .fails(3, &["second.jsonl exists already"]);
}

#[test]
fn the_example_with_credentials_runs_and_needs_its_secret() {
    let home = Home::new();
    let name = "releases";
    let file = home.write("releases.yaml", yaml(name));
    let (_running, url) = serve(&home, name, &file, &[]);
    // No test reaches the internet: what comes is the error that the guest was given.
    let answer = get(&format!("{url}/bytecodealliance/wasmtime"));
    assert!(!answer.contains("replace-me"), "{answer}");

    let wasm = example(name, "releases.wasm");
    let manifest = example(name, "Component.toml");
    let file = home.write(
        "missing.yaml",
        yaml(name)
            .replace("stringData:", "data:")
            .replace("replace-me", "")
            .replace("  token: \n", "  other: b2xk\n"),
    );
    home.run(&arguments(&file, &wasm, &manifest))
        .fails(1, &["SecretKeyMissing", "github"]);
}
