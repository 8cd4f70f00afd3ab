//! The child that reads hostile bytes first, as a real process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

use artifact::Parcel;
use bytes::Bytes;
use crds::Reason;
use operator::inspector::{InspectError, Inspector, ROLE};

fn inspector() -> Inspector {
    let program = env!("CARGO_BIN_EXE_lighterman-operator").into();
    Inspector::new(program, vec![ROLE.to_owned()])
}

fn parcel(layer: Vec<u8>) -> Parcel {
    Parcel {
        manifest: Bytes::from_static(b"{}"),
        config: Bytes::from_static(b"{}"),
        layer: layer.into(),
        bundles: vec![Bytes::from_static(b"no bundle")],
    }
}

#[tokio::test]
async fn a_component_comes_through_and_so_does_what_only_is_no_component() {
    let hello = wat::parse_str("(component)").unwrap();
    inspector().inspect(&parcel(hello)).await.unwrap();
    // Refused, with its reason, by whoever judges; the child only has to live.
    inspector()
        .inspect(&parcel(b"not wasm".to_vec()))
        .await
        .unwrap();
}

/// Two core modules of a million types each, no two alike: 46 MB that become much more.
#[tokio::test]
async fn a_component_that_takes_all_memory_ends_the_child_and_is_invalid() {
    let error = inspector()
        .inspect(&parcel(types(2, 1_000_000)))
        .await
        .unwrap_err();
    assert!(matches!(error, InspectError::Fatal { .. }), "{error}");
    assert_eq!(error.reason(), Reason::InvalidComponent);
    assert!(
        error.is_verdict() && error.to_string().contains("300 MiB"),
        "{error}"
    );
    // The next one is none the worse for it.
    let hello = wat::parse_str("(component)").unwrap();
    inspector().inspect(&parcel(hello)).await.unwrap();
}

#[tokio::test]
async fn a_child_that_crashes_is_the_images_fault() {
    let shell = Inspector::new("/bin/sh".into(), vec!["-c".into(), "kill -SEGV $$".into()]);
    let error = shell.inspect(&parcel(Vec::new())).await.unwrap_err();
    assert_eq!(error.reason(), Reason::InvalidComponent);
}

#[tokio::test]
async fn a_child_that_cannot_be_started_is_not_the_images_fault() {
    let missing = Inspector::new("/nonexistent".into(), Vec::new());
    let error = missing.inspect(&parcel(Vec::new())).await.unwrap_err();
    assert!(
        !error.is_verdict() && error.reason() == Reason::HostFault,
        "{error}"
    );
}

fn types(modules: u32, count: u32) -> Vec<u8> {
    /// i32, i64, f32, f64.
    const VALUES: [u8; 4] = [0x7f, 0x7e, 0x7d, 0x7c];
    const PARAMETERS: u32 = 20;
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    for module in 0..modules {
        let mut section = Vec::new();
        number(&mut section, count);
        for index in 0..count {
            // Two bits a parameter: the number of the type, and of the module.
            let bits = u64::from(index) << 8 | u64::from(module);
            section.extend([0x60, 20]);
            section.extend((0..PARAMETERS).map(|at| VALUES[(bits >> (2 * at) & 3) as usize]));
            section.push(0);
        }
        let mut body = b"\0asm\x01\0\0\0\x01".to_vec();
        number(&mut body, u32::try_from(section.len()).unwrap());
        body.extend(section);
        component.push(1);
        number(&mut component, u32::try_from(body.len()).unwrap());
        component.extend(body);
    }
    component
}

/// Unsigned LEB128.
fn number(into: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}
