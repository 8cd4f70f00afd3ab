//! A private registry, an API server with Secrets and ServiceAccounts, and
//! resolvers that come and go between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use artifact::signature::{self, SigningKey};
use artifact::{Digest, ImageReference};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crds::{TrustPolicy, WasmComponent};
use operator::caches::Caches;
use operator::component::validate;
use operator::content::ContentStore;
use operator::inspector::{self, Inspector};
use operator::metrics::Metrics;
use operator::queue::Queue;
use operator::reader::Reader;
use operator::resolver::{Failure, Keyring, Request, Resolution, Resolver};
use operator::trust::TrustBook;
use registry::development::{Access, Account, DevelopmentRegistry, Options};
use registry::{Client, Config, CredentialProviders, Credentials};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const USER: &str = "shop";
pub(crate) const PASSWORD: &str = "open-sesame";
/// A job that has begun ends within this, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that outlives an operator.
pub(crate) struct World {
    pub(crate) registry: DevelopmentRegistry,
    pub(crate) api: Api,
    key: SigningKey,
    caches: Caches,
    folder: tempfile::TempDir,
}

/// An operator's resolver.
pub(crate) struct Operator {
    caches: Caches,
    queue: Arc<Queue>,
    resolver: Resolver,
}

/// An API server that has what it is given.
#[derive(Clone, Default)]
pub(crate) struct Api {
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
    reads: Arc<AtomicUsize>,
}

impl World {
    /// With a registry that lets nobody in but [`USER`].
    pub(crate) async fn private() -> Self {
        Self::start(Access::Basic(vec![Account::new(USER, PASSWORD)])).await
    }

    pub(crate) async fn start(access: Access) -> Self {
        let options = Options {
            access,
            ..Options::default()
        };
        let registry = DevelopmentRegistry::start("127.0.0.1:0".parse().unwrap(), options)
            .await
            .unwrap();
        let key = SigningKey::generate().unwrap();
        let world = Self {
            registry,
            api: Api::default(),
            key,
            caches: Caches::default(),
            folder: tempfile::tempdir().unwrap(),
        };
        world.trust(world.registry.addr());
        world
    }

    /// Trusts what is signed in the registry at `address`, and in no other.
    pub(crate) fn trust(&self, address: SocketAddr) {
        // The API server's: an object with a lower one is older.
        static VERSION: AtomicUsize = AtomicUsize::new(1);
        let version = VERSION.fetch_add(1, Ordering::SeqCst).to_string();
        let key = self.key.public_key().to_pem();
        self.caches
            .policies
            .written(policy(&key, address, &version));
    }

    /// An operator, started anew: it has the content cache and no memory.
    pub(crate) async fn operator(&self, providers: Option<CredentialProviders>) -> Operator {
        let queue = Arc::new(Queue::default());
        let inspector = Inspector::new(
            env!("CARGO_BIN_EXE_lighterman-operator").into(),
            vec![inspector::ROLE.to_owned()],
        );
        let resolver = Resolver::new(
            Client::new(Config::default()).unwrap(),
            Keyring::new(Reader::new(self.api.serve().await), providers),
            ContentStore::open(self.folder.path()).await.unwrap(),
            Arc::clone(&queue),
            Metrics::new().unwrap(),
            inspector,
        );
        Operator {
            caches: self.caches.clone(),
            queue,
            resolver,
        }
    }

    /// Pushes and signs a component.
    pub(crate) async fn publish(&self, name: &str) -> (ImageReference, Digest) {
        let client = Client::new(Config::default()).unwrap();
        let credentials = Credentials::basic(USER, PASSWORD);
        let image: ImageReference = format!("{}/{name}", self.registry.addr()).parse().unwrap();
        let wasm = wat::parse_str("(component (core module (memory 1)))").unwrap();
        let digest = client
            .push(&image, wasm.into(), &BTreeMap::new(), &credentials)
            .await
            .unwrap();
        let bundle = signature::sign(&self.key, &digest).unwrap();
        client
            .attach_bundle(&image, &digest, bundle.into(), &credentials)
            .await
            .unwrap();
        self.registry.clear_requests();
        (image, digest)
    }

    /// `auths` for the registry, as `kubectl create secret docker-registry` writes it.
    pub(crate) fn auths(&self, password: &str) -> Value {
        json!({self.registry.addr().to_string(): {"username": USER, "password": password}})
    }

    /// The paths of the blobs that were asked for.
    pub(crate) fn blobs(&self) -> Vec<String> {
        let requests = self.registry.requests().into_iter();
        requests
            .map(|request| request.path)
            .filter(|path| path.contains("/blobs/"))
            .collect()
    }
}

impl Operator {
    /// What is known of a component now; a job is started if one is due.
    pub(crate) fn look(&self, component: &WasmComponent) -> (Resolution, Option<Duration>) {
        let validated = validate(component).unwrap();
        let request = Request::new(&self.caches, &TrustBook::default(), validated);
        let looked = self.resolver.look(request);
        (looked.resolution, looked.again)
    }

    /// Waits until some job has ended.
    pub(crate) async fn ended(&self) {
        let ended = tokio::time::timeout(PATIENCE, self.queue.next());
        ended.await.expect("a job ends");
    }

    async fn resolution(&self, component: &WasmComponent) -> Resolution {
        loop {
            match self.look(component).0 {
                Resolution::Pending => self.ended().await,
                resolution => return resolution,
            }
        }
    }

    pub(crate) async fn admitted(&self, component: &WasmComponent) -> Digest {
        match self.resolution(component).await {
            Resolution::Done(admitted) => admitted.digest,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn refused(&self, component: &WasmComponent) -> Failure {
        match self.resolution(component).await {
            Resolution::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }
}

impl Api {
    pub(crate) fn secret(&self, namespace: &str, name: &str, key: &str, content: &Value) {
        let object = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"namespace": namespace, "name": name},
            "data": {key: STANDARD.encode(content.to_string())},
        });
        self.put("secrets", namespace, name, object);
    }

    /// The `default` ServiceAccount, with these pull secrets.
    pub(crate) fn account(&self, namespace: &str, secrets: &[&str]) {
        let secrets: Vec<Value> = secrets.iter().map(|name| json!({"name": name})).collect();
        let object = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"namespace": namespace, "name": "default"},
            "imagePullSecrets": secrets,
        });
        self.put("serviceaccounts", namespace, "default", object);
    }

    /// How often it was asked.
    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    fn put(&self, kind: &str, namespace: &str, name: &str, object: Value) {
        let path = format!("{namespace}/{kind}/{name}");
        self.objects.lock().unwrap().insert(path, object);
    }

    pub(crate) async fn serve(&self) -> kube::Client {
        type Name = Path<(String, String, String)>;
        let answer = async |State(api): State<Api>, Path((namespace, kind, name)): Name| {
            api.reads.fetch_add(1, Ordering::SeqCst);
            let path = format!("{namespace}/{kind}/{name}");
            match api.objects.lock().unwrap().get(&path) {
                Some(object) => (StatusCode::OK, Json(object.clone())),
                None => {
                    let status = json!({
                        "apiVersion": "v1", "kind": "Status", "status": "Failure",
                        "reason": "NotFound", "message": "not found", "code": 404,
                    });
                    (StatusCode::NOT_FOUND, Json(status))
                }
            }
        };
        let router = Router::new()
            .route("/api/v1/namespaces/{namespace}/{kind}/{name}", get(answer))
            .with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        kube::Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap()
    }
}

pub(crate) fn component(
    namespace: &str,
    name: &str,
    image: &ImageReference,
    secrets: &[&str],
) -> WasmComponent {
    let secrets: Vec<Value> = secrets.iter().map(|name| json!({"name": name})).collect();
    serde_json::from_value(json!({
        "apiVersion": crds::API_VERSION, "kind": "WasmComponent",
        "metadata": {
            "namespace": namespace, "name": name, "uid": format!("uid-{namespace}-{name}"),
            "generation": 1, "resourceVersion": "1",
        },
        "spec": {"image": image.to_string(), "imagePullSecrets": secrets, "imagePollInterval": "60s"},
    }))
    .unwrap()
}

pub(crate) fn policy(key: &str, address: SocketAddr, version: &str) -> TrustPolicy {
    serde_json::from_value(json!({
        "apiVersion": crds::API_VERSION, "kind": "TrustPolicy",
        "metadata": {"name": "tests", "uid": "policy", "generation": 1, "resourceVersion": version},
        "spec": {
            "images": [{"glob": format!("{address}/**")}],
            "authorities": [{"name": "tests", "key": {"data": key}, "ctlog": "Ignore"}],
        },
    }))
    .unwrap()
}
