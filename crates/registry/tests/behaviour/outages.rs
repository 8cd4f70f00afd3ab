//! A registry that is down: few connections, whoever waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use artifact::ImageReference;
use registry::{Client, Error, Outage};
use tokio::net::TcpListener;

use crate::fixture::*;

/// A port behind which nobody is, though connections are made: each is counted
/// and closed again.
async fn dead() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, connections)
}

fn images(address: &str, count: usize) -> Vec<ImageReference> {
    (0..count)
        .map(|number| format!("{address}/shop/orders-{number}:1").parse().unwrap())
        .collect()
}

async fn ask_all(client: &Client, images: &[ImageReference]) -> Vec<Error> {
    let asked = images
        .iter()
        .map(async |image| client.resolve(image, &anonymous()).await.unwrap_err());
    futures::future::join_all(asked).await
}

#[tokio::test]
async fn two_hundred_images_of_a_dead_registry_are_few_connections() {
    let (address, connections) = dead().await;
    let client = client();
    let images = images(&address, 200);
    for _ in 0..5 {
        for error in ask_all(&client, &images).await {
            assert!(
                matches!(
                    error,
                    Error::Unreachable { .. }
                        | Error::Resting {
                            outage: Outage::Unreachable,
                            ..
                        }
                ),
                "{error:?}"
            );
            assert!(error.is_retryable());
        }
    }
    // Those that were under way when it was found out; never one for each image.
    let connections = connections.load(Ordering::SeqCst);
    assert!(connections <= 16, "{connections} connections");
}

#[tokio::test]
async fn a_host_that_refuses_connections_is_left_alone_and_says_the_same_meanwhile() {
    let registry = open().await;
    let address = registry.addr().to_string();
    registry.stop().await;
    let client = client();
    let images = images(&address, 2);
    let first = client.resolve(&images[0], &anonymous()).await.unwrap_err();
    assert!(matches!(first, Error::Unreachable { .. }), "{first:?}");
    assert!(first.retry_after().is_some());
    let second = client.resolve(&images[1], &anonymous()).await.unwrap_err();
    assert!(matches!(second, Error::Resting { .. }), "{second:?}");
    assert_eq!(first.to_string(), second.to_string());
    assert!(client.ready(&images[0]).is_err());
}

#[tokio::test]
async fn a_registry_that_comes_back_is_found_when_its_rest_is_over() {
    let registry = open().await;
    let address = registry.addr();
    registry.stop().await;
    let client = client();
    let image: ImageReference = format!("{address}/shop/orders:1").parse().unwrap();
    client.resolve(&image, &anonymous()).await.unwrap_err();
    let registry = registry::development::DevelopmentRegistry::start(address, Default::default())
        .await
        .unwrap();
    let started = Instant::now();
    let error = loop {
        match client.resolve(&image, &anonymous()).await.unwrap_err() {
            Error::Resting { retry_after, .. } => tokio::time::sleep(retry_after).await,
            other => break other,
        }
    };
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(client.ready(&image).is_ok());
    drop(registry);
}

#[tokio::test]
async fn a_registry_that_answers_with_errors_does_not_rest() {
    let registry = open().await;
    registry.set_faults(faults("*", registry::development::Fault::Status(503)));
    let (client, image) = (client(), image(&registry, "shop/orders:1"));
    for _ in 0..5 {
        let error = client.resolve(&image, &anonymous()).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }
}
