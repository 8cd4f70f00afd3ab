//! The runtime of a node: its engines, budgets and ticker, which all components share.
//!
//! Knows no component by name. `node-agent` makes one per worker; so may any host program,
//! see `examples/serve.rs`.

use crate::admission::NodeSlots;
use crate::capability::audit::AuditSink;
use crate::capability::filesystem::NodeFiles;
use crate::capability::network::Uplink;
use crate::code::Code;
use crate::component::{Component, Way};
use crate::config::Config;
use crate::engine::{self, EngineClass};
use crate::error::{Error, LoadError};
use crate::guest::Guest;
use crate::http::instance::Handler;
use crate::http::proxy::Proxy;
use crate::http::resting::Resting;
use crate::invoke::{Door, Invoke};
use crate::limits::Budget;
use crate::link::link;
use crate::output::Output;
use crate::run::Command;
use crate::ticker::Ticker;
use crate::workload::Workload;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::InstancePre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

/// Engines, budgets and the ticker that all components share.
#[derive(Debug)]
pub struct Runtime {
    config: Config,
    engines: BTreeMap<EngineClass, Running>,
    node: Node,
}

/// An engine, and places for instances that wait for a request.
#[derive(Debug)]
struct Running {
    engine: Engine,
    resting: Arc<Semaphore>,
}

/// What components draw on together.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) memory: Arc<Budget>,
    pub(crate) slots: Arc<NodeSlots>,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) output: Output,
    pub(crate) audit: AuditSink,
    pub(crate) uplink: Arc<Uplink>,
    pub(crate) files: Arc<NodeFiles>,
}

impl Running {
    fn new(class: EngineClass, config: &Config) -> Result<Running, Error> {
        let places = engine::resting(class, config);
        Ok(Running {
            engine: engine::build(class, config)?,
            resting: Arc::new(Semaphore::new(usize::try_from(places).unwrap_or(0))),
        })
    }
}

impl Runtime {
    /// Makes the engines and reserves their address space. What guests print goes to
    /// `output`, what they use and try to `audit`.
    ///
    /// Opens `/proc/self/pagemap` for the reset of memory; a process that gives up the right
    /// to open it (`PR_SET_DUMPABLE`) should do so afterwards.
    ///
    /// # Errors
    /// When the sizes do not fit into this machine, or a thread can not be started.
    pub fn new(config: Config, output: Output, audit: AuditSink) -> Result<Arc<Runtime>, Error> {
        let engines = EngineClass::ALL
            .into_iter()
            .filter(|class| config.p3 || !class.is_p3())
            .map(|class| Ok((class, Running::new(class, &config)?)))
            .collect::<Result<BTreeMap<_, _>, Error>>()?;
        let ticked = engines.values().map(|running| running.engine.weak());
        let node = Node {
            memory: Arc::new(Budget::new(config.guest_memory)),
            slots: NodeSlots::new(&config),
            ticker: Arc::new(Ticker::start(ticked.collect()).map_err(Error::Ticker)?),
            output,
            audit,
            uplink: Arc::new(Uplink::new(config.network.clone())),
            files: NodeFiles::new(),
        };
        Ok(Arc::new(Runtime {
            config,
            engines,
            node,
        }))
    }

    /// A name for everything that machine code of a class depends on: wasmtime's version,
    /// the target and all flags. Machine code of another hash is compiled again.
    #[must_use]
    pub fn engine_hash(class: EngineClass) -> String {
        // A machine that wasmtime has no compiler for fails at the first compilation, and
        // there says why.
        engine::hash(class).unwrap_or_else(|_| "unsupported".to_owned())
    }

    /// Maps the code, links what is granted, and makes the component ready to answer.
    /// Nothing of the component runs.
    ///
    /// # Errors
    /// When it imports what was not granted, exports no handler, starts with more memory
    /// than a call may have, a volume can not be used, or the code is of another engine.
    pub fn load(&self, code: &Code, workload: Workload) -> Result<Arc<Component>, LoadError> {
        self.load_to(code, workload, |engine, resting, class, instance| {
            let proxy = proxy(engine, resting, class, instance)?;
            Ok(Way::Serve(Some(proxy), None))
        })
    }

    /// As `load`, to have its functions called by the requests of some triggers; those of all
    /// others go to its handler, if `handles`.
    ///
    /// # Errors
    /// As `load`, and when it does not export what the doors open, or nobody could call it.
    pub fn load_functions(
        &self,
        code: &Code,
        workload: Workload,
        doors: &[Door],
        handles: bool,
    ) -> Result<Arc<Component>, LoadError> {
        let name = workload.identity.component.clone();
        self.load_to(code, workload, |engine, resting, class, instance| {
            let invoke = Invoke::behind(engine.clone(), instance.clone(), &name, doors)?;
            let proxy = handles.then(|| proxy(engine, resting, class, instance));
            Ok(Way::Serve(proxy.transpose()?, Some(invoke)))
        })
    }

    /// As `load`, to have any of its functions called by whoever holds it: `Component::invoke`.
    ///
    /// # Errors
    /// As `load`, but it needs no handler.
    pub fn load_to_invoke(
        &self,
        code: &Code,
        workload: Workload,
    ) -> Result<Arc<Component>, LoadError> {
        self.load_to(code, workload, |engine, _, _, instance| {
            Ok(Way::Serve(None, Some(Invoke::all(engine, instance))))
        })
    }

    /// As `load`, to be run: what the limits say of one call holds for one run, except for time.
    ///
    /// # Errors
    /// As `load`, and when there is no `wasi:cli/run` in place of a handler.
    pub fn load_command(
        &self,
        code: &Code,
        workload: Workload,
    ) -> Result<Arc<Component>, LoadError> {
        self.load_to(code, workload, |engine, _, _, instance| {
            Ok(Way::Command(Command::new(engine, instance)?))
        })
    }

    fn load_to(
        &self,
        code: &Code,
        workload: Workload,
        way: impl FnOnce(
            Engine,
            Option<Arc<Resting>>,
            EngineClass,
            InstancePre<Guest>,
        ) -> Result<Way, LoadError>,
    ) -> Result<Arc<Component>, LoadError> {
        let class = code.class();
        // All others are always there.
        let Running { engine, resting } = self.engines.get(&class).ok_or(LoadError::P3Off)?;
        if class.is_metered() != workload.limits.per_call.fuel.is_some() {
            return Err(LoadError::Metering {
                class: class.name(),
            });
        }
        let allowed = workload.limits.per_call.memory.0;
        if workload.initial_memory > allowed {
            return Err(LoadError::MemoryTooSmall {
                needed: workload.initial_memory,
                allowed,
            });
        }
        let component = code.map(engine).map_err(LoadError::Incompatible)?;
        let instance = link(
            engine,
            class,
            &component,
            &workload,
            self.config.spawner.is_some(),
        )?;
        let resting = Resting::new(workload.limits.instances, resting, &self.node.memory);
        let way = way(engine.clone(), resting, class, instance)?;
        let component = Component::new(&self.node, &self.config, way, workload)?;
        Ok(Arc::new(component))
    }

    /// Replaces the networks that no guest connects to, whatever it is granted: the node's own
    /// addresses, those of all nodes and agents, the API server's. For connections made from
    /// now on.
    pub fn block(&self, networks: Vec<IpNet>) {
        self.node.uplink.addresses.block(networks);
    }

    /// Declared bytes that all calls in progress hold.
    #[must_use]
    pub fn guest_memory_used(&self) -> u64 {
        self.node.memory.used()
    }

    /// The sizes it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// What answers requests by the handler that a component exports.
fn proxy(
    engine: Engine,
    resting: Option<Arc<Resting>>,
    class: EngineClass,
    instance: InstancePre<Guest>,
) -> Result<Proxy, LoadError> {
    let no_handler = |_: wasmtime::Error| LoadError::NoHandler {
        class: class.name(),
    };
    let handler = match class.is_p3() {
        true => Handler::P3(ServicePre::new(instance).map_err(no_handler)?),
        false => Handler::P2(ProxyPre::new(instance).map_err(no_handler)?),
    };
    Ok(Proxy::new(engine, handler, resting))
}
