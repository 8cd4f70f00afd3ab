//! Every pool size and limit of the runtime, with its reason.
//!
//! Knows no defaults of a component (those are `capability::Limits`). The agent makes one
//! with `Config::for_budget`; an embedder may change any field.

use std::time::Duration;

const MIB: u64 = 1024 * 1024;
const KIB: usize = 1024;

/// Sizes and limits of one `Runtime`.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes all guests together may hold, counted as declared, in memories and tables.
    pub guest_memory: u64,
    /// Live stores, that is calls in progress, of all components.
    pub live_stores: u32,
    /// Slots a component always gets, however full the node is.
    pub guaranteed_slots: u32,
    /// The most of `live_stores` one component may take, in percent.
    pub burst_percent: u32,
    /// The most of `live_stores` all components of one namespace may take together, in percent.
    pub namespace_percent: u32,
    /// How long a call waits for a slot before it is refused.
    pub slot_wait: Duration,
    /// How many calls of one component may wait for a slot.
    pub slot_queue: u32,
    /// The most one linear memory may grow to, in bytes. A single `memory.fill` of it must
    /// not stall a thread for long, because nothing interrupts it.
    pub max_memory: u64,
    /// Bytes of a linear memory that stay resident in a slot of the small engine's pool
    /// between two instances; what is beyond goes back to the kernel.
    pub keep_resident: usize,
    /// Whether the WASI 0.3 engine exists.
    pub p3: bool,
    /// Workers of the executor, which CPU shares are reckoned by.
    pub cores: usize,
    /// CPU a component may use at once after being idle, per core of its share.
    pub cpu_burst: Duration,
    /// Bytes a guest may pass to the host in one call.
    pub hostcall_fuel: usize,
    /// Entries of a store's resource table.
    pub resources: usize,
    /// Handles of a store.
    pub handles: usize,
    /// Bytes of randomness per call of `get-random-bytes`.
    pub random_size: u64,
    /// Bytes of one set of header fields in the host.
    pub field_size: usize,
    /// A response body may stand still for this long.
    pub body_idle: Duration,
    /// A call may last this long in all.
    pub max_duration: Duration,
    /// Name servers, roots of trust and limits of connections that guests open.
    pub network: crate::capability::network::Settings,
    /// Who starts executables for guests. None: nobody, and what imports them is refused.
    pub spawner: Option<crate::Spawner>,
    /// Limits of connections.
    pub serve: crate::serve::Settings,
}

impl Config {
    /// Sizes for a node that lends guests `memory` bytes and `cores` executor threads.
    #[must_use]
    pub fn for_budget(memory: u64, cores: usize) -> Config {
        let live_stores = (memory / (3 * MIB / 2)).clamp(16, 4096);
        Config {
            guest_memory: memory,
            live_stores: u32::try_from(live_stores).unwrap_or(u32::MAX),
            guaranteed_slots: 2,
            burst_percent: 25,
            namespace_percent: 50,
            slot_wait: Duration::from_millis(100),
            slot_queue: 256,
            max_memory: 256 * MIB,
            // What a Rust guest writes in a call, twice over; times all slots it is what a node
            // may find resident without a guest.
            keep_resident: 256 * KIB,
            p3: false,
            cores: cores.max(1),
            cpu_burst: Duration::from_millis(200),
            hostcall_fuel: 2048 * KIB,
            resources: 1024,
            handles: 2048,
            random_size: 64 * KIB as u64,
            field_size: 64 * KIB,
            body_idle: Duration::from_secs(30),
            max_duration: Duration::from_secs(15 * 60),
            network: crate::capability::network::Settings::default(),
            spawner: None,
            serve: crate::serve::Settings::default(),
        }
    }
}
