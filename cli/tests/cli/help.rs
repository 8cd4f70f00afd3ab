//! `--help` tells what there is, and starts nothing.

use std::process::Command;

use super::program::{Home, repository};

#[test]
fn help_names_the_commands_and_the_exit_codes() {
    let help = Home::new().run(&["--help"]).success().stdout;
    for text in ["quickstart", "push", "verify", "check", "run", "Exit codes"] {
        assert!(help.contains(text), "no {text} in {help}");
    }
    assert!(
        !help.contains("compiler"),
        "what other processes call is not for people"
    );
}

/// An engine reserves its pools, and a runtime a stack per thread: neither fits.
#[test]
fn help_needs_no_room_for_an_engine() {
    let program = env!("CARGO_BIN_EXE_lighterman");
    let script = format!("ulimit -v 786432; exec {program} --help");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The parse comes first, and only one file can start threads.
#[test]
fn arguments_are_parsed_before_anything_is_started() {
    let main = std::fs::read_to_string(repository("cli/src/main.rs")).unwrap();
    let body = main.split_once("fn main()").unwrap().1;
    let first = body.lines().nth(1).unwrap();
    assert!(first.contains("Arguments::parse()"), "{first}");
    assert!(!main.contains("tokio"), "main.rs starts a runtime");
}

#[test]
fn a_wrong_argument_is_told_with_what_is_right() {
    Home::new()
        .run(&["completions", "tcsh"])
        .fails(2, &["bash"]);
    Home::new()
        .run(&["run", "a.yaml", "--set-image", "hello"])
        .fails(2, &["NAME=FILE.wasm"]);
}
