//! Mirrors: asked in their order before the registry, checked like it, and
//! passed over when they cannot answer.

use std::collections::BTreeMap;

use artifact::{Digest, ImageReference};
use registry::development::{Access, Account, DevelopmentRegistry, Fault, Options};
use registry::{Client, Config, Credentials, Error, HostConfig, Mirror, Private};

use crate::fixture::*;

/// A client for which these mirrors stand in for `upstream`.
fn mirrored(upstream: &DevelopmentRegistry, mirrors: &[String], ask_upstream: bool) -> Client {
    let host = HostConfig {
        mirrors: mirrors.iter().map(|url| url.parse().unwrap()).collect(),
        upstream: ask_upstream,
        ..HostConfig::default()
    };
    Client::new(Config {
        hosts: BTreeMap::from([(upstream.addr().to_string(), host)]),
        // A configured mirror needs no listing.
        private: Private::Listed(vec![upstream.addr().to_string().parse().unwrap()]),
        ..Config::default()
    })
    .unwrap()
}

fn url(registry: &DevelopmentRegistry, path: &str) -> String {
    format!("http://{}{path}", registry.addr())
}

/// The same component with the same signature, as `prefix/shop/orders:1.4`.
async fn copy(mirror: &DevelopmentRegistry, prefix: &str, bundle: Option<&[u8]>) -> Digest {
    let client = client();
    let image = image(mirror, &format!("{prefix}shop/orders:1.4"));
    let digest = client
        .push(&image, component(), &BTreeMap::new(), &anonymous())
        .await
        .unwrap();
    if let Some(bundle) = bundle {
        client
            .attach_bundle(&image, &digest, bundle.to_vec().into(), &anonymous())
            .await
            .unwrap();
    }
    mirror.clear_requests();
    digest
}

async fn pull(client: &Client, image: &ImageReference) -> Result<artifact::Parcel, Error> {
    let digest = client.resolve(image, &anonymous()).await?;
    client.pull(image, &digest, &anonymous()).await
}

#[tokio::test]
async fn a_mirror_that_has_everything_spares_the_registry() {
    let (upstream, mirror) = (open().await, open().await);
    let (image, digest, bundle) = push_signed(&upstream, &client()).await;
    assert_eq!(copy(&mirror, "hub/", Some(&bundle)).await, digest);
    upstream.clear_requests();

    let client = mirrored(&upstream, &[url(&mirror, "/hub")], true);
    let parcel = pull(&client, &image).await.unwrap();
    assert_eq!((parcel.layer, parcel.bundles), (component(), vec![bundle]));
    assert_eq!(upstream.requests(), []);
}

#[tokio::test]
async fn mirrors_are_asked_in_their_order_and_the_registry_last() {
    let (upstream, first, second) = (open().await, open().await, open().await);
    let (image, _, bundle) = push_signed(&upstream, &client()).await;
    let gone = open().await;
    let gone_url = url(&gone, "");
    gone.stop().await;
    let mirrors = [gone_url, url(&first, ""), url(&second, "")];
    let client = mirrored(&upstream, &mirrors, true);

    pull(&client, &image).await.unwrap();
    assert!(!first.requests().is_empty() && !second.requests().is_empty());

    copy(&second, "", Some(&bundle)).await;
    upstream.clear_requests();
    pull(&client, &image).await.unwrap();
    assert_eq!(upstream.requests(), []);

    copy(&first, "", Some(&bundle)).await;
    second.clear_requests();
    pull(&client, &image).await.unwrap();
    assert_eq!(second.requests(), []);
}

#[tokio::test]
async fn a_mirror_that_sends_other_bytes_or_fails_is_passed_over() {
    let (upstream, mirror) = (open().await, open().await);
    let (image, digest, bundle) = push_signed(&upstream, &client()).await;
    copy(&mirror, "", Some(&bundle)).await;
    let client = mirrored(&upstream, &[url(&mirror, "")], true);
    for fault in [
        Fault::Corrupt,
        Fault::Truncate { to: 3 },
        Fault::Status(500),
        Fault::Status(401),
        Fault::RateLimited { retry_after: 1 },
    ] {
        let shown = format!("{fault:?}");
        mirror.set_faults(faults("*", fault));
        let parcel = client.pull(&image, &digest, &anonymous()).await;
        let parcel = parcel.unwrap_or_else(|error| panic!("{shown}: {error:?}"));
        assert_eq!(parcel.layer, component(), "{shown}");
    }
}

#[tokio::test]
async fn a_mirror_without_signatures_does_not_make_an_image_unsigned() {
    let (upstream, mirror) = (open().await, open().await);
    let (image, _, bundle) = push_signed(&upstream, &client()).await;
    copy(&mirror, "", None).await;
    let client = mirrored(&upstream, &[url(&mirror, "")], true);
    assert_eq!(pull(&client, &image).await.unwrap().bundles, [bundle]);

    // And when the registry cannot say it either, nobody has said that it is.
    upstream.set_faults(faults("*/referrers/*", Fault::Status(503)));
    let error = pull(&client, &image).await.unwrap_err();
    assert!(
        matches!(error, Error::ReferrersUnavailable { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_mirror_gets_no_credentials_of_the_registry() {
    let access = Access::Basic(vec![Account::new("ann", "right")]);
    let with = |access: &Access| Options {
        access: access.clone(),
        ..Options::default()
    };
    let (upstream, mirror) = (start(with(&access)).await, start(with(&access)).await);
    let ann = Credentials::basic("ann", "right");
    let image = image(&upstream, "shop/orders:1");
    let digest = client()
        .push(&image, component(), &BTreeMap::new(), &ann)
        .await
        .unwrap();
    let client = mirrored(&upstream, &[url(&mirror, "")], true);
    client.pull(&image, &digest, &ann).await.unwrap();
    let requests = mirror.requests();
    assert!(!requests.is_empty());
    assert!(
        requests
            .iter()
            .all(|request| request.authorization.is_none())
    );
}

#[tokio::test]
async fn a_mirror_gets_its_own_credentials_and_the_registry_does_not() {
    let closed = Options {
        access: Access::Basic(vec![Account::new("cache", "secret")]),
        ..Options::default()
    };
    let (upstream, mirror) = (open().await, start(closed).await);
    let (image, _, _) = push_signed(&upstream, &client()).await;
    let cache = Credentials::basic("cache", "secret");
    let copied: ImageReference = format!("{}/shop/orders:1.4", mirror.addr())
        .parse()
        .unwrap();
    let digest = client()
        .push(&copied, component(), &BTreeMap::new(), &cache)
        .await
        .unwrap();
    upstream.clear_requests();
    mirror.clear_requests();
    let host = HostConfig {
        mirrors: vec![
            url(&mirror, "")
                .parse::<Mirror>()
                .unwrap()
                .with_credentials(cache),
        ],
        ..HostConfig::default()
    };
    let client = Client::new(Config {
        hosts: BTreeMap::from([(upstream.addr().to_string(), host)]),
        private: Private::Listed(vec![upstream.addr().to_string().parse().unwrap()]),
        ..Config::default()
    })
    .unwrap();
    let parcel = client.pull(&image, &digest, &anonymous()).await.unwrap();
    assert_eq!(parcel.layer, component());
    let asked_as = |registry: &DevelopmentRegistry| {
        let requests = registry.requests().into_iter();
        requests
            .filter(|request| request.authorization.is_some())
            .count()
    };
    assert!(asked_as(&mirror) > 0, "{:?}", mirror.requests());
    assert_eq!(asked_as(&upstream), 0, "{:?}", upstream.requests());
}

#[tokio::test]
async fn a_registry_that_is_not_to_be_asked_is_not() {
    let (upstream, mirror) = (open().await, open().await);
    let (image, _, _) = push_signed(&upstream, &client()).await;
    upstream.clear_requests();
    let client = mirrored(&upstream, &[url(&mirror, "")], false);
    let error = pull(&client, &image).await.unwrap_err();
    assert!(
        matches!(&error, Error::NotFound { registry, .. } if *registry == mirror.addr().to_string()),
        "{error:?}"
    );
    assert_eq!(upstream.requests(), []);
}
