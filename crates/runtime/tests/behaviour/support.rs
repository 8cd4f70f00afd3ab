//! Components, compiled once for all tests, and the shortest way to ask them something.

use crate::throw_away;
use artifact::VerifiedComponent;
use bytes::Bytes;
use capability::{Limits, Span, Values};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use runtime::serve::{Drain, Settings, connection};
use runtime::{
    AuditLevel, AuditSink, Caller, Code, Component, Config, EngineClass, Identity, LoadError,
    Outcome, Output, Runtime, Workload,
};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use tokio::net::TcpListener;

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const PROBE: &[u8] = include_bytes!("../../../../tests/guests/probe/probe.wasm");
pub(crate) const PROBE_CONFIG: &[u8] =
    include_bytes!("../../../../tests/guests/probe/probe-config.wasm");
pub(crate) const HELLO: &[u8] = include_bytes!("../../../../examples/hello/hello.wasm");

pub(crate) const WORKER: &[u8] = include_bytes!("../../../../tests/guests/worker/worker.wasm");

/// The same with a life and a state.
pub(crate) const LIVING: &[u8] = include_bytes!("../../../../tests/guests/worker/living.wasm");

pub(crate) const ECHO: &[u8] = include_bytes!("../../../../tests/guests/echo/echo.wasm");

/// The same that looks whether it is to end.
pub(crate) const POLITE_ECHO: &[u8] =
    include_bytes!("../../../../tests/guests/echo/polite-echo.wasm");
/// Typed exports of every kind.
pub(crate) const TOOLS: &[u8] = include_bytes!("../../../../tests/guests/tools/tools.wasm");

/// Of WASI 0.3.
pub(crate) const ASYNC_HELLO: &[u8] =
    include_bytes!("../../../../tests/guests/async-hello/async-hello.wasm");

type Compiled = (VerifiedComponent, Vec<u8>);
type CompiledBy = HashMap<(EngineClass, Vec<u8>), Arc<Compiled>>;

/// What came back, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The reason that the runtime gives when it answers itself.
    pub(crate) fn reason(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.text).unwrap_or_default();
        assert!(
            body["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "not an answer of the runtime: {self:?}"
        );
        body["reason"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) fn verified(wasm: &[u8]) -> VerifiedComponent {
    throw_away::verified(wasm.to_vec()).unwrap()
}

/// Machine code is made once per component and class: compiling is what takes time.
fn compiled(class: EngineClass, wasm: &[u8]) -> Arc<Compiled> {
    static CODE: LazyLock<Mutex<CompiledBy>> = LazyLock::new(Mutex::default);
    let mut code = CODE.lock().unwrap();
    let made = code.entry((class, wasm.to_vec())).or_insert_with(|| {
        let machine_code = runtime::compile::compile(class, wasm).unwrap();
        Arc::new((verified(wasm), machine_code))
    });
    Arc::clone(made)
}

pub(crate) fn code(class: EngineClass, wasm: &[u8]) -> Code {
    let compiled = compiled(class, wasm);
    Code::seal(&compiled.0, class, &compiled.1).unwrap()
}

pub(crate) fn small_config() -> Config {
    Config {
        live_stores: 32,
        ..Config::for_budget(512 * MIB, 2)
    }
}

pub(crate) fn runtime() -> Arc<Runtime> {
    Runtime::new(small_config(), Output::discard(), AuditSink::discard()).unwrap()
}

/// One with the engines for WASI 0.3.
pub(crate) fn runtime_p3() -> Arc<Runtime> {
    let config = Config {
        p3: true,
        ..small_config()
    };
    Runtime::new(config, Output::discard(), AuditSink::discard()).unwrap()
}

pub(crate) fn workload(name: &str) -> Workload {
    // A debug build on a busy machine takes its time; tests of CPU limits set their own.
    let mut limits = Limits::default();
    limits.per_call.cpu_time = Span::seconds(5);
    Workload {
        identity: Identity {
            namespace: "shop".into(),
            component: name.into(),
            revision: format!("{name}-1"),
            node: "node-1".into(),
        },
        limits,
        effective: Arc::default(),
        values: Values::default(),
        mounts: Vec::new(),
        credentials: Vec::new(),
        audit: AuditLevel::default(),
        replicas: 1,
        max_request_body: MIB,
        listens: false,
        initial_memory: 17 * 64 * 1024,
    }
}

pub(crate) fn try_load(
    runtime: &Arc<Runtime>,
    wasm: &[u8],
    adjust: impl FnOnce(&mut Workload),
) -> Result<Arc<Component>, LoadError> {
    let mut workload = workload("probe");
    adjust(&mut workload);
    runtime.load(&code(EngineClass::SMALL, wasm), workload)
}

pub(crate) fn load(
    runtime: &Arc<Runtime>,
    wasm: &[u8],
    adjust: impl FnOnce(&mut Workload),
) -> Arc<Component> {
    try_load(runtime, wasm, adjust).unwrap()
}

/// A probe on a runtime of its own.
pub(crate) fn probe(adjust: impl FnOnce(&mut Workload)) -> Arc<Component> {
    load(&runtime(), PROBE, adjust)
}

pub(crate) fn request(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path)
        .header("host", "probe.example")
        .body(Empty::new())
        .unwrap()
}

pub(crate) async fn get(component: &Component, path: &str) -> Answer {
    read(component.handle(request(path)).await).await
}

pub(crate) async fn post(component: &Component, path: &str, body: impl Into<Bytes>) -> Answer {
    let request = Request::post(path)
        .header("host", "probe.example")
        .body(Full::new(body.into()))
        .unwrap();
    read(component.handle(request).await).await
}

pub(crate) async fn read(response: http::Response<runtime::Body>) -> Answer {
    let (head, body) = response.into_parts();
    let text = body.collect().await.expect("a whole body").to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

/// Calls a function of a component through its trigger `rpc`, as `path` says.
pub(crate) async fn ask(component: &Component, method: Method, path: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "tools.example")
        .header("content-type", "application/json; charset=utf-8")
        .body(Full::new(body.to_owned().into()))
        .unwrap();
    let caller = Arc::new(Caller {
        trigger: "rpc".into(),
        address: None,
    });
    read(component.handle_for(Some(&caller), request).await).await
}

pub(crate) fn count(component: &Component, outcome: Outcome) -> u64 {
    let stats = component.stats();
    stats
        .outcomes
        .iter()
        .find(|(one, _)| *one == outcome)
        .unwrap()
        .1
}

/// Asks until the answer is as it should be, for things that happen beside the caller.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it never came to be that {what}");
}

/// A component behind a socket.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) drain: Drain,
}

impl Server {
    pub(crate) async fn start(component: &Arc<Component>, settings: Settings) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (component, drain) = (Arc::clone(component), Drain::new());
        let seen = drain.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (component, drain) = (Arc::clone(&component), seen.clone());
                let settings = settings.clone();
                tokio::spawn(
                    async move { connection(stream, &component, &settings, &drain).await },
                );
            }
        });
        Server { address, drain }
    }
}
