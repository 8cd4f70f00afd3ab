//! What one component may use. All concrete: there is no "unlimited".
//!
//! Knows the numbers and how they bind each other, not how they are enforced.
//! Filled in from a component's `resources`, carried by the revision document,
//! enforced by the runtime.

use serde::{Deserialize, Serialize};

use crate::duration::Span;
use crate::quantity::Bytes;

/// The limits of one component. The default is what a component gets that names none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Limits {
    /// Set aside for each replica.
    pub requests: Requests,
    /// The most that a replica holds at once.
    pub per_replica: PerReplica,
    /// The most that one call may use.
    pub per_call: PerCall,
    /// How long one instance lives.
    #[serde(skip_serializing_if = "Instances::is_default")]
    pub instances: Instances,
}

/// How long one instance lives. It is dropped at whichever comes first, and after any call
/// that did not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Instances {
    /// Requests that it answers, one after the other. 1: every request has an instance of its
    /// own.
    pub max_requests: u32,
    /// How long it waits for the next one.
    pub idle_timeout: Span,
}

/// What placement adds up per node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Requests {
    /// Memory set aside for each replica.
    pub memory: Bytes,
}

/// The budget of one replica, over all its calls in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PerReplica {
    /// Calls in flight; the next one is answered with 503.
    pub concurrency: u32,
    /// Memory of all calls in flight together.
    pub memory: Bytes,
}

/// The budget of one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PerCall {
    /// Linear memories, tables and what the host holds for the call.
    pub memory: Bytes,
    /// Time on a processor.
    pub cpu_time: Span,
    /// Time on the wall clock until the response head.
    pub timeout: Span,
    /// Instructions, in wasmtime's units of fuel. None: they are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Bytes that it moves through files, connections and bodies. None: as many as it has
    /// time for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io: Option<Bytes>,
}

/// Limits that no node can honour, or that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// A limit that admits nothing.
    #[error("{field} is {found}, which lets no call run; write at least {least}")]
    TooSmall {
        /// Path of the field, from `resources`.
        field: &'static str,
        /// What it holds.
        found: String,
        /// The least that makes sense.
        least: String,
    },
    /// A limit above what any node gives.
    #[error("{field} is {found}; write at most {most}")]
    TooLarge {
        /// Path of the field, from `resources`.
        field: &'static str,
        /// What it holds.
        found: String,
        /// The most there is.
        most: String,
    },
    /// A part that is larger than its whole.
    #[error("{field} ({found}) is more than {whole} ({most}); lower {field} or raise {whole}")]
    MoreThanWhole {
        /// Path of the part, from `resources`.
        field: &'static str,
        /// What it holds.
        found: String,
        /// Path of the whole, from `resources`.
        whole: &'static str,
        /// What the whole holds.
        most: String,
    },
}

impl LimitsError {
    /// Path of the field at fault, from `resources`.
    pub fn field(&self) -> &'static str {
        match self {
            Self::TooSmall { field, .. }
            | Self::TooLarge { field, .. }
            | Self::MoreThanWhole { field, .. } => field,
        }
    }

    /// What to write instead.
    pub fn mend(&self) -> String {
        match self {
            Self::TooSmall { least, .. } => format!("write at least {least}"),
            Self::TooLarge { most, .. } => format!("write at most {most}"),
            Self::MoreThanWhole { field, whole, .. } => format!("lower {field} or raise {whole}"),
        }
    }
}

impl Limits {
    /// One page of WebAssembly: less cannot hold a memory.
    pub const MEMORY_MIN: Bytes = Bytes::kib(64);
    /// The address space that a pooled memory slot has.
    pub const PER_CALL_MEMORY_MAX: Bytes = Bytes::mib(256);
    /// Above the guest budget of the largest agent there is nothing to give.
    pub const PER_REPLICA_MEMORY_MAX: Bytes = Bytes::gib(10);
    /// The live instances of the largest agent.
    pub const CONCURRENCY_MAX: u32 = 4_096;
    /// The tick of the CPU clock.
    pub const TIME_MIN: Span = Span::milliseconds(1);
    /// The longest that any exchange may last.
    pub const TIMEOUT_MAX: Span = Span::minutes(15);
    /// Less does not bring a component of an ordinary toolchain to its handler.
    pub const FUEL_MIN: u64 = 10_000;
    /// More than a core burns in `TIMEOUT_MAX`.
    pub const FUEL_MAX: u64 = 10_000_000_000_000;
    /// What leaks in a guest has to come to an end.
    pub const INSTANCE_REQUESTS_MAX: u32 = 100_000;
    /// Memory that waits for longer is better spent on somebody else.
    pub const IDLE_TIMEOUT_MAX: Span = Span::minutes(5);
    /// Less does not hold a request's first read.
    pub const IO_MIN: Bytes = Bytes::kib(64);
    /// More than a disk moves in `TIMEOUT_MAX`.
    pub const IO_MAX: Bytes = Bytes::gib(1024);

    /// Whether the limits make sense, each and together.
    ///
    /// # Errors
    /// The first limit at fault, with its field and what to write instead.
    pub fn check(&self) -> Result<(), LimitsError> {
        let Self {
            requests,
            per_replica,
            per_call,
            instances,
        } = self;
        within(
            "perCall.memory",
            per_call.memory,
            Self::MEMORY_MIN,
            Self::PER_CALL_MEMORY_MAX,
        )?;
        within(
            "perCall.cpuTime",
            per_call.cpu_time,
            Self::TIME_MIN,
            Self::TIMEOUT_MAX,
        )?;
        within(
            "perCall.timeout",
            per_call.timeout,
            Self::TIME_MIN,
            Self::TIMEOUT_MAX,
        )?;
        if let Some(fuel) = per_call.fuel {
            within("perCall.fuel", fuel, Self::FUEL_MIN, Self::FUEL_MAX)?;
        }
        if let Some(io) = per_call.io {
            within("perCall.io", io, Self::IO_MIN, Self::IO_MAX)?;
        }
        within(
            "perReplica.concurrency",
            per_replica.concurrency,
            1,
            Self::CONCURRENCY_MAX,
        )?;
        within(
            "perReplica.memory",
            per_replica.memory,
            Self::MEMORY_MIN,
            Self::PER_REPLICA_MEMORY_MAX,
        )?;
        within(
            "requests.memory",
            requests.memory,
            Bytes(0),
            Self::PER_REPLICA_MEMORY_MAX,
        )?;
        within(
            "instances.maxRequests",
            instances.max_requests,
            1,
            Self::INSTANCE_REQUESTS_MAX,
        )?;
        within(
            "instances.idleTimeout",
            instances.idle_timeout,
            Self::TIME_MIN,
            Self::IDLE_TIMEOUT_MAX,
        )?;
        part_of(
            "perCall.memory",
            per_call.memory,
            "perReplica.memory",
            per_replica.memory,
        )?;
        part_of(
            "requests.memory",
            requests.memory,
            "perReplica.memory",
            per_replica.memory,
        )?;
        part_of(
            "perCall.cpuTime",
            per_call.cpu_time,
            "perCall.timeout",
            per_call.timeout,
        )
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            memory: Bytes::mib(8),
        }
    }
}

impl Instances {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Instances {
    fn default() -> Self {
        Self {
            max_requests: 1,
            idle_timeout: Span::seconds(1),
        }
    }
}

impl Default for PerReplica {
    fn default() -> Self {
        Self {
            concurrency: 100,
            memory: Bytes::mib(512),
        }
    }
}

impl Default for PerCall {
    fn default() -> Self {
        Self {
            memory: Bytes::mib(64),
            cpu_time: Span::milliseconds(200),
            timeout: Span::seconds(30),
            fuel: None,
            io: None,
        }
    }
}

fn within<T: Ord + ToString>(
    field: &'static str,
    found: T,
    least: T,
    most: T,
) -> Result<(), LimitsError> {
    if found < least {
        return Err(LimitsError::TooSmall {
            field,
            found: found.to_string(),
            least: least.to_string(),
        });
    }
    if found > most {
        return Err(LimitsError::TooLarge {
            field,
            found: found.to_string(),
            most: most.to_string(),
        });
    }
    Ok(())
}

fn part_of<T: Ord + ToString>(
    field: &'static str,
    found: T,
    whole: &'static str,
    most: T,
) -> Result<(), LimitsError> {
    if found <= most {
        return Ok(());
    }
    Err(LimitsError::MoreThanWhole {
        field,
        found: found.to_string(),
        whole,
        most: most.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_together() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn a_call_larger_than_its_replica_is_refused_with_both_fields() {
        let mut limits = Limits::default();
        limits.per_replica.memory = Bytes::mib(32);
        let error = limits.check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "perCall.memory (64Mi) is more than perReplica.memory (32Mi); lower perCall.memory or raise perReplica.memory"
        );
        assert_eq!(error.field(), "perCall.memory");
    }

    #[test]
    fn every_limit_has_a_floor_and_a_ceiling() {
        type Change = fn(&mut Limits);
        let changes: [(Change, &str); 16] = [
            (|l| l.per_call.memory = Bytes(0), "perCall.memory"),
            (|l| l.per_call.memory = Bytes::gib(1), "perCall.memory"),
            (|l| l.per_call.cpu_time = Span::default(), "perCall.cpuTime"),
            (
                |l| l.per_call.cpu_time = Span::seconds(31),
                "perCall.cpuTime",
            ),
            (
                |l| l.per_call.timeout = Span::minutes(16),
                "perCall.timeout",
            ),
            (|l| l.per_call.fuel = Some(9_999), "perCall.fuel"),
            (|l| l.per_call.fuel = Some(u64::MAX), "perCall.fuel"),
            (|l| l.per_call.io = Some(Bytes::kib(1)), "perCall.io"),
            (|l| l.per_call.io = Some(Bytes::gib(2_000)), "perCall.io"),
            (|l| l.per_replica.concurrency = 0, "perReplica.concurrency"),
            (
                |l| l.per_replica.concurrency = 4_097,
                "perReplica.concurrency",
            ),
            (
                |l| l.per_replica.memory = Bytes::gib(11),
                "perReplica.memory",
            ),
            (|l| l.requests.memory = Bytes::gib(1), "requests.memory"),
            (|l| l.instances.max_requests = 0, "instances.maxRequests"),
            (
                |l| l.instances.max_requests = 100_001,
                "instances.maxRequests",
            ),
            (
                |l| l.instances.idle_timeout = Span::minutes(6),
                "instances.idleTimeout",
            ),
        ];
        for (change, field) in changes {
            let mut limits = Limits::default();
            change(&mut limits);
            let error = limits.check().unwrap_err();
            assert_eq!(error.field(), field);
            assert!(error.to_string().ends_with(&error.mend()), "{error}");
        }
    }

    #[test]
    fn a_limit_left_out_is_the_default() {
        let read: Limits = serde_json::from_str(r#"{"perCall": {"memory": "32Mi"}}"#).unwrap();
        assert_eq!(read.per_call.memory, Bytes::mib(32));
        assert_eq!(read.per_call.timeout, Span::seconds(30));
        assert_eq!(read.per_replica, PerReplica::default());
    }
}
