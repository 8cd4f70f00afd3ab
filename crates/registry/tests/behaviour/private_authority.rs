//! TLS: registries of a private certificate authority, and no way back to plain HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use registry::development::{DevelopmentRegistry, Fault, Options};
use registry::{Client, Config, Error, HostConfig, RedirectRefusal};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::fixture::*;

/// A registry over TLS for 127.0.0.1, and the PEM of the authority that vouches for it.
async fn over_tls() -> (DevelopmentRegistry, Vec<u8>) {
    let mut authority = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);

    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let options = Options {
        tls: Some(Arc::new(config)),
        ..Options::default()
    };
    (
        start(options).await,
        authority_certificate.pem().into_bytes(),
    )
}

fn trusting(registry: &DevelopmentRegistry, authorities: Vec<Vec<u8>>) -> Client {
    let https = vec![registry.addr().to_string()];
    Client::new(Config {
        https,
        ca_bundles: authorities,
        ..Config::default()
    })
    .unwrap()
}

#[tokio::test]
async fn a_registry_of_a_configured_authority_is_trusted() {
    let (registry, authority) = over_tls().await;
    let client = trusting(&registry, vec![authority]);
    let (image, digest) = push(&registry, &client).await;
    assert_eq!(
        client
            .pull(&image, &digest, &anonymous())
            .await
            .unwrap()
            .layer,
        component()
    );
}

#[tokio::test]
async fn a_registry_of_an_unknown_authority_is_not_trusted() {
    let (registry, _) = over_tls().await;
    let (_, another_authority) = over_tls().await;
    let image = image(&registry, "shop/orders:1");
    for authorities in [vec![], vec![another_authority]] {
        let error = trusting(&registry, authorities)
            .resolve(&image, &anonymous())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_authority_of_one_registry_and_its_mirrors_vouches_for_no_other() {
    let (registry, authority) = over_tls().await;
    let (other, _) = over_tls().await;
    let (image, digest) = push(&registry, &trusting(&registry, vec![authority.clone()])).await;
    let of = |name: &str, mirrors: &[String]| {
        let host = HostConfig {
            mirrors: mirrors.iter().map(|url| url.parse().unwrap()).collect(),
            ca_bundles: vec![authority.clone()],
            ..HostConfig::default()
        };
        Client::new(Config {
            https: vec![registry.addr().to_string(), other.addr().to_string()],
            hosts: BTreeMap::from([(name.to_owned(), host)]),
            ..Config::default()
        })
        .unwrap()
    };
    let own = of(&registry.addr().to_string(), &[]);
    assert_eq!(own.resolve(&image, &anonymous()).await.unwrap(), digest);
    let error = own
        .resolve(
            &crate::fixture::image(&other, "shop/orders:1"),
            &anonymous(),
        )
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");

    let as_mirror = of(
        "upstream.example",
        &[format!("https://{}", registry.addr())],
    );
    let upstream = "upstream.example/shop/orders:1.4".parse().unwrap();
    let found = as_mirror.resolve(&upstream, &anonymous()).await.unwrap();
    assert_eq!(found, digest);
}

#[tokio::test]
async fn https_never_continues_in_plain_http() {
    let (registry, authority) = over_tls().await;
    let plain = open().await;
    let client = trusting(&registry, vec![authority]);
    let location = format!("http://{}/v2/shop/orders/manifests/1", plain.addr());
    registry.set_faults(faults("*", Fault::Redirect { location }));
    let error = client
        .resolve(&image(&registry, "shop/orders:1"), &anonymous())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::RedirectRefused {
                refusal: RedirectRefusal::LeavesHttps,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(plain.requests().is_empty());
}

#[test]
fn an_authority_that_is_not_a_certificate_is_a_misconfiguration() {
    for bundle in [
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let config = Config {
            ca_bundles: vec![bundle.into()],
            ..Config::default()
        };
        assert!(
            matches!(Client::new(config), Err(Error::Misconfigured { .. })),
            "{bundle}"
        );
    }
}
