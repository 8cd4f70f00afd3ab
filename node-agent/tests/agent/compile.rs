//! The child of a compile, as a real process.

use std::collections::BTreeSet;
use std::fmt::Write;

use crds::Reason;
use node_agent::compiler::{Input, compile};
use node_agent::config::Program;
use runtime::EngineClass;

use crate::rig::{compile_program, hello};

#[tokio::test]
async fn a_component_becomes_machine_code_in_a_confined_child() {
    let input = Input::new(EngineClass::SMALL, &hello(1)).unwrap();
    let code = compile(&compile_program(), input).await.unwrap();
    assert_eq!(&code.bytes().unwrap()[..4], b"\x7fELF");
}

#[tokio::test]
async fn a_component_that_bombs_the_compiler_ends_at_the_memory_limit() {
    // Every loop header needs a parameter for every local that is read inside: 60 million.
    let (locals, loops) = (40_000, 1_500);
    let mut wat = String::from("(component (core module (func (local");
    wat.push_str(&" i64".repeat(locals));
    wat.push_str(") ");
    wat.push_str(&"loop ".repeat(loops));
    for local in 0..locals {
        write!(
            wat,
            "(local.set {local} (i64.add (local.get {local}) (i64.const 1)))"
        )
        .unwrap();
    }
    wat.push_str("(br_if 0 (i64.eqz (local.get 0)))");
    wat.push_str(&" end".repeat(loops));
    wat.push_str(")))");
    let input = Input::new(EngineClass::SMALL, &wat::parse_str(&wat).unwrap()).unwrap();
    let refused = compile(&compile_program(), input).await.unwrap_err();
    assert_eq!(
        refused.reason,
        Reason::CompileMemoryExceeded,
        "{}",
        refused.message
    );
}

#[tokio::test]
async fn bytes_that_are_no_component_are_refused_with_the_compilers_words() {
    let input = Input::new(EngineClass::SMALL, b"not wasm").unwrap();
    let refused = compile(&compile_program(), input).await.unwrap_err();
    assert_eq!(refused.reason, Reason::CompileFailed, "{}", refused.message);
    assert!(!refused.message.is_empty());
}

#[tokio::test]
async fn the_child_has_no_environment_and_only_its_three_streams() {
    let shell = |script: &str| Program {
        path: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
    };
    let output = async |script: &str| {
        let input = Input::new(EngineClass::SMALL, b"").unwrap();
        let bytes = compile(&shell(script), input)
            .await
            .unwrap()
            .bytes()
            .unwrap();
        String::from_utf8(bytes).unwrap()
    };
    // The shell itself sets PWD and its like.
    let environment = output("cat /proc/self/environ; echo .").await;
    assert!(
        !environment.contains("PATH=") && !environment.contains("CARGO"),
        "{environment}"
    );
    let inherited = inherited_descriptors();
    let descriptors = output("for fd in /proc/$$/fd/*; do echo ${fd##*/}; done").await;
    let beyond: Vec<_> = descriptors
        .lines()
        .filter(|fd| !inherited.contains(*fd))
        .collect();
    // The shell holds one descriptor of its own while it reads the directory.
    assert!(beyond.len() <= 1, "{descriptors}");
}

/// What whoever started this test left open for all its children; nothing of ours is among it.
fn inherited_descriptors() -> BTreeSet<String> {
    const CLOEXEC: u32 = 0o2_000_000;
    let mut inherited = BTreeSet::new();
    for entry in std::fs::read_dir("/proc/self/fdinfo").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Ok(info) = std::fs::read_to_string(format!("/proc/self/fdinfo/{name}")) else {
            continue;
        };
        let flags = info
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .unwrap()
            .trim();
        if u32::from_str_radix(flags, 8).unwrap() & CLOEXEC == 0 {
            inherited.insert(name);
        }
    }
    inherited
}

#[tokio::test]
async fn a_compiler_that_cannot_be_started_is_no_fault_of_the_component() {
    let missing = Program {
        path: "/nonexistent".into(),
        arguments: Vec::new(),
    };
    let input = Input::new(EngineClass::SMALL, b"").unwrap();
    let refused = compile(&missing, input).await.unwrap_err();
    assert_eq!(refused.reason, Reason::CompilerUnavailable);
}
