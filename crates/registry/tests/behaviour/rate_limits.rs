//! A registry that asks to slow down.

use std::time::Duration;

use registry::development::{Access, Account, Fault, Options};
use registry::{Credentials, Error, Outage};

use crate::fixture::*;

#[tokio::test]
async fn a_rate_limit_says_how_long_to_wait() {
    let registry = open().await;
    let image = image(&registry, "shop/orders:1");
    registry.set_faults(faults("*", Fault::RateLimited { retry_after: 42 }));
    let error = client().resolve(&image, &anonymous()).await.unwrap_err();
    assert!(matches!(error, Error::RateLimited { .. }), "{error:?}");
    assert!(error.is_retryable());
    assert_eq!(error.retry_after(), Some(Duration::from_secs(42)));
}

#[tokio::test]
async fn an_absurd_wait_is_shortened_to_an_hour() {
    let registry = open().await;
    let image = image(&registry, "shop/orders:1");
    registry.set_faults(faults(
        "*",
        Fault::RateLimited {
            retry_after: u64::MAX,
        },
    ));
    let error = client().resolve(&image, &anonymous()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
}

#[tokio::test]
async fn a_caller_that_was_told_to_wait_does_not_ask_and_others_may() {
    let accounts = vec![Account::new("ann", "right"), Account::new("bob", "right")];
    let registry = start(Options {
        access: Access::Basic(accounts),
        ..Options::default()
    })
    .await;
    let (client, image) = (client(), image(&registry, "shop/orders:1"));
    let ann = Credentials::basic("ann", "right");
    registry.set_faults(faults("*", Fault::RateLimited { retry_after: 60 }));
    client.resolve(&image, &ann).await.unwrap_err();
    registry.set_faults(registry::development::Faults::none());
    registry.clear_requests();

    let error = client.resolve(&image, &ann).await.unwrap_err();
    let resting = Outage::RateLimited;
    assert!(
        matches!(&error, Error::Resting { outage, .. } if *outage == resting),
        "{error:?}"
    );
    let wait = error.retry_after().unwrap();
    assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60));
    assert!(error.is_retryable());
    assert_eq!(registry.requests(), []);

    let bob = Credentials::basic("bob", "right");
    let error = client.resolve(&image, &bob).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn the_last_request_of_a_quota_is_followed_by_none_until_it_is_renewed() {
    let registry = open().await;
    let (client, image) = (client(), image(&registry, "shop/orders:1"));
    let headers = vec![
        ("ratelimit-remaining", "0;w=21600".to_owned()),
        ("ratelimit-reset", "60".to_owned()),
    ];
    registry.set_faults(faults(
        "*",
        Fault::Answer {
            status: 404,
            headers,
            body: vec![],
        },
    ));
    let error = client.resolve(&image, &anonymous()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    registry.clear_requests();
    let error = client.resolve(&image, &anonymous()).await.unwrap_err();
    assert!(matches!(error, Error::Resting { .. }), "{error:?}");
    assert_eq!(registry.requests(), []);
}
