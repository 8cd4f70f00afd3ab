//! Basic and Bearer: what is sent, when, and that a failure stays a failure.

use std::collections::BTreeMap;

use registry::development::{Access, Account, Options};
use registry::{Credentials, Error};

use crate::fixture::*;

fn bearer(anonymous_pull: bool) -> Options {
    Options {
        access: Access::Bearer {
            accounts: vec![Account::new("ann", "right")],
            anonymous_pull,
            realm: None,
        },
        ..Options::default()
    }
}

#[tokio::test]
async fn basic_credentials_are_sent_when_asked_for() {
    let registry = start(Options {
        access: Access::Basic(vec![Account::new("ann", "right")]),
        ..Options::default()
    })
    .await;
    let image = image(&registry, "shop/orders:1");
    let (client, ann) = (client(), Credentials::basic("ann", "right"));
    let digest = client
        .push(&image, component(), &BTreeMap::new(), &ann)
        .await
        .unwrap();
    client.pull(&image, &digest, &ann).await.unwrap();
    for wrong in [Credentials::basic("ann", "wrong"), anonymous()] {
        let error = client.pull(&image, &digest, &wrong).await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_token_is_got_with_credentials_and_used_instead_of_them() {
    let registry = start(bearer(false)).await;
    let image = image(&registry, "shop/orders:1");
    let ann = Credentials::basic("ann", "right");
    client()
        .push(&image, component(), &BTreeMap::new(), &ann)
        .await
        .unwrap();
    for request in registry.requests() {
        let expected = if request.path == "/token" {
            "Basic"
        } else {
            "Bearer"
        };
        if let Some(scheme) = request.authorization {
            assert_eq!(scheme, expected, "{}", request.path);
        }
    }
    let tokens = registry
        .requests()
        .iter()
        .filter(|request| request.path == "/token")
        .count();
    assert_eq!(tokens, 1, "one token serves the whole push");
}

#[tokio::test]
async fn wrong_credentials_are_an_error_even_where_anybody_may_pull() {
    let registry = start(bearer(true)).await;
    let image = image(&registry, "shop/orders:1");
    let client = client();
    client
        .push(
            &image,
            component(),
            &BTreeMap::new(),
            &Credentials::basic("ann", "right"),
        )
        .await
        .unwrap();
    client.resolve(&image, &anonymous()).await.unwrap();
    let error = client
        .resolve(&image, &Credentials::basic("ann", "wrong"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Unauthorized { who, .. } if who == "ann"),
        "{error:?}"
    );
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_token_that_is_no_longer_accepted_is_replaced_once() {
    let registry = start(bearer(false)).await;
    let image = image(&registry, "shop/orders:1");
    let (client, ann) = (client(), Credentials::basic("ann", "right"));
    client
        .push(&image, component(), &BTreeMap::new(), &ann)
        .await
        .unwrap();
    client.resolve(&image, &ann).await.unwrap();
    registry.revoke_tokens();
    registry.clear_requests();
    client.resolve(&image, &ann).await.unwrap();
    assert_eq!(
        registry
            .requests()
            .iter()
            .filter(|request| request.path == "/token")
            .count(),
        1
    );
}

#[tokio::test]
async fn a_registry_that_never_accepts_its_own_tokens_is_not_asked_forever() {
    let registry = start(bearer(true)).await;
    let image = image(&registry, "shop/orders:1");
    registry.set_faults(faults(
        "/token",
        registry::development::Fault::Answer {
            status: 200,
            headers: vec![],
            body: br#"{"token":"useless"}"#.to_vec(),
        },
    ));
    let error = client().resolve(&image, &anonymous()).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    assert_eq!(registry.requests().len(), 3, "request, token, request");
}
