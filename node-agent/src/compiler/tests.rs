//! What the end of a child says, and how an order is read.

use std::os::unix::process::ExitStatusExt;

use super::*;

fn reason(status: ExitStatus) -> Reason {
    judge(status, b"complaint").unwrap_err().reason
}

#[test]
fn each_limit_has_its_own_reason() {
    assert_eq!(
        reason(ExitStatus::from_raw(libc::SIGXCPU)),
        Reason::CompileTimeout
    );
    assert_eq!(
        reason(ExitStatus::from_raw(libc::SIGXFSZ)),
        Reason::MachineCodeTooLarge
    );
    assert_eq!(
        reason(ExitStatus::from_raw(libc::SIGABRT)),
        Reason::CompileMemoryExceeded
    );
    assert_eq!(
        reason(ExitStatus::from_raw(libc::SIGKILL)),
        Reason::CompileMemoryExceeded
    );
}

#[test]
fn a_refusal_is_the_components_fault_and_a_missing_sandbox_ours() {
    let exited = |code: u8| ExitStatus::from_raw(i32::from(code) << 8);
    assert_eq!(reason(exited(REFUSED)), Reason::CompileFailed);
    assert_eq!(reason(exited(UNCONFINED)), Reason::CompilerUnavailable);
    assert!(judge(exited(0), b"").is_ok());
}

#[tokio::test]
async fn a_child_that_does_not_end_is_ended() {
    let sleeper = Program {
        path: "/bin/sleep".into(),
        arguments: vec!["60".into()],
    };
    let input = Input::new(EngineClass::SMALL, b"").unwrap();
    let refused = compile_within(&sleeper, input, Duration::from_millis(200))
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::CompileTimeout);
}

#[test]
fn an_order_says_its_class_and_keeps_every_byte() {
    let input = Input::new(EngineClass::LARGE, b"\0asm\nwith a newline").unwrap();
    let bytes = input.into_sealed().bytes().unwrap();
    assert_eq!(
        Input::split(&bytes),
        Some((EngineClass::LARGE, b"\0asm\nwith a newline".as_slice()))
    );
    assert_eq!(Input::split(b"winch\nbytes"), None);
    assert_eq!(Input::split(b"no newline"), None);
}
