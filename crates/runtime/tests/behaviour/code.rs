//! Machine code is mapped only from memory that can not change, and only if it is ours.

use crate::support::{HELLO, code, get, runtime, verified, workload};
use runtime::{Code, CodeError, EngineClass, LoadError};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

#[tokio::test]
async fn sealed_code_can_not_be_written_and_serves_on_the_other_side_of_a_socket() {
    let code = code(EngineClass::SMALL, HELLO);
    let copy: OwnedFd = code.as_fd().try_clone_to_owned().unwrap();
    assert!(
        File::from(copy.try_clone().unwrap())
            .write_all(b"x")
            .is_err()
    );
    assert!(File::from(copy.try_clone().unwrap()).set_len(0).is_err());
    drop(code);
    let received = Code::received(EngineClass::SMALL, copy).unwrap();
    let component = runtime().load(&received, workload("hello")).unwrap();
    assert!(get(&component, "/x").await.text.contains("path: /x"));
}

#[test]
fn code_that_could_still_change_is_refused() {
    let name = c"unsealed";
    let fd = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::fcntl_add_seals(&fd, rustix::fs::SealFlags::WRITE).unwrap();
    let error = Code::received(EngineClass::SMALL, fd).unwrap_err();
    let CodeError::Unsealed { missing } = &error else {
        panic!("{error}")
    };
    assert!(
        missing.contains("GROW") && missing.contains("SHRINK") && missing.contains("SEAL"),
        "{missing}"
    );
    let file: OwnedFd = File::open("/proc/self/exe").unwrap().into();
    assert!(Code::received(EngineClass::SMALL, file).is_err());
}

#[test]
fn code_of_another_engine_and_bytes_that_are_no_code_are_refused() {
    let runtime = runtime();
    let verified = verified(HELLO);
    let other = runtime::compile::compile(EngineClass::P3, HELLO).unwrap();
    for bytes in [other.as_slice(), b"not code", b""] {
        let code = Code::seal(&verified, EngineClass::SMALL, bytes).unwrap();
        let error = runtime.load(&code, workload("hello")).unwrap_err();
        assert!(matches!(error, LoadError::Incompatible(_)), "{error}");
    }
}
