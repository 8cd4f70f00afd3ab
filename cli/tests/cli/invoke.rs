//! Functions of a local build are called by hand.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use super::program::{Home, hello, repository};

fn tools() -> String {
    let tools = repository("tests/guests/tools/tools.wasm");
    tools.display().to_string()
}

#[test]
fn a_function_is_called_and_says_what_it_gives() {
    let home = Home::new();
    let tools = tools();
    for (call, says) in [
        ("add(1, 2)", "3\n"),
        ("acme:math/tools@1.2.0#add(1, 2)", "3\n"),
        ("acme:math/tools@1#divide(7, 2)", "ok(3)\n"),
        (r##"text("# (")"##, "\"# (\"\n"),
        ("nothing()", "nothing gives nothing\n"),
        ("lone(4)", "4\n"),
    ] {
        let ended = home.run(&["invoke", &tools, call]).success();
        assert_eq!(ended.stdout, says, "{call}: {ended:?}");
    }
    let told = home
        .run(&[
            "invoke",
            &tools,
            "unsigned(18446744073709551615)",
            "-o",
            "json",
        ])
        .success()
        .json();
    assert_eq!(
        told,
        json!({
            "interface": "acme:shapes/echo@1.0.0",
            "function": "unsigned",
            "result": 18_446_744_073_709_551_615_u64,
            "wave": "18446744073709551615",
            "isError": false,
        })
    );
}

#[test]
fn an_error_of_the_function_and_a_trap_are_failures() {
    let home = Home::new();
    let tools = tools();
    let ended = home.run(&["invoke", &tools, "divide(1, 0)"]);
    assert_eq!(ended.stdout, "err(\"division by zero\")\n");
    ended.fails(1, &["divide gave an error"]);
    let ended = home.run(&["invoke", &tools, "trap()"]);
    ended.fails(1, &["ended with Trapped"]);
}

#[test]
fn what_is_not_there_is_answered_with_what_is() {
    let home = Home::new();
    let tools = tools();
    let add = "acme:math/tools@1.2.0#add: func(a: u32, b: u32) -> u32";
    let listed = home.run(&["invoke", &tools]).success().stdout;
    assert!(listed.contains(add), "{listed}");
    assert!(listed.contains("lone: func(value: u32) -> u32"), "{listed}");
    assert!(
        listed.contains("open (not to be called: its signature has a resource"),
        "{listed}"
    );
    let missing = home.run(&["invoke", &tools, "sub(1, 2)"]);
    missing.fails(2, &["has no function sub", add]);
    let elsewhere = home.run(&["invoke", &tools, "acme:math/tools@2#add(1, 2)"]);
    elsewhere.fails(2, &["has no function add", add]);
    let wrong = home.run(&["invoke", &tools, "add(1)"]);
    wrong.fails(2, &["the arguments do not fit", add]);
    let unread = home.run(&["invoke", &tools, "add"]);
    unread.fails(2, &["is no call"]);
    let none = home.run(&["invoke", &hello(), "add(1, 2)"]);
    none.fails(2, &["has no function add"]);
}

/// Status line and body of a call over HTTP.
fn call(url: &str, path: &str, arguments: &str) -> (String, String) {
    let host = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    let length = arguments.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{arguments}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn functions_are_called_over_http_as_the_yaml_of_the_examples_says() {
    let home = Home::new();
    let file = repository("examples/tools.yaml").display().to_string();
    let set = format!("tools={}", tools());
    let port = Home::port();
    let running = home.start(&[
        "run",
        &file,
        "--set-image",
        &set,
        "--port",
        &port,
        "-o",
        "json",
    ]);
    let serving = running.event("serving");
    let url = serving["urls"][0].as_str().unwrap();
    let (status, sum) = call(url, "/acme:math/tools@1/add", r#"{"a": 1, "b": 2}"#);
    assert_eq!((&*status, &*sum), ("HTTP/1.1 200 OK", "3\n"));
    let (status, wrong) = call(url, "/acme:math/tools@1/add", r#"{"a": 1, "b": -2}"#);
    assert_eq!(status, "HTTP/1.1 400 Bad Request");
    assert!(wrong.contains(r#""path":"$.b""#), "{wrong}");
    assert_eq!(running.interrupt(), Some(0));
}
