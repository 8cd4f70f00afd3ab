//! Many components at once: one question for all who ask the same, and few for
//! a registry that does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::Method;
use crds::Reason;
use operator::resolver::Resolution;
use registry::development::Access;
use serde_json::json;
use tokio::net::TcpListener;

use crate::fixture::*;

#[tokio::test]
async fn two_hundred_components_of_a_dead_registry_are_few_connections_and_few_reads() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    // Each connection is closed as soon as it is made.
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let world = World::start(Access::Open).await;
    world.trust(address);
    let operator = world.operator(None).await;
    let components: Vec<_> = (0..200)
        .map(|number| {
            let image = format!("{address}/shop/orders-{number}:1").parse().unwrap();
            component("shop", &format!("orders-{number}"), &image, &["pull"])
        })
        .collect();
    world
        .api
        .secret("shop", "pull", ".dockerconfigjson", &json!({"auths": {}}));
    for _ in 0..3 {
        for component in &components {
            operator.look(component);
        }
        for component in &components {
            while operator.look(component).0 == Resolution::Pending {
                operator.ended().await;
            }
            let (resolution, again) = operator.look(component);
            let Resolution::Failed(failure) = resolution else {
                panic!("{resolution:?}");
            };
            assert_eq!(failure.reason, Reason::RegistryUnreachable);
            // The message names no time, so that the status stays as it is.
            assert!(failure.message.contains("cannot be reached"));
            assert!(again.is_none_or(|again| again < Duration::from_secs(70)));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let connections = connections.load(Ordering::SeqCst);
    assert!(connections <= 20, "{connections} connections");
    assert!(world.api.reads() <= 20, "{} reads", world.api.reads());
}

#[tokio::test]
async fn components_of_one_tag_and_the_same_credentials_are_one_question() {
    let world = World::private().await;
    let (image, digest) = world.publish("private/orders:1").await;
    let config = json!({"auths": world.auths(PASSWORD)});
    let components: Vec<_> = (0..50)
        .map(|number| {
            // In namespaces of their own, with Secrets that say the same.
            let namespace = format!("shop-{}", number % 5);
            world
                .api
                .secret(&namespace, "pull", ".dockerconfigjson", &config);
            component(&namespace, &format!("orders-{number}"), &image, &["pull"])
        })
        .collect();
    let operator = world.operator(None).await;
    for component in &components {
        operator.look(component);
    }
    for component in &components {
        assert_eq!(operator.admitted(component).await, digest);
    }
    let heads = world.registry.requests();
    let heads = heads
        .iter()
        .filter(|request| request.method == Method::HEAD && request.authorization.is_some());
    // Those that came while the first question was under way share the next.
    let count = heads.count();
    assert!(count <= 12, "{count} questions for 50 components");
    let layers = world.blobs().len();
    assert!(layers <= 3, "{layers} blobs for 50 components");

    // They have their next turn at the same moment.
    let turns: Vec<Duration> = components
        .iter()
        .map(|component| operator.look(component).1.unwrap())
        .collect();
    let (first, last) = (turns.iter().min().unwrap(), turns.iter().max().unwrap());
    assert!(*last <= Duration::from_secs(60));
    assert!(
        *last - *first < Duration::from_millis(500),
        "{first:?} {last:?}"
    );
}
