//! Nothing that one caller was granted serves another.

use std::collections::BTreeMap;

use registry::development::{Access, Account, DevelopmentRegistry, Options};
use registry::{Credentials, Error};

use crate::fixture::*;

async fn two_tenants(bearer: bool) -> DevelopmentRegistry {
    let accounts = vec![
        Account::new("ann", "a").only("team-a"),
        Account::new("bob", "b").only("team-b"),
    ];
    let access = match bearer {
        true => Access::Bearer {
            accounts,
            anonymous_pull: false,
            realm: None,
        },
        false => Access::Basic(accounts),
    };
    start(Options {
        access,
        ..Options::default()
    })
    .await
}

#[tokio::test]
async fn what_one_tenant_was_granted_is_never_used_for_another() {
    for bearer in [true, false] {
        let registry = two_tenants(bearer).await;
        // One client for both, as in the operator.
        let client = client();
        let image = image(&registry, "team-a/orders:1");
        let ann = Credentials::basic("ann", "a");
        let digest = client
            .push(&image, component(), &BTreeMap::new(), &ann)
            .await
            .unwrap();
        client.pull(&image, &digest, &ann).await.unwrap();
        for other in [
            Credentials::basic("bob", "b"),
            Credentials::basic("ann", "b"),
            anonymous(),
        ] {
            for result in [
                client.resolve(&image, &other).await.map(drop),
                client.pull(&image, &digest, &other).await.map(drop),
            ] {
                assert!(
                    matches!(result, Err(Error::Unauthorized { .. })),
                    "{other:?}: {result:?}"
                );
            }
        }
        client.pull(&image, &digest, &ann).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_for_one_repository_is_not_used_for_another() {
    let registry = two_tenants(true).await;
    let client = client();
    let ann = Credentials::basic("ann", "a");
    for name in ["team-a/orders:1", "team-a/bills:1"] {
        client
            .push(&image(&registry, name), component(), &BTreeMap::new(), &ann)
            .await
            .unwrap();
    }
    assert_eq!(
        registry
            .requests()
            .iter()
            .filter(|request| request.path == "/token")
            .count(),
        2
    );
}

#[test]
fn credentials_do_not_show_their_password() {
    let shown = format!("{:?}", Credentials::basic("ann", "hunter2"));
    assert!(
        shown.contains("ann") && !shown.contains("hunter2"),
        "{shown}"
    );
}
