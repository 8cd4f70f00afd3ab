//! Functions of a local build are called by hand.

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
