//! How a call ended, and how many ended so.
//!
//! A closed list: the names are metric labels and appear in the answer to the caller, so
//! nothing a guest says may become one.

use crate::capability::audit::Uses;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// How one call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// The guest answered and returned.
    Completed = 1,
    /// It asked for more memory than perCall.memory or perReplica.memory, and ended of it.
    MemoryExceeded,
    /// It used more CPU than perCall.cpuTime.
    CpuExceeded,
    /// It used more than perCall.fuel.
    FuelExhausted,
    /// It read and wrote more than perCall.io.
    IoExceeded,
    /// No response head within perCall.timeout.
    TimeoutExceeded,
    /// All of the component's own slots are taken.
    ConcurrencyLimit,
    /// All of the node's slots, or its memory for guests, are taken.
    NodeSaturated,
    /// The guest trapped: unreachable, out of bounds, stack overflow.
    Trapped,
    /// The guest returned without an answer, answered with an error, or exited.
    GuestError,
    /// It was cut: its response stood still or lasted for too long, or it outlived the grace
    /// period of its revision.
    Truncated,
    /// The request was refused before a guest saw it.
    BadRequest,
    /// The request body is larger than maxRequestBody.
    RequestTooLarge,
    /// The caller went away before the end.
    Cancelled,
    /// The host failed while it worked for the guest.
    HostFault,
}

/// Counters of one component.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls that ended, by outcome; outcomes that never happened are there with 0.
    pub outcomes: Vec<(Outcome, u64)>,
    /// Calls that the guest answered with 5xx.
    pub errors: u64,
    /// Calls by how long the response head took: the upper bound in microseconds and the count
    /// of every bucket that holds something. Neither probes nor calls that no guest saw.
    pub latencies: Vec<(u64, u64)>,
    /// Calls in progress.
    pub live: u32,
    /// Declared bytes that the calls in progress hold.
    pub memory: u64,
    /// CPU time used, in microseconds: the wall time in which a thread worked for a call.
    pub cpu_micros: u64,
    /// Lines of guest output that were dropped.
    pub dropped_lines: u64,
    /// What it used and was denied, by kind; kinds that never occurred are there with 0.
    pub uses: Vec<Uses>,
    /// Audit records of this component that were lost.
    pub lost_records: u64,
}

/// Counts outcomes.
#[derive(Debug, Default)]
pub(crate) struct Tally([AtomicU64; Outcome::ALL.len()]);

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 15] = [
        Outcome::Completed,
        Outcome::MemoryExceeded,
        Outcome::CpuExceeded,
        Outcome::FuelExhausted,
        Outcome::IoExceeded,
        Outcome::TimeoutExceeded,
        Outcome::ConcurrencyLimit,
        Outcome::NodeSaturated,
        Outcome::Trapped,
        Outcome::GuestError,
        Outcome::Truncated,
        Outcome::BadRequest,
        Outcome::RequestTooLarge,
        Outcome::Cancelled,
        Outcome::HostFault,
    ];

    /// The name in answers, figures and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "Completed",
            Outcome::MemoryExceeded => "MemoryExceeded",
            Outcome::CpuExceeded => "CpuExceeded",
            Outcome::FuelExhausted => "FuelExhausted",
            Outcome::IoExceeded => "IoExceeded",
            Outcome::TimeoutExceeded => "TimeoutExceeded",
            Outcome::ConcurrencyLimit => "ConcurrencyLimit",
            Outcome::NodeSaturated => "NodeSaturated",
            Outcome::Trapped => "Trapped",
            Outcome::GuestError => "GuestError",
            Outcome::Truncated => "Truncated",
            Outcome::BadRequest => "BadRequest",
            Outcome::RequestTooLarge => "RequestTooLarge",
            Outcome::Cancelled => "Cancelled",
            Outcome::HostFault => "HostFault",
        }
    }

    /// What the caller is told beside the name, and what mends it.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Outcome::Completed => "the component answered",
            Outcome::MemoryExceeded => {
                "the component needs more memory than resources.perCall.memory or \
                 resources.perReplica.memory; raise them"
            }
            Outcome::CpuExceeded => {
                "the component used more CPU time than resources.perCall.cpuTime; raise it"
            }
            Outcome::FuelExhausted => {
                "the component used more than resources.perCall.fuel, or than its manifest's \
                 max_fuel; raise it"
            }
            Outcome::IoExceeded => {
                "the component read and wrote more than resources.perCall.io; raise it"
            }
            Outcome::TimeoutExceeded => {
                "the component did not answer within resources.perCall.timeout"
            }
            Outcome::ConcurrencyLimit => {
                "all calls of resources.perReplica.concurrency are in progress; try again, or \
                 raise replicas or concurrency"
            }
            Outcome::NodeSaturated => "this node has no free slot or memory; try again",
            Outcome::Trapped => "the component trapped",
            Outcome::GuestError => "the component ended without an answer",
            Outcome::Truncated => {
                "the response was cut, or could not begin before its time was over"
            }
            Outcome::BadRequest => "the request is not valid HTTP for this server",
            Outcome::RequestTooLarge => {
                "the request body is larger than the trigger's maxRequestBody"
            }
            Outcome::Cancelled => "the caller went away",
            Outcome::HostFault => "the host failed while it worked for the component",
        }
    }

    /// Whether the component failed, as against its caller, or the node for want of room.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            Outcome::MemoryExceeded
            | Outcome::CpuExceeded
            | Outcome::FuelExhausted
            | Outcome::IoExceeded
            | Outcome::TimeoutExceeded
            | Outcome::Trapped
            | Outcome::GuestError
            | Outcome::HostFault => true,
            // Truncated: it is the caller who may not read on, or the end of a grace period.
            Outcome::Completed
            | Outcome::ConcurrencyLimit
            | Outcome::NodeSaturated
            | Outcome::Truncated
            | Outcome::BadRequest
            | Outcome::RequestTooLarge
            | Outcome::Cancelled => false,
        }
    }

    /// Whether a call that ended so before its response head says how fast the component is: it
    /// failed, or its caller would not wait any longer.
    pub(crate) const fn is_timed(self) -> bool {
        self.is_failure() || matches!(self, Outcome::Completed | Outcome::Cancelled)
    }

    pub(crate) fn from_code(code: u8) -> Option<Outcome> {
        Outcome::ALL
            .into_iter()
            .find(|outcome| *outcome as u8 == code)
    }

    const fn index(self) -> usize {
        self as usize - 1
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Tally {
    pub(crate) fn count(&self, outcome: Outcome) {
        if let Some(counter) = self.0.get(outcome.index()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Vec<(Outcome, u64)> {
        let counts = self.0.iter().map(|counter| counter.load(Ordering::Relaxed));
        Outcome::ALL.into_iter().zip(counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_counter_and_a_code_of_its_own() {
        let tally = Tally::default();
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_code(outcome as u8), Some(outcome));
            tally.count(outcome);
        }
        assert!(tally.read().iter().all(|(_, count)| *count == 1));
        assert_eq!(Outcome::from_code(0), None);
    }

    #[test]
    fn what_callers_and_neighbours_cause_is_no_failure_of_the_component() {
        for outcome in [
            Outcome::BadRequest,
            Outcome::RequestTooLarge,
            Outcome::Cancelled,
            Outcome::ConcurrencyLimit,
            Outcome::NodeSaturated,
        ] {
            assert!(!outcome.is_failure(), "{outcome}");
        }
        assert!(Outcome::Trapped.is_failure() && Outcome::TimeoutExceeded.is_failure());
    }
}
