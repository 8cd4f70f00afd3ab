//! Values, files and credentials that were slipped in, left out or made unusable.

use serde_json::json;

use super::*;

/// A Secret as a volume with one item, and a credential from another Secret.
fn document() -> RevisionDocument {
    serde_json::from_value(json!({
        "version": 1,
        "component": {"namespace": "shop", "name": "orders", "uid": "1"},
        "image": "registry.example/shop/orders",
        "digest": "sha256:00",
        "volumes": [
            {"name": "tls", "secret": {"secretName": "tls", "items": [{"key": "k", "path": "tls.key"}]}},
            {"name": "conf", "configMap": {"name": "settings", "optional": true}},
            {"name": "data", "emptyDir": {}},
        ],
        "capabilities": {"network": {"outbound": [{
            "host": "api.example.com",
            "credentials": {
                "header": "Authorization",
                "format": "Bearer {}",
                "secretKeyRef": {"name": "token", "key": "k"},
                "methods": ["GET"],
                "paths": ["/v1/**"],
            },
        }]}},
    }))
    .unwrap()
}

type Encoded = BTreeMap<String, BTreeMap<String, String>>;

fn handed_over(volume: &str, path: &str, content: &[u8]) -> Encoded {
    let file = (path.to_owned(), BASE64.encode(content));
    BTreeMap::from([(volume.to_owned(), BTreeMap::from([file]))])
}

fn credential_with(value: &str) -> Result<Vec<CredentialOrder>, Invalid> {
    let values = BTreeMap::from([("token/k".to_owned(), value.to_owned())]);
    credentials(&document(), &values)
}

#[test]
fn a_revision_with_a_volume_of_a_secret_or_a_credential_names_secrets() {
    assert!(needs_values(&document()) && names_secrets(&document()));
    let mut only_a_map = document();
    only_a_map.volumes.remove(0);
    only_a_map.capabilities = Default::default();
    assert!(needs_values(&only_a_map) && !names_secrets(&only_a_map));
    only_a_map.volumes.remove(0);
    assert!(!needs_values(&only_a_map), "scratch space names nothing");
}

#[test]
fn files_come_for_the_volumes_and_the_items_that_the_revision_names_and_no_others() {
    let given = files(&document(), &handed_over("tls", "tls.key", b"\xffkey")).unwrap();
    assert_eq!(given["tls"]["tls.key"], b"\xffkey");
    assert!(given["conf"].is_empty(), "optional, and not there");

    let foreign = |error: Invalid| matches!(error, Invalid::ForeignValue(_));
    for (volume, path) in [("other", "x"), ("data", "x"), ("tls", "authorized_keys")] {
        let mut more = handed_over("tls", "tls.key", b"key");
        for (volume, files) in handed_over(volume, path, b"slipped in") {
            more.entry(volume).or_default().extend(files);
        }
        assert!(
            foreign(files(&document(), &more).unwrap_err()),
            "{volume} {path}"
        );
    }
    let missing = files(&document(), &Encoded::new()).unwrap_err();
    assert!(matches!(missing, Invalid::MissingValue(_)));
}

#[test]
fn a_credential_goes_to_its_host_by_its_format() {
    let [order] = credential_with("hunter2").unwrap().try_into().unwrap();
    assert_eq!(
        (order.host.to_string().as_str(), order.port),
        ("api.example.com", 443)
    );
    assert_eq!(
        (order.format.as_str(), order.secret.as_str()),
        ("Bearer {}", "hunter2")
    );
    assert!(!format!("{order:?}").contains("hunter2"));
}

#[test]
fn a_secret_that_would_be_more_than_a_header_is_refused_without_showing_it() {
    let error = credential_with("hunter2\r\nX-Admin: 1").unwrap_err();
    assert!(matches!(error, Invalid::UnusableValue { .. }));
    assert!(!error.to_string().contains("hunter2"));
}

#[test]
fn a_credential_that_the_revision_does_not_name_is_refused() {
    let values = BTreeMap::from([
        ("token/k".to_owned(), "x".to_owned()),
        ("token/other".to_owned(), "x".to_owned()),
    ]);
    let error = credentials(&document(), &values).unwrap_err();
    assert!(matches!(error, Invalid::ForeignValue(_)));
    let error = credentials(&document(), &BTreeMap::new()).unwrap_err();
    assert!(matches!(error, Invalid::MissingValue(_)));
}
