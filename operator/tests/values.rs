//! What a component refers to becomes what a node is sent, or a reason with its mend.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crds::handover::{FILES_MAX, JSON_MAX, Values};
use crds::{Reason, WasmComponent};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use operator::component::{Validated, validate};
use operator::reader::ReadError;
use operator::values::{Data, Kind, Objects, ValuesError, resolve};
use serde_json::{Value, json};

/// Objects of the namespace `shop`.
#[derive(Default)]
struct Shelf(BTreeMap<(Kind, String), Data>);

impl Shelf {
    fn with(mut self, kind: Kind, name: &str, data: &[(&str, &[u8])]) -> Self {
        let data = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.to_vec()));
        self.0.insert((kind, name.to_owned()), data.collect());
        self
    }
}

impl Objects for Shelf {
    fn data<'a>(
        &'a self,
        kind: Kind,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Data>, ReadError>> {
        assert_eq!(namespace, "shop", "no other namespace is ever read");
        let found = self.0.get(&(kind, name.to_owned())).cloned();
        async move { Ok(found) }.boxed()
    }
}

fn validated(more: Value) -> Validated {
    let mut spec = json!({ "image": "registry.example/shop/orders:1" });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let component: WasmComponent = serde_json::from_value(json!({
        "apiVersion": crds::API_VERSION, "kind": "WasmComponent",
        "metadata": {"namespace": "shop", "name": "orders", "uid": "u", "generation": 1},
        "spec": spec,
    }))
    .unwrap();
    validate(&component).unwrap()
}

async fn resolved(shelf: &Shelf, spec: Value) -> Result<Values, ValuesError> {
    let validated = validated(spec);
    resolve(shelf, "shop", (&validated).into()).await
}

fn tls() -> Shelf {
    Shelf::default().with(
        Kind::Secret,
        "tls",
        &[("tls.crt", b"certificate"), ("tls.key", &[0xff, 0x00])],
    )
}

#[tokio::test]
async fn a_secret_becomes_the_files_of_its_volume_whatever_their_bytes() {
    let spec = json!({ "volumes": [{ "name": "tls", "secret": { "secretName": "tls" } }] });
    let values = resolved(&tls(), spec).await.unwrap();
    let files = &values.files["tls"];
    assert_eq!(BASE64.decode(&files["tls.key"]).unwrap(), [0xff, 0x00]);
    assert_eq!(BASE64.decode(&files["tls.crt"]).unwrap(), b"certificate");
}

#[tokio::test]
async fn items_choose_keys_and_name_their_files() {
    let items = json!([{ "key": "tls.crt", "path": "certs/tls.pem" }]);
    let secret = json!({ "secretName": "tls", "items": items });
    let spec = json!({ "volumes": [{ "name": "tls", "secret": secret }] });
    let values = resolved(&tls(), spec).await.unwrap();
    assert_eq!(
        values.files["tls"].keys().collect::<Vec<_>>(),
        ["certs/tls.pem"]
    );
}

#[tokio::test]
async fn a_volume_whose_object_is_missing_names_it_and_an_optional_one_is_empty() {
    let volume = |optional: bool| json!({ "volumes": [{ "name": "settings", "configMap": { "name": "settings", "optional": optional } }] });
    let error = resolved(&Shelf::default(), volume(false))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::ConfigMapMissing);
    assert!(error.to_string().contains("settings"), "{error}");
    let values = resolved(&Shelf::default(), volume(true)).await.unwrap();
    assert!(values.files["settings"].is_empty());
}

#[tokio::test]
async fn a_key_that_is_not_there_is_named() {
    let items = json!([{ "key": "ca.crt", "path": "ca.crt" }]);
    let secret = json!({ "secretName": "tls", "items": items });
    let spec = json!({ "volumes": [{ "name": "tls", "secret": secret }] });
    let error = resolved(&tls(), spec).await.unwrap_err();
    assert_eq!(error.reason(), Reason::SecretKeyMissing);
    assert!(error.to_string().contains("ca.crt"), "{error}");
}

fn with_credentials() -> Value {
    let secret = json!({ "name": "github", "key": "token" });
    let credentials =
        json!({ "header": "Authorization", "format": "Bearer {}", "secretKeyRef": secret });
    let outbound = json!([{ "host": "api.github.com", "credentials": credentials }]);
    json!({ "capabilities": { "network": { "outbound": outbound } } })
}

#[tokio::test]
async fn what_the_host_adds_to_requests_is_sent_beside_the_variables_and_never_as_one() {
    let shelf = Shelf::default().with(Kind::Secret, "github", &[("token", b"swordfish")]);
    let values = resolved(&shelf, with_credentials()).await.unwrap();
    assert_eq!(values.credentials["github/token"], "swordfish");
    assert!(values.env.is_empty() && values.config.is_empty() && values.files.is_empty());
    let error = resolved(&Shelf::default(), with_credentials())
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::SecretMissing);
}

#[tokio::test]
async fn a_credential_that_is_no_text_cannot_be_a_header() {
    let shelf = Shelf::default().with(Kind::Secret, "github", &[("token", &[0xff])]);
    let error = resolved(&shelf, with_credentials()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::InvalidValue);
}

#[tokio::test]
async fn files_beyond_the_bound_are_refused_with_the_largest_object() {
    let (large, small) = (vec![b'x'; FILES_MAX], [b'y']);
    let shelf = Shelf::default()
        .with(Kind::ConfigMap, "large", &[("data", &large)])
        .with(Kind::Secret, "small", &[("key", &small)]);
    let large = json!({ "name": "large", "configMap": { "name": "large" } });
    let small = json!({ "name": "small", "secret": { "secretName": "small" } });
    assert!(
        resolved(&shelf, json!({ "volumes": [large] }))
            .await
            .is_ok()
    );
    let error = resolved(&shelf, json!({ "volumes": [large, small] }))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("ConfigMap large"), "{error}");
}

#[tokio::test]
async fn values_that_one_answer_does_not_hold_are_refused() {
    let parts = 5;
    let value = vec![b'x'; JSON_MAX / (parts - 1)];
    let mut shelf = Shelf::default();
    let mut sources = Vec::new();
    for part in 0..parts {
        let name = format!("part{part}");
        shelf = shelf.with(Kind::ConfigMap, &name, &[("data", &value)]);
        sources.push(json!({ "prefix": format!("P{part}_"), "configMapRef": { "name": name } }));
    }
    let error = resolved(&shelf, json!({ "envFrom": sources }))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::InvalidValue);
    assert!(
        !error.to_string().contains("xxx"),
        "a message holds no value"
    );
}
