//! Where credentials are sent when a registry asks for a token.

use std::time::Duration;

use registry::development::{Access, Account, DevelopmentRegistry, Fault, Options};
use registry::{Credentials, Error, RedirectRefusal};

use crate::fixture::*;

async fn with_realm(realm: Option<String>) -> DevelopmentRegistry {
    let accounts = vec![Account::new("ann", "right")];
    start(Options {
        access: Access::Bearer {
            accounts,
            anonymous_pull: true,
            realm,
        },
        ..Options::default()
    })
    .await
}

async fn resolve(registry: &DevelopmentRegistry) -> Error {
    let image = image(registry, "shop/orders:1");
    client()
        .resolve(&image, &Credentials::basic("ann", "right"))
        .await
        .unwrap_err()
}

#[tokio::test]
async fn credentials_are_not_sent_to_another_host_in_plain_http() {
    let thief = open().await;
    let registry = with_realm(Some(format!("http://{}/token", thief.addr()))).await;
    let error = resolve(&registry).await;
    assert!(matches!(error, Error::RealmRefused { .. }), "{error:?}");
    assert!(thief.requests().is_empty());
}

#[tokio::test]
async fn a_token_server_at_a_metadata_address_is_not_contacted() {
    let registry = with_realm(Some("https://169.254.169.254/token".to_owned())).await;
    let error = resolve(&registry).await;
    assert!(matches!(error, Error::AddressRefused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_token_server_that_is_not_a_web_server_is_refused() {
    for realm in ["file:///etc/passwd", "ftp://host/token", "nonsense"] {
        let registry = with_realm(Some(realm.to_owned())).await;
        let error = resolve(&registry).await;
        assert!(
            matches!(error, Error::RealmRefused { .. } | Error::Malformed { .. }),
            "{realm}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_token_server_does_not_redirect_credentials() {
    let thief = open().await;
    let registry = with_realm(None).await;
    let location = format!("http://{}/token", thief.addr());
    registry.set_faults(faults("/token", Fault::Redirect { location }));
    let error = resolve(&registry).await;
    assert!(
        matches!(
            error,
            Error::RedirectRefused {
                refusal: RedirectRefusal::NotRedirectable,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(thief.requests().is_empty());
}

#[tokio::test]
async fn a_token_server_with_a_fault_is_not_a_refusal() {
    let registry = with_realm(None).await;
    registry.set_faults(faults("/token", Fault::Status(503)));
    let error = resolve(&registry).await;
    assert!(
        matches!(error, Error::Unavailable { status: 503, .. }) && error.is_retryable(),
        "{error:?}"
    );
    registry.set_faults(faults("/token", Fault::RateLimited { retry_after: 9 }));
    assert_eq!(
        resolve(&registry).await.retry_after(),
        Some(Duration::from_secs(9))
    );
}

#[tokio::test]
async fn a_token_reply_that_is_not_json_is_malformed() {
    let registry = with_realm(None).await;
    let fault = Fault::Answer {
        status: 200,
        headers: vec![],
        body: b"<html>".to_vec(),
    };
    registry.set_faults(faults("/token", fault));
    let error = resolve(&registry).await;
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
}
