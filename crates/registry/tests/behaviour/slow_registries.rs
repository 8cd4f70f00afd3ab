//! Registries that stall or drip are given up, and hold nobody else up.

use std::time::{Duration, Instant};

use registry::development::Fault;
use registry::{Client, Config, Error, Limits, Timeouts};

use crate::fixture::*;

fn hasty(timeouts: Timeouts) -> Client {
    Client::new(Config {
        timeouts,
        ..Config::default()
    })
    .unwrap()
}

#[tokio::test]
async fn a_registry_that_stalls_is_given_up_after_the_read_timeout() {
    let registry = open().await;
    let client = hasty(Timeouts {
        read: Duration::from_millis(200),
        ..Timeouts::default()
    });
    registry.set_faults(faults("*", Fault::Delay(Duration::from_secs(20))));
    let started = Instant::now();
    let error = client
        .resolve(&image(&registry, "shop/orders:1"), &anonymous())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Timeout { .. }) && error.is_retryable(),
        "{error:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_body_that_drips_is_given_up_after_the_whole_timeout() {
    let registry = open().await;
    let (image, digest) = push(&registry, &client()).await;
    // Each byte comes well within the read timeout; all of them never would.
    let client = hasty(Timeouts {
        read: Duration::from_secs(2),
        pull: Duration::from_millis(600),
        ..Timeouts::default()
    });
    registry.set_faults(faults("*/blobs/*", Fault::Drip(Duration::from_millis(100))));
    let started = Instant::now();
    let error = client
        .pull(&image, &digest, &anonymous())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_slow_registry_does_not_hold_up_another() {
    let (slow, quick) = (open().await, open().await);
    let limits = Limits {
        concurrent_pulls: 2,
        concurrent_pulls_per_registry: 1,
        ..Limits::default()
    };
    let client = Client::new(Config {
        limits,
        ..Config::default()
    })
    .unwrap();
    let (slow_image, digest) = push(&slow, &client).await;
    let (quick_image, _) = push(&quick, &client).await;
    slow.set_faults(faults("*", Fault::Delay(Duration::from_secs(20))));
    let nobody = anonymous();
    let stuck =
        futures::future::join_all((0..4).map(|_| client.pull(&slow_image, &digest, &nobody)));
    let pulled = client.pull(&quick_image, &digest, &nobody);
    // Polled in this order, so the slow ones are in the queue first.
    tokio::select! {
        biased;
        _ = stuck => panic!("the slow registry answered"),
        parcel = tokio::time::timeout(Duration::from_secs(5), pulled) => {
            assert_eq!(parcel.expect("held up by another registry").unwrap().layer, component());
        }
    }
}
