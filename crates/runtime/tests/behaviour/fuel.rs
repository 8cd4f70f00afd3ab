//! A limit of fuel ends a call at the same instruction every time.

use crate::support::{
    ASYNC_HELLO, HELLO, PROBE, code, count, eventually, get, request, runtime, runtime_p3, workload,
};
use http::StatusCode;
use http_body_util::BodyExt;
use runtime::{Component, EngineClass, LoadError, Outcome, Runtime, Workload};
use std::sync::Arc;

fn metered(name: &str, fuel: u64) -> Workload {
    let mut workload = workload(name);
    workload.limits.per_call.fuel = Some(fuel);
    workload
}

fn load(runtime: &Arc<Runtime>, wasm: &[u8], fuel: u64) -> Arc<Component> {
    let code = code(EngineClass::SMALL.metered(), wasm);
    runtime.load(&code, metered("probe", fuel)).unwrap()
}

#[tokio::test]
async fn a_loop_ends_as_fuel_exhausted_and_every_call_has_its_own() {
    let component = load(&runtime(), PROBE, 50_000_000);
    for calls in 1..=3 {
        let spin = get(&component, "/spin").await;
        assert_eq!(
            (spin.status, spin.reason().as_str()),
            (StatusCode::INTERNAL_SERVER_ERROR, "FuelExhausted")
        );
        assert_eq!(count(&component, Outcome::FuelExhausted), calls);
        assert_eq!(get(&component, "/").await.text, "probe\n");
    }
}

const CALLS: u64 = 3;

#[tokio::test]
async fn the_same_call_uses_the_same_fuel() {
    let runtime = runtime();
    let answers = async |fuel: u64| {
        let component = load(&runtime, HELLO, fuel);
        let ended = || {
            let whole = count(&component, Outcome::Completed);
            (whole, count(&component, Outcome::FuelExhausted))
        };
        for _ in 0..CALLS {
            // Fuel may end behind the head, and behind the last byte of the answer.
            let answer = component.handle(request("/")).await;
            let _ = answer.into_body().collect().await;
        }
        eventually("all calls have ended", || ended().0 + ended().1 == CALLS).await;
        match ended() {
            (CALLS, 0) => true,
            (0, CALLS) => false,
            mixed => panic!("with {fuel} units of fuel: {mixed:?}"),
        }
    };
    let (mut too_little, mut enough) = (0, 10_000_000);
    assert!(answers(enough).await, "hello needs more than it should");
    while enough - too_little > 1 {
        let middle = too_little.midpoint(enough);
        match answers(middle).await {
            true => enough = middle,
            false => too_little = middle,
        }
    }
    assert!(enough > 1_000, "hello has run on {enough} units of fuel");
}

#[tokio::test]
async fn a_component_of_wasi_0_3_is_metered_too() {
    let runtime = runtime_p3();
    let code = code(EngineClass::P3.metered(), ASYNC_HELLO);
    let component = runtime.load(&code, metered("hello", 50_000_000)).unwrap();
    assert_eq!(get(&component, "/spin").await.reason(), "FuelExhausted");
    assert_eq!(get(&component, "/").await.status, StatusCode::OK);
}

#[test]
fn code_that_does_not_count_is_not_loaded_for_a_limit_of_fuel() {
    let runtime = runtime();
    let refused = |class: EngineClass, workload: Workload| {
        let error = runtime.load(&code(class, HELLO), workload).unwrap_err();
        assert!(matches!(error, LoadError::Metering { .. }), "{error}");
    };
    refused(EngineClass::SMALL, metered("hello", 1_000_000));
    refused(EngineClass::SMALL.metered(), workload("hello"));
}
