//! `run` starts executables of this machine: what a component, a policy and a flag name together.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::program::{Home, repository};

const STARTER: &str = "apiVersion: lighterman.dev/v1alpha1
kind: WasmComponent
metadata: {name: starter}
spec:
  image: registry.example/starter:1
  triggers: [{name: web, http: {}}]
  capabilities: {process: {spawn: [/bin/sh]}}
---
apiVersion: lighterman.dev/v1alpha1
kind: CapabilityPolicy
metadata: {name: tools}
spec:
  mode: Enforce
  allow: {process: {spawn: [/bin/sh]}}
";
const LIBRARIES: [&str; 3] = ["/lib", "/lib64", "/usr/lib"];

/// What a component answers to this body.
fn post(url: &str, body: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn an_executable_of_this_machine_needs_the_flag_besides_the_policy() {
    let home = Home::new();
    let wasm = repository("tests/guests/starter/starter.wasm");
    let wasm = format!("starter={}", wasm.display());
    let file = home.write("starter.yaml", STARTER);
    let port = Home::port();
    let run = [
        "run",
        &file,
        "--set-image",
        &wasm,
        "--port",
        &port,
        "-o",
        "json",
    ];
    let refused = home.run(&run).fails(1, &[]).stderr;
    assert!(refused.contains("--spawner-executable"), "{refused}");

    let mut flags = vec!["--spawner-executable", "/bin/sh"];
    flags.extend(
        LIBRARIES
            .iter()
            .flat_map(|library| ["--spawner-file", library]),
    );
    let running = home.start(&[&run[..], &flags].concat());
    let url = running.event("serving")["urls"][0].clone();
    let order = "do=run&executable=/bin/sh&argument=-c&argument=echo+$1&argument=x&argument=hi\ndo=run&executable=/bin/cat";
    let answer = post(url.as_str().unwrap(), order);
    assert!(answer.contains("exited 0 hi!"), "{answer}");
    assert!(answer.contains("access-denied"), "{answer}");
    assert_eq!(running.interrupt(), Some(0));
}
