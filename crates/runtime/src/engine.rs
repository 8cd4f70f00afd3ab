//! The three engines, and everything about them that machine code depends on.
//!
//! The compiler process and the runtime must agree on every flag here, so both get their
//! configuration from `tunables`. Knows no component. Called by `compile` and `runtime`.

use crate::config::Config;
use crate::error::Error;
use crate::pool::{Pool, Reset, Sizes};
use artifact::component::{Facts, World};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use wasmtime::{
    Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, WasmFeatures,
};

/// The wasmtime that compiles and runs. Its 48.x line is the long-term release. A test holds
/// it to the version in Cargo.lock.
pub const WASMTIME_VERSION: &str = "48.0.8";
/// More data than this is mapped from the image instead of copied at each instantiation:
/// about where copying costs as much as three page faults and a `madvise`.
const SMALL_DATA: u64 = 256 * 1024;
/// Address space of a linear memory. All that 32 bits reach, so that compiled code needs no
/// bounds checks.
const RESERVATION: u64 = 4 << 30;
/// Bytes behind it that fault: accesses with a small constant offset need no check either.
const GUARD: u64 = 32 << 20;
/// Stack of a fiber: the guest's, and what host functions need on top of it.
const FIBER_STACK: usize = 1 << 20;
/// The part of it that the guest may use.
const WASM_STACK: usize = 512 << 10;
/// Bytes of a free fiber stack that stay resident.
const STACK_RESIDENT: usize = 64 << 10;
/// Core instances of one component, at most. componentize-py makes 14.
pub(crate) const CORE_INSTANCES: usize = 32;
/// Memories of one component, at most.
pub(crate) const MEMORIES: usize = 4;
/// Tables of one component, at most.
pub(crate) const TABLES: usize = 64;
/// Elements of one table, at most.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;

/// Which engine a component runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EngineClass {
    /// WASI 0.2 components with little data: memory from a pool of our own, data copied.
    Small,
    /// WASI 0.2 components with large data: pooling allocator, data mapped copy-on-write.
    Large,
    /// WASI 0.3 components, whose host calls are three to four times dearer.
    P3,
}

impl EngineClass {
    /// The class for a component, from what is in it.
    #[must_use]
    pub fn of(facts: &Facts) -> EngineClass {
        match facts.world {
            World::HttpP3 => EngineClass::P3,
            _ if facts.data_bytes > SMALL_DATA => EngineClass::Large,
            _ => EngineClass::Small,
        }
    }

    /// The name in messages, file names and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            EngineClass::Small => "small",
            EngineClass::Large => "large",
            EngineClass::P3 => "p3",
        }
    }

    /// The class of a name that `name` gave.
    #[must_use]
    pub fn from_name(name: &str) -> Option<EngineClass> {
        [EngineClass::Small, EngineClass::Large, EngineClass::P3]
            .into_iter()
            .find(|class| class.name() == name)
    }
}

/// A name for everything that machine code of a class depends on: wasmtime's version, the
/// target and all flags. Machine code of another hash is compiled again.
pub(crate) fn hash(class: EngineClass) -> Result<String, wasmtime::Error> {
    let engine = Engine::new(&tunables(class))?;
    let mut hasher = DefaultHasher::new();
    class.name().hash(&mut hasher);
    engine.precompile_compatibility_hash().hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

/// The configuration that machine code depends on, and no pools.
pub(crate) fn tunables(class: EngineClass) -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        .wasm_component_model(true)
        // Each of these widens what a guest can do to the host; see artifact::component::features.
        .wasm_features(
            WasmFeatures::THREADS
                | WasmFeatures::SHARED_EVERYTHING_THREADS
                | WasmFeatures::GC
                | WasmFeatures::EXCEPTIONS
                | WasmFeatures::LEGACY_EXCEPTIONS
                | WasmFeatures::MEMORY64
                | WasmFeatures::MULTI_MEMORY
                | WasmFeatures::CUSTOM_PAGE_SIZES
                | WasmFeatures::STACK_SWITCHING,
            false,
        )
        .concurrency_support(class == EngineClass::P3)
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .memory_reservation(RESERVATION)
        .memory_guard_size(GUARD)
        .memory_may_move(false)
        // Our own pool hands out anonymous memory, into which data is copied.
        .memory_init_cow(class == EngineClass::Large)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(FIBER_STACK)
        // What one guest left on a stack must not be there for the next.
        .async_stack_zeroing(true);
    config
}

/// An engine with its pools, as the runtime uses it.
pub(crate) fn build(class: EngineClass, config: &Config) -> Result<Engine, Error> {
    let failed = |source| Error::Engine {
        class: class.name(),
        source,
    };
    let mut wasmtime = tunables(class);
    let stores = match class {
        EngineClass::Small => config.live_stores,
        // Guests with megabytes of image are few, and slots of this allocator are dear.
        EngineClass::Large => (config.live_stores / 2).max(8),
        EngineClass::P3 => (config.live_stores / 8).max(8),
    };
    match class {
        EngineClass::Small | EngineClass::P3 => {
            own_pools(&mut wasmtime, stores, config).map_err(|source| failed(source.into()))?;
        }
        EngineClass::Large => {
            let pooling = pooling(stores, config);
            wasmtime.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
        }
    }
    Engine::new(&wasmtime).map_err(failed)
}

/// An engine like the runtime's own, for whoever wants to know what all that is around it
/// costs. Nothing runs on it that was loaded here.
///
/// # Errors
/// When the sizes do not fit into this machine.
pub fn bare_engine(class: EngineClass, config: &Config) -> Result<Engine, Error> {
    build(class, config)
}

fn own_pools(wasmtime: &mut wasmtime::Config, stores: u32, config: &Config) -> std::io::Result<()> {
    // A quarter more than stores: some components have several memories, and a store that is
    // being dropped still has its slots.
    let slots = with_reserve(stores) as usize;
    let memories = Sizes {
        slots,
        reserved: usize::try_from(RESERVATION).unwrap_or(usize::MAX),
        guard: usize::try_from(GUARD).unwrap_or(usize::MAX),
        keep_resident: config.keep_resident,
        is_stack: false,
    };
    let stacks = Sizes {
        slots,
        reserved: FIBER_STACK,
        guard: 64 << 10,
        keep_resident: STACK_RESIDENT,
        is_stack: true,
    };
    let memories = Pool::new(memories, Reset::Scan)?;
    if memories.reset() == Reset::Discard {
        tracing::warn!(
            "this kernel can not say which pages were written (PAGEMAP_SCAN, Linux 6.7): \
             fresh instances will cost about three times as much"
        );
    }
    wasmtime
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .with_host_memory(Arc::new(memories))
        .with_host_stack(Arc::new(Pool::new(stacks, Reset::Scan)?));
    Ok(())
}

fn pooling(stores: u32, config: &Config) -> PoolingAllocationConfig {
    let reserve = with_reserve(stores);
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        .total_component_instances(stores)
        .total_core_instances(stores.saturating_mul(16))
        .total_memories(reserve)
        .total_tables(stores.saturating_mul(6))
        .total_stacks(reserve)
        .max_core_instances_per_component(u32::try_from(CORE_INSTANCES).unwrap_or(u32::MAX))
        .max_memories_per_component(u32::try_from(MEMORIES).unwrap_or(u32::MAX))
        .max_tables_per_component(u32::try_from(TABLES).unwrap_or(u32::MAX))
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(config.max_memory).unwrap_or(usize::MAX))
        .max_unused_warm_slots(stores / 8)
        .linear_memory_keep_resident(128 << 10)
        .table_keep_resident(16 << 10)
        .async_stack_keep_resident(16 << 10)
        // 48.0.8 hands pages that migrate during the scan to the next instance unreset.
        .pagemap_scan(Enabled::No);
    pooling
}

fn with_reserve(stores: u32) -> u32 {
    stores.saturating_add(stores / 4).saturating_add(4)
}
