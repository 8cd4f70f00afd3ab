//! What enforcement costs a guest: the same component on the same kind of engine, once in the
//! runtime with rights, limits and audit, once with plain wasmtime-wasi around it and none of
//! that. Both take turns in one process; prints `NAME RATIO` for each. Started by `bench`, or
//! by hand with a number of turns.

#[path = "../../crates/runtime/tests/behaviour/throw_away.rs"]
mod throw_away;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use capability::grant::{MountGrant, MountPoint, VolumeSource};
use capability::{Allow, Bytes as Quantity, Ceiling, Effective, Grant, Limits, Span, VolumeKind};
use http::Request;
use http_body_util::{BodyExt, Full};
use runtime::{
    AuditLevel, AuditSink, Code, Component, Config, EngineClass, Identity, Mount, Output, Runtime,
    Workload, compile,
};
use tokio::sync::oneshot;
use tokio::task::unconstrained;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::filesystem::FsPerms;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

/// As in the programs that are shipped.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Turns that each side takes; the median of the ratios is the figure.
const TURNS: usize = 15;
/// Calls of hello in one turn.
const HELLOS: usize = 4_000;
/// Calls of the guest that opens files in one turn, and how often each opens one: so often
/// that making the instance does not count.
const FILE_CALLS: usize = 20;
const OPENS: usize = 200;
/// An epoch that never comes.
const NEVER: u64 = 1 << 40;
const CLASS: EngineClass = EngineClass::SMALL;

/// A component in plain wasmtime-wasi.
struct Plain {
    engine: Engine,
    proxy: ProxyPre<Host>,
    /// A directory that it sees at `/data`.
    directory: Option<std::path::PathBuf>,
}

/// The data of its stores.
struct Host {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
}

struct Hooks;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let turns = match std::env::args().nth(1) {
        Some(turns) => turns.parse().context("the number of turns")?,
        None => TURNS,
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let config = Config::for_budget(512 << 20, 2);
    let engine = runtime::bare_engine(CLASS, &config)?;
    let runtime = Runtime::new(config, Output::discard(), AuditSink::discard())?;

    let hello = std::fs::read(root.join("examples/hello/hello.wasm"))?;
    let plain = Plain::new(&engine, &hello, None).map_err(readable)?;
    let enforced = enforced(&runtime, &hello, Vec::new())?;
    let ratio = compare(enforced, plain, Bytes::new(), turns, HELLOS).await?;
    println!("hello_enforced_vs_plain {ratio:.4}");

    let files = std::fs::read(root.join("tests/guests/files/files.wasm"))?;
    // On a disk: in memory nothing waits, so the runtime would not change threads for it.
    let directory = root.join("target/bench-files");
    std::fs::create_dir_all(directory.join("input"))?;
    std::fs::write(directory.join("input/file"), [b'x'; 4096])?;
    let mount = Mount {
        volume: "data".to_owned(),
        path: "/data".parse()?,
        root: Arc::new(std::fs::File::open(&directory)?.into()),
        size_limit: Some(64 << 20),
        read_only: false,
    };
    let orders = format!("do=cycle&from=/data&path=input/file&count={OPENS}\n");
    let plain = Plain::new(&engine, &files, Some(&directory)).map_err(readable)?;
    let enforced = self::enforced(&runtime, &files, vec![mount])?;
    let ratio = compare(enforced, plain, orders.into(), turns, FILE_CALLS).await?;
    println!("file_enforced_vs_plain {ratio:.4}");
    Ok(())
}

/// The median of how much longer the runtime takes for `calls` calls than plain wasmtime-wasi.
async fn compare(
    enforced: Arc<Component>,
    plain: Plain,
    body: Bytes,
    turns: usize,
    calls: usize,
) -> Result<f64> {
    // On a thread of the executor, as in a server; but there each call is a task's own, while
    // here tokio would send the one task of all calls to the end of its queue every few dozen
    // of them, and a sleeping thread would be woken for it.
    tokio::spawn(unconstrained(async move {
        let answer = plain.call(&body).await.map_err(readable)?;
        let same = in_runtime(&enforced, &body).await?;
        ensure!(
            answer == same,
            "the two answer differently: {answer:?} and {same:?}"
        );
        let mut ratios = Vec::new();
        for _ in 0..turns {
            let start = Instant::now();
            for _ in 0..calls {
                plain.call(&body).await.map_err(readable)?;
            }
            let without = start.elapsed();
            let start = Instant::now();
            for _ in 0..calls {
                in_runtime(&enforced, &body).await?;
            }
            ratios.push(start.elapsed().as_secs_f64() / without.as_secs_f64());
        }
        ratios.sort_by(f64::total_cmp);
        ratios.get(turns / 2).copied().context("no turns")
    }))
    .await?
}

/// wasmtime's errors are of a kind of their own.
fn readable(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

async fn in_runtime(component: &Component, body: &Bytes) -> Result<Bytes> {
    let response = component.handle(request(body)?).await;
    ensure!(response.status().is_success(), "{}", response.status());
    Ok(response.into_body().collect().await?.to_bytes())
}

fn request(body: &Bytes) -> http::Result<Request<Full<Bytes>>> {
    let request = Request::post("/").header("host", "bench.example");
    request.body(Full::new(body.clone()))
}

/// A component under a manifest's worth of rules.
fn enforced(runtime: &Arc<Runtime>, wasm: &[u8], mounts: Vec<Mount>) -> Result<Arc<Component>> {
    let verified = throw_away::verified(wasm.to_vec())?;
    let code = Code::seal(&verified, CLASS, &compile::compile(CLASS, verified.wasm())?)?;
    let mut limits = Limits::default();
    limits.per_call.cpu_time = Span::seconds(10);
    limits.per_replica.memory = Quantity(256 << 20);
    let effective = Effective {
        requests: vec![capability::Request::from_toml(MANIFEST)?],
        grant: Grant::Listed {
            filesystem: vec![MountGrant {
                mount: MountPoint {
                    volume: "data".to_owned(),
                    source: VolumeSource::EmptyDir,
                    path: "/data".parse()?,
                },
                read: vec!["/data/input/**".parse()?],
                write: vec!["/data/output/**".parse()?],
            }],
            outbound: Vec::new(),
            process: Default::default(),
        },
        ceilings: vec![Ceiling {
            policy: "baseline".to_owned(),
            allow: Allow {
                volumes: [VolumeKind::EmptyDir].into(),
                ..Allow::default()
            },
            ..Ceiling::default()
        }],
    };
    let workload = Workload {
        identity: Identity {
            namespace: "bench".to_owned(),
            component: "guest".to_owned(),
            revision: "guest-1".to_owned(),
            node: "node".to_owned(),
        },
        limits,
        effective: Arc::new(effective),
        values: capability::Values::default(),
        mounts,
        credentials: Vec::new(),
        audit: AuditLevel::FirstUse,
        replicas: 1,
        max_request_body: 1 << 20,
        listens: false,
        initial_memory: verified.facts().initial_memory,
    };
    Ok(runtime.load(&code, workload)?)
}

const MANIFEST: &str = r#"
[component]
name = "guest"
version = "1.0.0"

[permissions.filesystem]
readable_paths = ["/data/input/**"]
writable_paths = ["/data/output/**"]
"#;

impl Plain {
    fn new(engine: &Engine, wasm: &[u8], directory: Option<&Path>) -> wasmtime::Result<Plain> {
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        let component = wasmtime::component::Component::new(engine, wasm)?;
        Ok(Plain {
            engine: engine.clone(),
            proxy: ProxyPre::new(linker.instantiate_pre(&component)?)?,
            directory: directory.map(Path::to_path_buf),
        })
    }

    async fn call(&self, body: &Bytes) -> wasmtime::Result<Bytes> {
        let mut wasi = WasiCtxBuilder::new();
        if let Some(directory) = &self.directory {
            wasi.preopened_dir(directory, "/data", FsPerms::ReadOnly)?;
        }
        let host = Host {
            table: ResourceTable::new(),
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            hooks: Hooks,
        };
        let mut store = Store::new(&self.engine, host);
        store.set_epoch_deadline(NEVER);
        let (sender, head) = oneshot::channel();
        let request = request(body)?.map(|body| body.map_err(|never| -> Error { match never {} }));
        let mut http = store.data_mut().http();
        let request = http.new_incoming_request(Scheme::Http, request)?;
        let outparam = http.new_response_outparam(sender)?;
        let proxy = self.proxy.instantiate_async(&mut store).await?;
        proxy
            .wasi_http_incoming_handler()
            .call_handle(&mut store, request, outparam)
            .await?;
        drop(store);
        let response = head.await??;
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

type Sending = Box<
    dyn Future<
            Output = wasmtime_wasi_http::Result<(
                http::Response<WasiBody>,
                Box<dyn Future<Output = wasmtime_wasi_http::Result<()>> + Send>,
            )>,
        > + Send,
>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        _request: Request<WasiBody>,
        _options: Option<RequestOptions>,
        _done: Box<dyn Future<Output = wasmtime_wasi_http::Result<()>> + Send>,
    ) -> Sending {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
