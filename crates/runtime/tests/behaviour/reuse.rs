//! An instance answers more than once only where its component wants that, every ceiling
//! admits it, and all went well.

use crate::support::{
    ASYNC_HELLO, PROBE, code, eventually, get, load, read, request, runtime, runtime_p3, workload,
};
use capability::{Allow, Ceiling, Effective, Span, Values};
use runtime::{Caller, Component, Credential, EngineClass, Workload};
use std::sync::Arc;
use std::time::Duration;

fn ceiling(instance_reuse: bool) -> Ceiling {
    Ceiling {
        policy: "tenants".into(),
        allow: Allow {
            instance_reuse,
            ..Allow::default()
        },
        ..Ceiling::default()
    }
}

fn under(ceilings: Vec<Ceiling>) -> Arc<Effective> {
    Arc::new(Effective {
        ceilings,
        ..Effective::default()
    })
}

/// Instances of the workload answer up to three requests.
fn reused(workload: &mut Workload) {
    workload.limits.instances.max_requests = 3;
    workload.limits.instances.idle_timeout = Span::seconds(60);
    workload.effective = under(vec![ceiling(true)]);
}

fn probe(adjust: impl FnOnce(&mut Workload)) -> Arc<Component> {
    load(&runtime(), PROBE, |workload| {
        reused(workload);
        adjust(workload);
    })
}

/// Bytes that an earlier request has left.
async fn stains(component: &Component) -> u64 {
    let stains = get(component, "/clean").await.text.trim().parse().unwrap();
    rest(component).await;
    stains
}

/// Leaves some.
async fn stain(component: &Component) {
    assert!(get(component, "/dirty").await.status.is_success());
    rest(component).await;
}

/// Waits until the instance does nothing else: its answer may be read before it has returned.
async fn rest(component: &Component) {
    eventually("it is at rest", || component.stats().live == 0).await;
}

#[tokio::test]
async fn an_instance_answers_as_often_as_it_may_and_then_is_gone() {
    let component = probe(|_| {});
    stain(&component).await;
    assert_ne!(stains(&component).await, 0, "the second request");
    assert_ne!(stains(&component).await, 0, "the third request");
    assert_eq!(stains(&component).await, 0, "the fourth request");
}

#[tokio::test]
async fn without_a_ceiling_or_with_one_that_does_not_admit_it_every_instance_is_fresh() {
    for ceilings in [vec![], vec![ceiling(true), ceiling(false)]] {
        let component = probe(|workload| workload.effective = under(ceilings));
        stain(&component).await;
        assert_eq!(stains(&component).await, 0);
        assert_eq!(component.stats().memory, 0);
    }
}

#[tokio::test]
async fn with_a_credential_every_instance_is_fresh() {
    let component = probe(|workload| {
        let host = "api.example.com".parse().unwrap();
        let credential = Credential::new(
            host,
            443,
            "authorization",
            "Bearer {}",
            "a secret of some length",
        );
        workload.credentials = vec![credential.unwrap()];
    });
    stain(&component).await;
    assert_eq!(stains(&component).await, 0);
}

#[tokio::test]
async fn an_instance_that_trapped_or_ran_too_long_answers_nobody_else() {
    let component = probe(|workload| {
        workload.limits.instances.max_requests = 100;
        workload.limits.per_call.timeout = Span::milliseconds(500);
    });
    for end in ["/trap", "/exit", "/sleep?ms=5000", "/silent"] {
        stain(&component).await;
        assert!(!get(&component, end).await.status.is_success(), "{end}");
        assert_eq!(stains(&component).await, 0, "after {end}");
        // It rests now, and the next round begins with it.
    }
}

#[tokio::test]
async fn an_instance_answers_for_one_trigger_only() {
    let component = probe(|_| {});
    let caller = |trigger: &str, last: u8| {
        Arc::new(Caller {
            trigger: trigger.into(),
            address: Some([192, 0, 2, last].into()),
        })
    };
    let (public, admin, other) = (caller("public", 1), caller("admin", 1), caller("admin", 2));
    let ask = async |caller: &Arc<Caller>, path: &str| {
        read(component.handle_for(Some(caller), request(path)).await).await
    };
    ask(&admin, "/dirty").await;
    assert_eq!(ask(&public, "/clean").await.text, "0\n");
    assert_ne!(ask(&other, "/clean").await.text, "0\n");
}

#[tokio::test]
async fn what_waits_holds_memory_and_gives_it_back_in_time() {
    let component = probe(|workload| {
        workload.limits.instances.idle_timeout = Span::milliseconds(200);
    });
    stain(&component).await;
    assert_ne!(component.stats().memory, 0, "it waits");
    assert_eq!(component.stats().live, 0, "and nothing runs");
    eventually("its memory is given back", || component.stats().memory == 0).await;
    assert_eq!(stains(&component).await, 0);
}

#[tokio::test]
async fn what_is_handed_something_else_starts_anew() {
    let component = probe(|_| {});
    stain(&component).await;
    component
        .refresh(
            under(vec![ceiling(true)]),
            Values::default(),
            Vec::new(),
            Vec::new(),
        )
        .unwrap();
    assert_eq!(component.stats().memory, 0);
    assert_eq!(stains(&component).await, 0);
    // A ceiling that is lowered holds for what waits, too.
    component
        .refresh(
            under(vec![ceiling(false)]),
            Values::default(),
            Vec::new(),
            Vec::new(),
        )
        .unwrap();
    stain(&component).await;
    assert_eq!(stains(&component).await, 0);
}

#[tokio::test]
async fn requests_at_the_same_time_have_an_instance_each() {
    let component = probe(|_| {});
    // The one that rests from now on is taken by the first of two.
    assert!(get(&component, "/dirty").await.status.is_success());
    let (one, other) = tokio::join!(get(&component, "/sleep?ms=100"), get(&component, "/clean"));
    assert!(one.status.is_success());
    assert_eq!(other.text, "0\n");
}

#[tokio::test]
async fn a_component_of_wasi_0_3_may_keep_its_instances() {
    let runtime = runtime_p3();
    let mut workload = workload("hello");
    reused(&mut workload);
    workload.limits.instances.idle_timeout = Span::seconds(1);
    let component = runtime
        .load(&code(EngineClass::P3, ASYNC_HELLO), workload)
        .unwrap();
    for _ in 0..7 {
        assert!(get(&component, "/").await.status.is_success());
    }
    eventually("the last one waits", || {
        component.stats().live == 0 && component.stats().memory != 0
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    eventually("and then is gone", || component.stats().memory == 0).await;
}
