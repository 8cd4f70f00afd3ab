//! The roots that policies refer to, read from an API server that answers as it
//! likes: what stays, what goes, and what is said of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

use std::sync::{Arc, Mutex};

use artifact::root::{RootError, TrustedRoot};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use crds::TrustPolicy;
use k8s_openapi::jiff::Timestamp;
use operator::caches::Caches;
use operator::reader::Reader;
use operator::trust::TrustBook;
use operator::trust_policy;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const ROOT: &str = r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;

type Answer = (StatusCode, Value);

/// An API server that has one ConfigMap or has not, as it is told.
struct World {
    answer: Arc<Mutex<Answer>>,
    reader: Reader,
    caches: Caches,
    book: TrustBook,
}

impl World {
    async fn new() -> Self {
        let answer = Arc::new(Mutex::new(missing()));
        let told = Arc::clone(&answer);
        let answering = get(async move || {
            let (status, body) = told.lock().unwrap().clone();
            (status, Json(body))
        });
        let path = "/api/v1/namespaces/lighterman-system/configmaps/sigstore";
        let router = Router::new().route(path, answering);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = kube::Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
        let caches = Caches::default();
        caches.policies.written(policy());
        Self {
            answer,
            reader: Reader::new(client),
            caches,
            book: TrustBook::default(),
        }
    }

    /// Whether anything changed when the API server answered like this.
    async fn refreshed(&self, answer: Answer) -> bool {
        *self.answer.lock().unwrap() = answer;
        let namespace = "lighterman-system";
        self.book
            .refresh(&self.caches.policies, &self.reader, namespace)
            .await
    }

    fn accepted(&self) -> String {
        let rules = self.book.rules(&self.caches.policies);
        let status = trust_policy::status(&policy(), rules.roots(), None, Timestamp::now());
        status.conditions[0].reason.clone()
    }
}

fn policy() -> TrustPolicy {
    let root = json!({"configMapKeyRef": {"name": "sigstore", "key": "trusted_root.json"}});
    let identity = json!({"issuer": "https://login.example", "subject": "ci@example.com"});
    let keyless = json!({"identities": [identity], "trustedRoot": root});
    serde_json::from_value(json!({
        "apiVersion": crds::API_VERSION, "kind": "TrustPolicy",
        "metadata": {"name": "shop", "uid": "policy", "generation": 1, "resourceVersion": "1"},
        "spec": {
            "images": [{"glob": "registry.example/**"}],
            "authorities": [{"name": "ci", "keyless": keyless, "ctlog": "Required"}],
        },
    }))
    .unwrap()
}

fn found(text: &str) -> Answer {
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "sigstore", "namespace": "lighterman-system"},
        "data": {"trusted_root.json": text},
    });
    (StatusCode::OK, config_map)
}

fn missing() -> Answer {
    failed(StatusCode::NOT_FOUND, "NotFound")
}

fn failed(status: StatusCode, reason: &str) -> Answer {
    let body = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "reason": reason, "message": reason, "code": status.as_u16(),
    });
    (status, body)
}

#[tokio::test]
async fn a_root_counts_once_it_is_there_and_the_policy_says_what_it_waits_for() {
    let world = World::new().await;
    assert!(world.refreshed(missing()).await);
    assert!(!world.book.is_complete());
    assert_eq!(world.accepted(), "RootUnavailable");

    assert!(world.refreshed(found(ROOT)).await);
    assert!(world.book.is_complete());
    assert_eq!(world.accepted(), "Accepted");
    assert!(!world.refreshed(found(ROOT)).await, "nothing changed");
}

#[tokio::test]
async fn a_root_that_cannot_be_read_just_now_stays_and_one_that_is_gone_is_gone() {
    let world = World::new().await;
    world.refreshed(found(ROOT)).await;
    let broken = failed(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
    assert!(!world.refreshed(broken).await);
    assert_eq!(world.accepted(), "Accepted");

    assert!(world.refreshed(missing()).await);
    assert_eq!(world.accepted(), "RootUnavailable");
}

#[tokio::test]
async fn a_root_that_changes_is_noticed_and_an_unreadable_one_is_named() {
    let world = World::new().await;
    world.refreshed(found(ROOT)).await;
    assert!(world.refreshed(found("{}!")).await);
    assert_eq!(world.accepted(), "RootUnavailable");
}

#[tokio::test]
async fn the_public_root_is_another_only_if_it_says_something_else() {
    let world = World::new().await;
    let expires: Timestamp = "2025-07-01T00:00:00Z".parse().unwrap();
    let root = || Some(TrustedRoot::from_json(ROOT.as_bytes()));
    let rules = || world.book.rules(&world.caches.policies);
    assert!(rules().roots().get(None).is_ok(), "that of the build");

    let missing = || Some(Err(RootError::Missing("not yet".to_owned())));
    assert!(world.book.learn_public(missing(), None));
    assert!(!world.book.learn_public(missing(), None));
    assert!(rules().roots().get(None).is_err());
    assert!(world.book.learn_public(root(), Some(expires)));
    assert!(rules().roots().get(None).is_ok());
    assert_eq!(
        rules().roots().public_good_stale_since(expires),
        Some(expires)
    );

    // Renewed and the same: nothing has to be judged again, and nothing is overdue.
    let later = "2025-08-01T00:00:00Z".parse().unwrap();
    assert!(!world.book.learn_public(root(), Some(later)));
    assert_eq!(rules().roots().public_good_stale_since(expires), None);
    // Roots from ConfigMaps stay beside it.
    world.refreshed(found(ROOT)).await;
    assert!(rules().roots().get(None).is_ok());
}
