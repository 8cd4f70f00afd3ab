//! A node without a cluster: a source that signs what it is given, a sink that remembers what
//! it is told, and a caller that counts what it gets.

mod guest;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use artifact::root::Roots;
use artifact::signature::{SigningKey, sign};
use artifact::{Digest, ImageReference, Parcel, trust::Policy};
use bytes::Bytes;
use capability::{Ceiling, Span};
use crds::component::{Health, HttpTrigger, RestartPolicy, RunPort, RunTrigger, Trigger};
use crds::handover::Values;
use crds::revision::{ComponentIdentity, RevisionDocument, Seal};
use crds::{ComponentPlacementStatus, WasmComponentSpec};
use futures::FutureExt;
use futures::future::BoxFuture;
use node_agent::config::Program;
use node_agent::control::restart::BackOff;
use node_agent::network::Network;
use node_agent::{
    Config, Desired, DesiredPlacement, DesiredRevision, Offered, Origin, PlacementKey, ReportError,
    Rules, Sink, Source, SourceError, Trust,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use guest::{echo, hello, living, polite_echo, worker};

pub(crate) const IMAGE: &str = "registry.example/shop/orders";
const PATIENCE: Duration = Duration::from_secs(60);

/// Revisions by name, all signed with one key.
pub(crate) struct Shelf {
    key: SigningKey,
    revisions: Mutex<BTreeMap<String, (RevisionDocument, Parcel)>>,
    /// Whether the policy is there, and what it says beside who may sign.
    policy_exists: AtomicBool,
    /// Whether who asks for the policies waits with what it was told, and how many have asked.
    told_late: watch::Sender<bool>,
    judged: AtomicU64,
    more: Mutex<Value>,
    /// Revisions that a node has admitted, as a node's disk remembers them.
    admitted: Mutex<BTreeSet<String>>,
    /// What the component gives its revisions: all that `Shelf::put` writes into them.
    spec: Mutex<WasmComponentSpec>,
    /// What namespaces may be given.
    ceilings: Mutex<Vec<Ceiling>>,
    /// What the operator reads from ConfigMaps and Secrets, and how often it was asked.
    values: Mutex<Values>,
    asked: AtomicU64,
}

/// What was told last, by placement.
#[derive(Clone)]
pub(crate) struct Told(pub(crate) watch::Sender<BTreeMap<PlacementKey, ComponentPlacementStatus>>);

/// A node in this process.
pub(crate) struct LocalNode {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) told: Told,
    pub(crate) desired: watch::Sender<Desired>,
    /// Tells the node that the policies have changed.
    pub(crate) trust_changes: watch::Sender<u64>,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), node_agent::Error>>,
}

/// What became of the requests of a caller.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) answers: BTreeMap<String, u64>,
    pub(crate) failures: Vec<String>,
}

pub(crate) fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_lighterman-agent").into()
}

pub(crate) fn compile_program() -> Program {
    Program {
        path: program(),
        arguments: vec!["compile-one".into()],
    }
}

pub(crate) fn identity() -> ComponentIdentity {
    ComponentIdentity {
        namespace: "shop".to_owned(),
        name: "orders".to_owned(),
        uid: "11111111-1111-1111-1111-111111111111".to_owned(),
    }
}

fn spec() -> WasmComponentSpec {
    WasmComponentSpec {
        image: IMAGE.to_owned(),
        triggers: vec![Trigger {
            name: "web".to_owned(),
            http: Some(HttpTrigger::default()),
            ..Trigger::default()
        }],
        ..WasmComponentSpec::default()
    }
}

pub(crate) fn key() -> PlacementKey {
    PlacementKey {
        namespace: "shop".to_owned(),
        name: "orders-node".to_owned(),
    }
}

/// A port that nothing listens on. Below the ports that outgoing connections get, and given
/// once: a request of another test must not sit on it before the node does. Runs of these tests
/// at the same time start at different places.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let start = 10_000 + u16::try_from(std::process::id() % 200).unwrap() * 50;
    loop {
        let port = start + GIVEN.fetch_add(1, Ordering::Relaxed);
        if std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

pub(crate) fn placement(port: u16, revisions: Vec<DesiredRevision>) -> Desired {
    let placement = DesiredPlacement {
        uid: "22222222-2222-2222-2222-222222222222".to_owned(),
        generation: 1,
        component: identity(),
        replicas: 1,
        ports: BTreeMap::from([("web".to_owned(), port)]),
        revisions,
    };
    Desired {
        placements: BTreeMap::from([(key(), placement)]),
    }
}

/// One of a component that runs by itself.
pub(crate) fn run_placement(replicas: u32, revisions: Vec<DesiredRevision>) -> Desired {
    let mut desired = placement(0, revisions);
    for placement in desired.placements.values_mut() {
        placement.ports.clear();
        placement.replicas = replicas;
    }
    desired
}

pub(crate) fn config(state_dir: &Path) -> Config {
    Config {
        spawner: None,
        node_name: "node".to_owned(),
        listen_address: Ipv4Addr::LOCALHOST.into(),
        state_dir: state_dir.to_owned(),
        guest_memory: 256 << 20,
        cores: 2,
        p3: false,
        network: Network::default(),
        cache_bytes: 256 << 20,
        host_paths: Vec::new(),
        refresh_every: Duration::from_secs(1),
        shutdown_delay: Duration::ZERO,
        back_off: BackOff {
            first: Duration::from_millis(300),
            longest: Duration::from_secs(1),
            steady_after: Duration::from_millis(500),
            ..BackOff::default()
        },
        admin_listen: None,
        compile_program: compile_program(),
    }
}

impl Shelf {
    pub(crate) fn new() -> Self {
        Self {
            key: SigningKey::generate().unwrap(),
            revisions: Mutex::default(),
            policy_exists: AtomicBool::new(true),
            told_late: watch::Sender::new(false),
            judged: AtomicU64::new(0),
            more: Mutex::new(json!({})),
            admitted: Mutex::default(),
            spec: Mutex::new(spec()),
            ceilings: Mutex::default(),
            values: Mutex::default(),
            asked: AtomicU64::new(0),
        }
    }

    /// Changes what the component gives the revisions that are put here from now on.
    pub(crate) fn give(&self, change: impl FnOnce(&mut WasmComponentSpec)) {
        change(&mut self.spec.lock().unwrap());
    }

    /// The revisions that are put here from now on run by themselves, and do this.
    pub(crate) fn run(&self, restart_policy: RestartPolicy, args: &[&str]) {
        self.give(|spec| {
            spec.args = args.iter().map(|arg| (*arg).to_owned()).collect();
            spec.triggers = vec![Trigger {
                name: "main".to_owned(),
                run: Some(RunTrigger {
                    restart_policy,
                    ports: Vec::new(),
                }),
                ..Trigger::default()
            }];
        });
    }

    /// The revisions that are put here from now on listen on this port, and do this.
    pub(crate) fn listen(&self, port: i32, args: &[&str]) {
        self.run(RestartPolicy::Always, args);
        self.give(|spec| {
            spec.health = Some(Health {
                http_get: None,
                start_timeout: Span::seconds(2),
            });
            let run = spec.triggers[0].run.as_mut().unwrap();
            run.ports = vec![RunPort {
                name: "tcp".to_owned(),
                port,
                ..RunPort::default()
            }];
        });
    }

    pub(crate) fn allow(&self, ceilings: Vec<Ceiling>) {
        *self.ceilings.lock().unwrap() = ceilings;
    }

    pub(crate) fn hold(&self, change: impl FnOnce(&mut Values)) {
        change(&mut self.values.lock().unwrap());
    }

    /// How often values were asked for.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Puts a signed revision on the shelf and says how to ask for it.
    pub(crate) fn put(&self, wasm: Bytes, weight: u32) -> DesiredRevision {
        let digest = Digest::of(&manifest(&wasm));
        self.put_with(wasm, weight, vec![sign(&self.key, &digest).unwrap().into()])
    }

    /// The same with bundles of the caller's choice.
    pub(crate) fn put_with(
        &self,
        wasm: Bytes,
        weight: u32,
        bundles: Vec<Bytes>,
    ) -> DesiredRevision {
        let manifest = manifest(&wasm);
        let digest = Digest::of(&manifest);
        let parcel = Parcel {
            manifest: manifest.into(),
            config: Bytes::from_static(b"{}"),
            layer: wasm,
            bundles,
        };
        let spec = self.spec.lock().unwrap().clone();
        let document = RevisionDocument {
            version: RevisionDocument::VERSION,
            component: identity(),
            image: IMAGE.to_owned(),
            digest: digest.to_string(),
            args: spec.args.clone(),
            env: Vec::new(),
            env_from: Vec::new(),
            config: Vec::new(),
            volumes: spec.volumes.clone(),
            capabilities: spec.capabilities.clone(),
            audit: spec.audit,
            requests: Vec::new(),
            triggers: spec.triggers.iter().map(Into::into).collect(),
            limits: spec.limits(),
            health: spec.health.clone(),
            termination_grace_period_seconds: 5,
        };
        let name = document.revision_name();
        self.revisions
            .lock()
            .unwrap()
            .insert(name.clone(), (document, parcel));
        DesiredRevision {
            name,
            digest,
            weight,
        }
    }

    pub(crate) fn delete_policy(&self) {
        self.policy_exists.store(false, Ordering::Relaxed);
    }

    pub(crate) fn restore_policy(&self) {
        self.policy_exists.store(true, Ordering::Relaxed);
    }

    /// Whether who asks for the policies goes on with what it was told only later.
    pub(crate) fn tell_late(&self, late: bool) {
        self.told_late.send_replace(late);
    }

    /// How often the policies were asked for.
    pub(crate) fn judged(&self) -> u64 {
        self.judged.load(Ordering::Relaxed)
    }

    /// Adds to what the policy says, such as `deny`.
    pub(crate) fn tighten(&self, more: Value) {
        *self.more.lock().unwrap() = more;
    }

    fn rules(&self) -> Rules {
        let more = self.more.lock().unwrap().clone();
        let exists = self.policy_exists.load(Ordering::Relaxed);
        let policies = exists.then(|| self.policy(more));
        Rules::new(policies.into_iter().collect(), Roots::new())
    }

    fn policy(&self, more: Value) -> Policy {
        let mut spec = json!({
            "images": [{"glob": "registry.example/**"}],
            "authorities": [{
                "name": "release",
                "key": {"data": self.key.public_key().to_pem()},
                "ctlog": "Ignore",
            }],
        });
        let more = more.as_object().cloned().unwrap_or_default();
        spec.as_object_mut().unwrap().extend(more);
        Policy::parse("all", &spec).unwrap()
    }
}

impl Source for Shelf {
    fn revision<'a>(
        &'a self,
        _namespace: &'a str,
        revision: &'a str,
    ) -> BoxFuture<'a, Result<Offered, SourceError>> {
        let found = self.revisions.lock().unwrap().get(revision).cloned();
        let offered = found
            .map(|(document, _)| Offered {
                document,
                seal: None::<Seal>,
                parcel: None,
            })
            .ok_or_else(|| SourceError::NotYet("no such revision".to_owned()));
        std::future::ready(offered).boxed()
    }

    fn parcel<'a>(&'a self, offered: &'a Offered) -> BoxFuture<'a, Result<Parcel, SourceError>> {
        let name = offered.document.revision_name();
        let parcel = self.revisions.lock().unwrap()[&name].1.clone();
        std::future::ready(Ok(parcel)).boxed()
    }

    fn values<'a>(
        &'a self,
        _document: &'a RevisionDocument,
    ) -> BoxFuture<'a, Result<Values, SourceError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(self.values.lock().unwrap().clone())).boxed()
    }

    fn trust<'a>(
        &'a self,
        _component: &'a ComponentIdentity,
    ) -> BoxFuture<'a, Result<Trust, SourceError>> {
        let trust = Trust {
            rules: self.rules(),
            namespace_labels: BTreeMap::new(),
            image: IMAGE.parse::<ImageReference>().unwrap(),
            spec: Box::new(self.spec.lock().unwrap().clone()),
            origin: Origin::SameProcess,
            ceilings: self.ceilings.lock().unwrap().clone(),
        };
        self.judged.fetch_add(1, Ordering::Relaxed);
        let mut late = self.told_late.subscribe();
        async move {
            let in_time = late.wait_for(|late| !late).await.is_ok();
            assert!(in_time, "the shelf is there as long as the node");
            Ok(trust)
        }
        .boxed()
    }

    fn admitted<'a>(
        &'a self,
        _namespace: &'a str,
        revision: &'a str,
        _trust: &'a Trust,
    ) -> BoxFuture<'a, ()> {
        self.admitted.lock().unwrap().insert(revision.to_owned());
        std::future::ready(()).boxed()
    }

    fn earlier_trust<'a>(
        &'a self,
        _namespace: &'a str,
        revision: &'a str,
        now: &'a Trust,
    ) -> BoxFuture<'a, Option<Trust>> {
        let admitted = self.admitted.lock().unwrap().contains(revision);
        let earlier = admitted.then(|| Trust {
            rules: Rules::new(vec![self.policy(json!({}))], Roots::new()),
            ..now.clone()
        });
        std::future::ready(earlier).boxed()
    }
}

impl Told {
    pub(crate) fn new() -> Self {
        Self(watch::channel(BTreeMap::new()).0)
    }

    /// Waits until the placement's status is as wanted.
    pub(crate) async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&ComponentPlacementStatus) -> bool,
    ) {
        let mut told = self.0.subscribe();
        let seen = told.wait_for(|all| all.get(&key()).is_some_and(&wanted));
        let seen = tokio::time::timeout(PATIENCE, seen)
            .await
            .map(|seen| seen.is_ok());
        assert!(
            matches!(seen, Ok(true)),
            "never {what}; last told: {:#?}",
            self.0.borrow()
        );
    }

    /// Returns when its status is so, however long that takes.
    pub(crate) fn until_forever(
        &self,
        wanted: impl Fn(&ComponentPlacementStatus) -> bool + Send + Sync + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let mut told = self.0.subscribe();
        async move {
            let seen = told.wait_for(|all| all.get(&key()).is_some_and(&wanted));
            seen.await.map(drop).unwrap();
        }
    }

    pub(crate) async fn until_serving(&self, revision: &str) {
        self.until(&format!("serving {revision}"), |status| {
            status.ready && status.serving.as_deref() == Some(revision)
        })
        .await;
    }
}

impl Sink for Told {
    fn report<'a>(
        &'a self,
        placement: &'a PlacementKey,
        status: &'a ComponentPlacementStatus,
    ) -> BoxFuture<'a, Result<(), ReportError>> {
        self.0.send_modify(|all| {
            all.insert(placement.clone(), status.clone());
        });
        std::future::ready(Ok(())).boxed()
    }
}

impl LocalNode {
    pub(crate) fn start(state_dir: &Path, desired: Desired, shelf: Arc<Shelf>) -> Self {
        Self::start_with(config(state_dir), desired, shelf)
    }

    pub(crate) fn start_with(config: Config, desired: Desired, shelf: Arc<Shelf>) -> Self {
        Self::start_heard(config, desired, shelf, runtime::Output::discard())
    }

    /// One whose guests are heard.
    pub(crate) fn start_heard(
        config: Config,
        desired: Desired,
        shelf: Arc<Shelf>,
        output: runtime::Output,
    ) -> Self {
        let told = Told::new();
        let (desired, receiver) = watch::channel(desired);
        let (trust_changes, changes) = watch::channel(0);
        let stop = CancellationToken::new();
        let task = tokio::spawn(node_agent::run_local(
            config,
            receiver,
            Arc::clone(&shelf) as Arc<dyn Source>,
            changes,
            Arc::new(told.clone()),
            output,
            stop.clone(),
        ));
        Self {
            shelf,
            told,
            desired,
            trust_changes,
            stop,
            task,
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

/// Asks once, on a connection of its own.
pub(crate) async fn ask(client: &reqwest::Client, port: u16) -> Result<(u16, String), String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let answer = client.get(format!("http://{address}/")).send().await;
    let answer = answer.map_err(|error| format!("{error:?}"))?;
    let status = answer.status().as_u16();
    Ok((
        status,
        answer.text().await.map_err(|error| format!("{error:?}"))?,
    ))
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

/// Asks again and again until told to stop, over connections that are kept.
pub(crate) fn load(port: u16, stop: CancellationToken) -> JoinHandle<Tally> {
    tokio::spawn(async move {
        let client = client();
        let mut tally = Tally::default();
        while !stop.is_cancelled() {
            match ask(&client, port).await {
                Ok((200, body)) => *tally.answers.entry(version_in(&body)).or_default() += 1,
                Ok((status, body)) => tally.failures.push(format!("{status}: {body}")),
                Err(error) => tally.failures.push(error),
            }
        }
        tally
    })
}

/// The version that a hello says it is.
fn version_in(body: &str) -> String {
    let line = body.lines().find_map(|line| line.strip_prefix("version: "));
    line.unwrap_or_default().to_owned()
}

fn manifest(wasm: &[u8]) -> Vec<u8> {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/wasm",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": Digest::of(b"{}").to_string(),
            "size": 2,
        },
        "layers": [{
            "mediaType": "application/wasm",
            "digest": Digest::of(wasm).to_string(),
            "size": wasm.len(),
        }],
    })
    .to_string()
    .into_bytes()
}
