//! What a store of a guest holds: tables, WASI as far as it is used, and its errand.
//!
//! Everything a guest can reach hangs here. The parts of WASI that most calls never touch
//! are made at their first use, because a store is made for every request. Made by
//! `component`, reached by the host functions that `link` links.

use crate::call::Call;
use crate::capability::audit::{Audit, Capability};
use crate::capability::filesystem::{Files, FilesView, Salt};
use crate::capability::network::sockets::{self, Made};
use crate::capability::network::{Credential, Network};
use crate::capability::process::Processes;
use crate::config::Config;
use crate::errand::Errand;
use crate::error::LoadError;
use crate::outcome::Outcome;
use crate::output::{Lines, Stream};
use crate::run::{Ports, Stop};
use crate::workload::{Mount, Workload};
use capability::{Effective, Values};
use std::sync::{Arc, PoisonError, RwLock};
use wasmtime::Store;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// What all stores of one component share.
#[derive(Debug)]
pub(crate) struct Given {
    /// Without what is delivered.
    pub(crate) workload: Workload,
    pub(crate) lines: Arc<Lines>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) limits: StoreLimits,
    delivered: RwLock<Arc<Delivered>>,
}

/// What a component is handed, and what may be replaced while it runs. A store sees one and
/// the same from its first look to its end.
#[derive(Debug)]
pub(crate) struct Delivered {
    values: Values,
    config: Variables,
    pub(crate) credentials: Vec<Credential>,
    backings: Backings,
    /// Whether an instance may answer more than one request.
    reuses: bool,
}

/// What stands behind a component's capabilities.
#[derive(Debug)]
pub(crate) struct Backings {
    pub(crate) network: Arc<Network>,
    pub(crate) files: Arc<Files>,
    pub(crate) processes: Arc<Processes>,
}

/// The part of `Config` that is set on every store.
#[derive(Debug, Clone)]
pub(crate) struct StoreLimits {
    hostcall_fuel: usize,
    resources: usize,
    handles: usize,
    random_size: u64,
    field_size: usize,
    pub(crate) max_memory: u64,
}

/// Configuration values. Never printed.
struct Variables(WasiConfigVariables);

/// The data of a guest's store.
pub(crate) struct Guest {
    errand: Errand,
    delivered: Option<Arc<Delivered>>,
    table: ResourceTable,
    wasi: Option<WasiCtx>,
    http: WasiHttpCtx,
    sockets: Made,
    salt: Salt,
    stop: Option<Stop>,
    ports: Option<Ports>,
}

impl Given {
    pub(crate) fn new(
        mut workload: Workload,
        lines: Arc<Lines>,
        audit: Arc<Audit>,
        backings: Backings,
        limits: StoreLimits,
    ) -> Given {
        let values = std::mem::take(&mut workload.values);
        let credentials = std::mem::take(&mut workload.credentials);
        let effective = std::mem::take(&mut workload.effective);
        let delivered = Delivered::new(&audit, backings, effective, values, credentials);
        Given {
            workload,
            lines,
            audit,
            limits,
            delivered: RwLock::new(Arc::new(delivered)),
        }
    }

    /// Replaces what stores made from now on are handed.
    pub(crate) fn refresh(
        &self,
        effective: Arc<Effective>,
        values: Values,
        mounts: Vec<Mount>,
        credentials: Vec<Credential>,
    ) -> Result<(), LoadError> {
        let present = self.delivered();
        let backings = Backings {
            files: present.backings.files.renewed(&effective, mounts)?,
            network: present.backings.network.with_rights(&effective),
            processes: present.backings.processes.with_rights(&effective),
        };
        let new = Delivered::new(&self.audit, backings, effective, values, credentials);
        *self
            .delivered
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(())
    }

    /// What a store is handed that looks for the first time.
    pub(crate) fn delivered(&self) -> Arc<Delivered> {
        Arc::clone(
            &self
                .delivered
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Whether an instance may answer more than one request, as far as rights go.
    pub(crate) fn reuses(&self) -> bool {
        self.delivered().reuses
    }

    /// Its way out as it is now.
    pub(crate) fn network(&self) -> Arc<Network> {
        Arc::clone(self.delivered().network())
    }
}

impl Delivered {
    /// Withholds the variables that the manifest did not ask for, and says so.
    fn new(
        audit: &Audit,
        backings: Backings,
        effective: Arc<Effective>,
        mut values: Values,
        credentials: Vec<Credential>,
    ) -> Delivered {
        values.env.retain(|name, _| {
            let asked = effective.env(name);
            if let Err(rule) = &asked {
                audit.note(Capability::Environment, name, rule.clone(), None);
            }
            asked.is_ok()
        });
        Delivered {
            // What one caller had fetched with a secret, the next one would find in memory.
            reuses: credentials.is_empty() && effective.reuses_instances(),
            config: Variables(values.config.clone().into_iter().collect()),
            values,
            credentials,
            backings,
        }
    }

    pub(crate) fn network(&self) -> &Arc<Network> {
        &self.backings.network
    }
}

impl StoreLimits {
    pub(crate) fn new(config: &Config) -> StoreLimits {
        StoreLimits {
            hostcall_fuel: config.hostcall_fuel,
            resources: config.resources,
            handles: config.handles,
            random_size: config.random_size,
            field_size: config.field_size,
            max_memory: config.max_memory,
        }
    }

    /// For what lives on, and may keep open what many calls would.
    pub(crate) fn of_run(config: &Config) -> StoreLimits {
        /// As many calls as a run stands for.
        const CALLS: usize = 8;
        let limits = StoreLimits::new(config);
        StoreLimits {
            resources: limits.resources.saturating_mul(CALLS),
            handles: limits.handles.saturating_mul(CALLS),
            ..limits
        }
    }
}

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Variables")
    }
}

impl Guest {
    /// A store with every limit set, and nothing in it.
    pub(crate) fn store(engine: &wasmtime::Engine, call: &Arc<Call>) -> Store<Guest> {
        let limits = &call.given().limits;
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits.field_size);
        let guest = Guest {
            errand: Errand::new(call),
            delivered: None,
            table,
            wasi: None,
            http,
            sockets: Made::default(),
            salt: Salt::default(),
            stop: None,
            ports: None,
        };
        let mut store = Store::new(engine, guest);
        store.limiter(|guest| &mut guest.errand);
        store.set_hostcall_fuel(limits.hostcall_fuel);
        store.set_max_component_handles(limits.handles);
        Guest::refuel(&mut store);
        crate::cpu::supervise(&mut store);
        store
    }

    /// Gives a store the fuel of one call, where that is limited.
    pub(crate) fn refuel(store: &mut Store<Guest>) {
        if let Some(fuel) = store.data().given().workload.limits.per_call.fuel {
            // It fails on an engine that does not count; `load` has looked.
            let _ = store.set_fuel(fuel);
        }
    }

    /// Works for another call from now on, and is charged to it.
    ///
    /// # Errors
    /// The limit that leaves no room for what the store holds.
    pub(crate) fn renew(&mut self, call: &Arc<Call>) -> Result<(), Outcome> {
        self.errand.pass_to(call)?;
        // It names the caller of before to whoever judges its sockets.
        self.wasi = None;
        Ok(())
    }

    /// Whether it was handed what is handed out now, or nothing yet.
    pub(crate) fn is_up_to_date(&self) -> bool {
        let mine = self.delivered.as_ref();
        mine.is_none_or(|mine| Arc::ptr_eq(mine, &self.given().delivered()))
    }

    pub(crate) fn call(&self) -> &Arc<Call> {
        self.errand.call()
    }

    /// Says how it will be asked to end.
    pub(crate) fn stop_by(&mut self, stop: Stop) {
        self.stop = Some(stop);
    }

    /// How it is asked to end: one that answers requests never is.
    pub(crate) fn stop(&mut self) -> &Stop {
        self.stop.get_or_insert_default()
    }

    /// Says what it may listen on.
    pub(crate) fn listen_on(&mut self, ports: Ports) {
        self.ports = Some(ports);
    }

    /// What it may listen on: one that answers requests has nothing of its own.
    pub(crate) fn ports(&mut self) -> Ports {
        self.ports.get_or_insert_default().clone()
    }

    fn given(&self) -> &Given {
        self.call().given()
    }

    /// This store's way out.
    pub(crate) fn network(&mut self) -> &Arc<Network> {
        self.delivered().network()
    }

    /// What this store may start.
    pub(crate) fn processes(&mut self) -> &Arc<Processes> {
        &self.delivered().backings.processes
    }

    /// Whether the bytes that it moves are limited.
    pub(crate) fn has_io_limit(&self) -> bool {
        self.given().workload.limits.per_call.io.is_some()
    }

    /// The sockets it has made.
    pub(crate) fn sockets_made(&mut self) -> &mut Made {
        &mut self.sockets
    }

    /// Its file system.
    pub(crate) fn files(&mut self) -> FilesView<'_> {
        let Guest {
            errand,
            delivered,
            table,
            salt,
            ..
        } = self;
        let call = errand.call();
        let delivered = delivered.get_or_insert_with(|| call.given().delivered());
        FilesView {
            files: &delivered.backings.files,
            call,
            table,
            salt,
        }
    }

    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// What this store is handed.
    pub(crate) fn delivered(&mut self) -> &Arc<Delivered> {
        let call = self.errand.call();
        self.delivered
            .get_or_insert_with(|| call.given().delivered())
    }

    pub(crate) fn config(&mut self) -> &WasiConfigVariables {
        &self.delivered().config.0
    }
}

/// Arguments and environment as given, sockets if any are granted; no directories, no input.
fn wasi(delivered: &Delivered, call: &Call) -> WasiCtx {
    let given = call.given();
    let values = &delivered.values;
    let trigger = call.trigger();
    let mut builder = WasiCtxBuilder::new();
    builder
        .args(&values.args)
        .stdout(given.lines.stream(Stream::Stdout, trigger))
        .stderr(given.lines.stream(Stream::Stderr, trigger))
        .max_random_size(given.limits.random_size);
    sockets::allow(&mut builder, delivered.network(), call.caller());
    for (name, value) in &values.env {
        builder.env(name, value);
    }
    builder.build()
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Guest {
            errand,
            delivered,
            table,
            wasi: made,
            ..
        } = self;
        WasiCtxView {
            ctx: made.get_or_insert_with(|| {
                let call = errand.call();
                let delivered = delivered.get_or_insert_with(|| call.given().delivered());
                wasi(delivered, call)
            }),
            table,
        }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.errand,
        }
    }
}
