//! Which redirects are followed, and what goes along.

use registry::development::{Access, Account, Fault, Options};
use registry::{Credentials, Error, RedirectRefusal};

use crate::fixture::*;

async fn refusal_of(location: &str) -> RedirectRefusal {
    let registry = open().await;
    let image = image(&registry, "shop/orders:1");
    registry.set_faults(faults(
        "*",
        Fault::Redirect {
            location: location.to_owned(),
        },
    ));
    match client().resolve(&image, &anonymous()).await.unwrap_err() {
        Error::RedirectRefused { refusal, .. } => refusal,
        other => panic!("{location}: {other:?}"),
    }
}

#[tokio::test]
async fn a_redirect_loop_ends_after_five() {
    let registry = open().await;
    let image = image(&registry, "shop/orders:1");
    registry.set_faults(faults(
        "*",
        Fault::Redirect {
            location: "/v2/shop/orders/manifests/1".to_owned(),
        },
    ));
    let error = client().resolve(&image, &anonymous()).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::RedirectRefused {
                refusal: RedirectRefusal::TooMany,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(registry.requests().len(), 6);
}

#[tokio::test]
async fn a_redirect_to_an_address_that_is_never_contacted_is_refused() {
    for address in [
        "169.254.169.254",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "0.0.0.0",
        "100.100.100.200",
    ] {
        assert_eq!(
            refusal_of(&format!("https://{address}/latest")).await,
            RedirectRefusal::Address
        );
    }
}

#[tokio::test]
async fn a_redirect_to_plain_http_elsewhere_is_refused() {
    assert_eq!(
        refusal_of("http://registry.example/v2/").await,
        RedirectRefusal::PlainHttp
    );
}

#[tokio::test]
async fn a_redirect_to_something_else_than_the_web_is_refused() {
    for location in ["file:///etc/passwd", "gopher://127.0.0.1/", "http://"] {
        assert_eq!(
            refusal_of(location).await,
            RedirectRefusal::NotHttp,
            "{location}"
        );
    }
}

#[tokio::test]
async fn blobs_may_be_elsewhere_but_credentials_stay() {
    let elsewhere = open().await;
    let config = Access::Basic(vec![Account::new("ann", "right")]);
    let registry = start(Options {
        access: config,
        ..Options::default()
    })
    .await;
    let client = client();
    let ann = Credentials::basic("ann", "right");
    let image = image(&registry, "shop/orders:1");
    let digest = client
        .push(&image, component(), &Default::default(), &ann)
        .await
        .unwrap();
    // The blob store holds the same content under the same paths.
    let copy = format!("{}/shop/orders:1", elsewhere.addr())
        .parse()
        .unwrap();
    client
        .push(&copy, component(), &Default::default(), &anonymous())
        .await
        .unwrap();
    elsewhere.clear_requests();

    let layer = artifact::Digest::of(&component());
    let location = format!("http://{}/v2/shop/orders/blobs/{layer}", elsewhere.addr());
    registry.set_faults(faults(
        &format!("*/blobs/{layer}"),
        Fault::Redirect { location },
    ));
    let parcel = client.pull(&image, &digest, &ann).await.unwrap();
    assert_eq!(parcel.layer, component());
    let requests = elsewhere.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].authorization, None);
}

#[tokio::test]
async fn the_challenge_of_a_host_behind_a_redirect_is_not_answered() {
    let accounts = vec![Account::new("ann", "right")];
    let thief = start(Options {
        access: Access::Basic(accounts),
        ..Options::default()
    })
    .await;
    let registry = open().await;
    let location = format!("http://{}/v2/shop/orders/manifests/1", thief.addr());
    registry.set_faults(faults("*", Fault::Redirect { location }));
    let image = image(&registry, "shop/orders:1");
    let error = client()
        .resolve(&image, &Credentials::basic("ann", "right"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    assert!(
        thief
            .requests()
            .iter()
            .all(|request| request.authorization.is_none())
    );
    // Answering would have meant asking again, with credentials.
    let requests = registry.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].authorization, None);
}

#[tokio::test]
async fn an_upload_is_not_redirected() {
    let registry = open().await;
    let image = image(&registry, "shop/orders:1");
    let rule = registry::development::Rule::on(
        "*",
        Fault::Redirect {
            location: "/elsewhere".to_owned(),
        },
    );
    registry.set_faults(rule.method(http::Method::POST).into());
    let error = client()
        .push(&image, component(), &Default::default(), &anonymous())
        .await
        .unwrap_err();
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
}

#[tokio::test]
async fn an_image_at_a_metadata_address_is_not_contacted() {
    let image = "169.254.169.254/latest/meta-data:1".parse().unwrap();
    let error = client().resolve(&image, &anonymous()).await.unwrap_err();
    assert!(matches!(error, Error::AddressRefused { .. }), "{error:?}");
}
