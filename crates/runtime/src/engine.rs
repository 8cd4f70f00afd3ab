//! The engines, and everything about them that machine code depends on.
//!
//! The compiler process and the runtime must agree on every flag here, so both get their
//! configuration from `tunables`. Knows no component. Called by `compile` and `runtime`.

use crate::config::Config;
use crate::error::Error;
use crate::pool::{Pool, Reset, Sizes};
use artifact::component::{Facts, World};
use capability::Limits;
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
pub struct EngineClass {
    memory: Memory,
    /// Whether its code counts its instructions.
    metered: bool,
}

/// Where instances of a class have their memory, and which calls they know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Memory {
    Small,
    Large,
    P3,
}

impl EngineClass {
    /// WASI 0.2 components with little data: memory from a pool of our own, data copied.
    pub const SMALL: EngineClass = EngineClass::unmetered(Memory::Small);
    /// WASI 0.2 components with large data: pooling allocator, data mapped copy-on-write.
    pub const LARGE: EngineClass = EngineClass::unmetered(Memory::Large);
    /// WASI 0.3 components, whose host calls are three to four times dearer.
    pub const P3: EngineClass = EngineClass::unmetered(Memory::P3);
    /// All of them, in the order of their cost.
    pub const ALL: [EngineClass; 6] = [
        EngineClass::SMALL,
        EngineClass::LARGE,
        EngineClass::P3,
        EngineClass::SMALL.metered(),
        EngineClass::LARGE.metered(),
        EngineClass::P3.metered(),
    ];

    /// The class for a component, from what is in it and what its calls may use. Counting
    /// instructions makes code about a fifth slower, so only what has a limit of fuel pays.
    #[must_use]
    pub fn of(facts: &Facts, limits: &Limits) -> EngineClass {
        let class = match facts.world {
            World::HttpP3 => EngineClass::P3,
            _ if facts.data_bytes > SMALL_DATA => EngineClass::LARGE,
            _ => EngineClass::SMALL,
        };
        match limits.per_call.fuel {
            Some(_) => class.metered(),
            None => class,
        }
    }

    /// The same for code that counts its instructions.
    #[must_use]
    pub const fn metered(self) -> EngineClass {
        EngineClass {
            metered: true,
            ..self
        }
    }

    /// Whether its code counts its instructions.
    #[must_use]
    pub const fn is_metered(self) -> bool {
        self.metered
    }

    /// Whether it is for WASI 0.3.
    #[must_use]
    pub const fn is_p3(self) -> bool {
        matches!(self.memory, Memory::P3)
    }

    /// The name in messages, file names and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match (self.memory, self.metered) {
            (Memory::Small, false) => "small",
            (Memory::Large, false) => "large",
            (Memory::P3, false) => "p3",
            (Memory::Small, true) => "small-metered",
            (Memory::Large, true) => "large-metered",
            (Memory::P3, true) => "p3-metered",
        }
    }

    /// The class of a name that `name` gave.
    #[must_use]
    pub fn from_name(name: &str) -> Option<EngineClass> {
        EngineClass::ALL
            .into_iter()
            .find(|class| class.name() == name)
    }

    const fn unmetered(memory: Memory) -> EngineClass {
        EngineClass {
            memory,
            metered: false,
        }
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
        .concurrency_support(class.is_p3())
        .epoch_interruption(true)
        .consume_fuel(class.metered)
        .cranelift_opt_level(OptLevel::Speed)
        .memory_reservation(RESERVATION)
        .memory_guard_size(GUARD)
        .memory_may_move(false)
        // Our own pool hands out anonymous memory, into which data is copied.
        .memory_init_cow(class.memory == Memory::Large)
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
    let stores = stores(class, config).saturating_add(resting(class, config));
    match class.memory {
        Memory::Small | Memory::P3 => {
            own_pools(&mut wasmtime, stores, config).map_err(|source| failed(source.into()))?;
        }
        Memory::Large => {
            let pooling = pooling(stores, config);
            wasmtime.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
        }
    }
    Engine::new(&wasmtime).map_err(failed)
}

/// Stores of a class at once. Address space is what they cost: all classes together have to
/// fit into the 128 TiB of a process.
fn stores(class: EngineClass, config: &Config) -> u32 {
    let all = config.live_stores;
    let part = match class.memory {
        Memory::Small => all,
        // Guests with megabytes of image are few, and slots of this allocator are dear.
        Memory::Large => all / 2,
        Memory::P3 => all / 8,
    };
    match class.metered {
        // The limit is for the few who want every run to end at the same instruction.
        true => part / 4,
        false => part,
    }
    .max(8)
}

/// Instances of a class that may wait for their next request, beside those at work.
pub(crate) fn resting(class: EngineClass, config: &Config) -> u32 {
    (stores(class, config) / 4).max(2)
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
