//! Where a tenant's image, a registry's redirect and its token server cannot
//! lead: into the network that the operator stands in.

use registry::development::{Access, Account, Fault, Options};
use registry::{Client, Config, Credentials, Error, Private, RedirectRefusal};

use crate::fixture::*;

/// A client of a platform that lists these.
fn listing(listed: &[String]) -> Client {
    let listed = listed.iter().map(|text| text.parse().unwrap()).collect();
    Client::new(Config {
        private: Private::Listed(listed),
        ..Config::default()
    })
    .unwrap()
}

fn refused(error: &Error, host: &str) -> bool {
    matches!(error, Error::PrivateRefused { host: named } if named == host)
        && error
            .to_string()
            .contains(&format!("--registry-private={host}"))
}

#[tokio::test]
async fn an_image_in_a_private_network_is_asked_for_only_when_its_registry_is_listed() {
    let registry = open().await;
    let pushed = push(&registry, &client()).await;
    let address = registry.addr().to_string();
    registry.clear_requests();

    let nowhere = listing(&[]);
    let error = nowhere.resolve(&pushed.0, &anonymous()).await.unwrap_err();
    assert!(refused(&error, &address), "{error:?}");
    for image in [
        "10.96.0.1:443/shop/orders:1",
        "192.168.1.1/shop/orders:1",
        "[fd00::1]:5000/shop/orders:1",
        "[::1]:5000/shop/orders:1",
    ] {
        let image = image.parse().unwrap();
        let error = nowhere.resolve(&image, &anonymous()).await.unwrap_err();
        assert!(matches!(error, Error::PrivateRefused { .. }), "{error:?}");
    }
    assert_eq!(registry.requests(), []);

    for listed in [address, "127.0.0.0/8".to_owned()] {
        let client = listing(&[listed]);
        let digest = client.resolve(&pushed.0, &anonymous()).await.unwrap();
        assert_eq!(digest, pushed.1);
    }
}

#[tokio::test]
async fn a_name_is_judged_by_what_it_resolves_to() {
    let image = "localhost:1/shop/orders:1".parse().unwrap();
    let error = listing(&[])
        .resolve(&image, &anonymous())
        .await
        .unwrap_err();
    assert!(refused(&error, "localhost:1"), "{error:?}");
}

#[tokio::test]
async fn a_metadata_address_is_not_contacted_even_when_all_is_listed() {
    let all = listing(&["0.0.0.0/0".to_owned(), "169.254.169.254".to_owned()]);
    let image = "169.254.169.254/latest/meta-data:1".parse().unwrap();
    let error = all.resolve(&image, &anonymous()).await.unwrap_err();
    assert!(matches!(error, Error::AddressRefused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_listed_registry_does_not_lead_to_one_that_is_not() {
    let inner = open().await;
    let registry = open().await;
    let (image, _) = push(&registry, &client()).await;
    let client = listing(&[registry.addr().to_string()]);
    for location in [
        format!("http://{}/v2/shop/orders/manifests/1.4", inner.addr()),
        "http://127.0.0.1:8080/metrics".to_owned(),
        "https://10.96.0.1/api".to_owned(),
    ] {
        registry.set_faults(faults("*", Fault::Redirect { location }));
        let error = client.resolve(&image, &anonymous()).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::RedirectRefused {
                    refusal: RedirectRefusal::Private,
                    ..
                }
            ),
            "{error:?}"
        );
    }
    assert_eq!(inner.requests(), []);
}

#[tokio::test]
async fn a_token_server_in_a_private_network_gets_no_credentials_unless_it_is_listed() {
    for realm in ["https://10.96.0.1/token", "https://127.0.0.1:6443/token"] {
        let registry = start(Options {
            access: Access::Bearer {
                accounts: vec![Account::new("ann", "right")],
                anonymous_pull: false,
                realm: Some(realm.to_owned()),
            },
            ..Options::default()
        })
        .await;
        let client = listing(&[registry.addr().to_string()]);
        let ann = Credentials::basic("ann", "right");
        let error = client
            .resolve(&image(&registry, "shop/orders:1"), &ann)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::PrivateRefused { .. }), "{error:?}");
    }
}
