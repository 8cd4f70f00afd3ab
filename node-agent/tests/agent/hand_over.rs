//! What the agent says to the hand-over, to a server that answers as the operator does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use crds::Reason;
use crds::handover::{Problem, TALLIES_ROUTE, TallyReport, VALUES_ROUTE, Values};
use crds::revision::RevisionDocument;
use node_agent::control::cache::{Cache, Key};
use node_agent::control::fetch::HandOver;
use node_agent::control::state::Store;
use node_agent::control::trust::TrustBook;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::rig::identity;

/// Accepts over TLS.
struct Listener {
    listener: TcpListener,
    tls: TlsAcceptor,
    accepted: Arc<AtomicU64>,
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.tls.accept(stream).await {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// An agent's side of the hand-over, with a server for it.
struct Desk {
    hand_over: HandOver,
    /// Connections that came about.
    accepted: Arc<AtomicU64>,
    _folder: tempfile::TempDir,
}

async fn desk(routes: Router) -> Desk {
    let issuer = CertificateParams::new(Vec::new()).unwrap();
    let issuer = CertifiedIssuer::self_signed(issuer, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let tls = tokio_rustls::rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::<AtomicU64>::default();
    let listener = Listener {
        listener,
        tls: TlsAcceptor::from(Arc::new(tls)),
        accepted: Arc::clone(&accepted),
    };
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let folder = tempfile::tempdir().unwrap();
    let key = Key::of_node(folder.path()).unwrap();
    let open = |name| Cache::open(&folder.path().join(name), key.clone(), 1 << 20).unwrap();
    let documents = Store::new(open("documents"));
    let trust = Arc::new(TrustBook::open(documents.clone()).await);
    trust
        .learn(|known| known.ca_bundle = Some(issuer.pem()))
        .await;
    let token = folder.path().join("token");
    std::fs::write(&token, "token").unwrap();
    Desk {
        hand_over: HandOver::new(
            format!("https://{address}"),
            token,
            trust,
            Arc::new(open("blobs")),
            documents,
            Store::new(open("values")),
        ),
        accepted,
        _folder: folder,
    }
}

fn document() -> RevisionDocument {
    serde_json::from_value(serde_json::json!({
        "version": 1,
        "component": identity(),
        "image": "registry.example/shop/orders",
        "digest": "sha256:00",
        "envFrom": [{"configMapRef": {"name": "settings"}}],
    }))
    .unwrap()
}

#[tokio::test]
async fn values_come_once_and_again_when_they_are_others() {
    let (current, asked) = (
        Arc::new(Mutex::new("one")),
        Arc::new(Mutex::new(Vec::new())),
    );
    let (value, seen) = (Arc::clone(&current), Arc::clone(&asked));
    let answer = async move |headers: HeaderMap| -> Response {
        let value = *value.lock().unwrap();
        let tag = format!("\"{value}\"");
        let known = headers.get(header::IF_NONE_MATCH);
        let known = known.map(|known| known.to_str().unwrap().to_owned());
        seen.lock().unwrap().push(known.clone());
        if known.as_ref() == Some(&tag) {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        let values = Values {
            env: BTreeMap::from([("A".to_owned(), value.to_owned())]),
            ..Values::default()
        };
        ([(header::ETAG, tag)], axum::Json(values)).into_response()
    };
    let desk = desk(Router::new().route(VALUES_ROUTE, get(answer))).await;
    let document = document();
    for (value, known) in [
        ("one", None),
        ("one", Some("\"one\"")),
        ("two", Some("\"one\"")),
        ("two", Some("\"two\"")),
    ] {
        *current.lock().unwrap() = value;
        let values = desk.hand_over.values(&document).await.unwrap();
        assert_eq!(values.env["A"], value);
        let last = asked.lock().unwrap().last().cloned().unwrap();
        assert_eq!(last.as_deref(), known);
    }
}

#[tokio::test]
async fn tallies_turn_to_another_replica_until_one_leads_and_stay_with_it() {
    let asked = Arc::<AtomicU64>::default();
    let count = Arc::clone(&asked);
    // The third one leads.
    let answer = async move || -> Response {
        if count.fetch_add(1, Ordering::Relaxed) >= 2 {
            return StatusCode::NO_CONTENT.into_response();
        }
        let problem = Problem {
            reason: Reason::HandOverNotLeading,
            message: "ask another one".to_owned(),
        };
        (StatusCode::MISDIRECTED_REQUEST, axum::Json(problem)).into_response()
    };
    let desk = desk(Router::new().route(TALLIES_ROUTE, post(answer))).await;
    let report = TallyReport::default();
    desk.hand_over.tallies(&report).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    assert_eq!(
        desk.accepted.load(Ordering::Relaxed),
        3,
        "each over a connection of its own"
    );
    desk.hand_over.tallies(&report).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 4);
    assert_eq!(
        desk.accepted.load(Ordering::Relaxed),
        3,
        "the leader's is kept"
    );
}

#[tokio::test]
async fn without_a_leader_tallies_wait_for_the_next_time() {
    let asked = Arc::<AtomicU64>::default();
    let count = Arc::clone(&asked);
    let answer = async move || -> Response {
        count.fetch_add(1, Ordering::Relaxed);
        let problem = Problem {
            reason: Reason::HandOverNotLeading,
            message: "ask another one".to_owned(),
        };
        (StatusCode::MISDIRECTED_REQUEST, axum::Json(problem)).into_response()
    };
    let desk = desk(Router::new().route(TALLIES_ROUTE, post(answer))).await;
    let told = desk.hand_over.tallies(&TallyReport::default()).await;
    assert!(told.is_err());
    assert!(
        asked.load(Ordering::Relaxed) <= 10,
        "and it was not asked for ever"
    );
}
