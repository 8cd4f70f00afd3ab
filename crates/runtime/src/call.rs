//! One call in progress, as its store, its driver and its response body share it.
//!
//! Holds only numbers and flags. The first reason to end a call is the one that is reported,
//! and each call is counted exactly once. Made by `http::exchange`.

use crate::admission::Slots;
use crate::caller::Caller;
use crate::cpu::{Meter, Turns};
use crate::guest::Given;
use crate::latency::Latencies;
use crate::limits::{Budget, Holding};
use crate::outcome::{Outcome, Tally};
use crate::ticker::Ticker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the calls of a component share: what they are given, and what they are charged to.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) given: Given,
    /// perReplica.memory times replicas.
    pub(crate) memory: Budget,
    /// The node's memory for guests.
    pub(crate) node_memory: Arc<Budget>,
    pub(crate) tally: Tally,
    /// Calls that the guest answered with 5xx.
    pub(crate) errors: AtomicU64,
    pub(crate) latencies: Latencies,
    pub(crate) cpu_micros: AtomicU64,
    pub(crate) turns: Turns,
    pub(crate) slots: Arc<Slots>,
    pub(crate) ticker: Arc<Ticker>,
    /// Runs that wait for something: they have a slot, and are no call in progress.
    pub(crate) waiting_runs: AtomicU64,
}

/// One call in progress.
#[derive(Debug)]
pub(crate) struct Call {
    account: Arc<Account>,
    /// Who sent the request.
    caller: Option<Arc<Caller>>,
    started: Instant,
    pub(crate) meter: Meter,
    holding: Holding,
    /// An `Outcome` that ended the call, or 0.
    ended_by: AtomicU8,
    /// An `Outcome` for which the guest was denied something, or 0. It only counts if the
    /// guest ends of it.
    denied: AtomicU8,
    counted: AtomicBool,
    /// Whether its response head is still to be timed; never that of a probe.
    untimed: AtomicBool,
    /// Bytes that it may still read and write, where that is limited.
    io: Option<AtomicU64>,
    /// When the last byte of a body moved, in milliseconds since the start.
    moved: AtomicU64,
}

impl Account {
    /// Takes memory from the component's budget and the node's, or says which is used up.
    pub(crate) fn draw(&self, bytes: u64) -> Result<(), Outcome> {
        if !self.memory.draw(bytes) {
            return Err(Outcome::MemoryExceeded);
        }
        if !self.node_memory.draw(bytes) {
            self.memory.refund(bytes);
            return Err(Outcome::NodeSaturated);
        }
        Ok(())
    }

    pub(crate) fn refund(&self, bytes: u64) {
        self.memory.refund(bytes);
        self.node_memory.refund(bytes);
    }

    /// Whether other components have calls in progress.
    pub(crate) fn has_neighbours(&self) -> bool {
        let waiting = self.waiting_runs.load(Ordering::Relaxed);
        self.ticker.calls().saturating_add(waiting) > u64::from(self.slots.live())
    }
}

impl Call {
    pub(crate) fn new(account: Arc<Account>, caller: Option<&Arc<Caller>>) -> Arc<Call> {
        let cpu_time = account.given.workload.limits.per_call.cpu_time.0;
        Arc::new(Call::within(cpu_time, account, caller))
    }

    /// One that may last, and of which no count of calls speaks.
    pub(crate) fn lasting(account: Arc<Account>, caller: Option<&Arc<Caller>>) -> Arc<Call> {
        let mut call = Call::within(Duration::MAX, account, caller);
        *call.counted.get_mut() = true;
        *call.untimed.get_mut() = false;
        Arc::new(call)
    }

    fn within(cpu_time: Duration, account: Arc<Account>, caller: Option<&Arc<Caller>>) -> Call {
        let limits = &account.given.workload.limits.per_call;
        let started = Instant::now();
        Call {
            caller: caller.cloned(),
            started,
            meter: Meter::new(started, cpu_time),
            holding: Holding::new(limits.memory.0),
            ended_by: AtomicU8::new(0),
            denied: AtomicU8::new(0),
            counted: AtomicBool::new(false),
            untimed: AtomicBool::new(true),
            io: limits.io.map(|limit| AtomicU64::new(limit.0)),
            moved: AtomicU64::new(0),
            account,
        }
    }

    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// What its guest is given.
    pub(crate) fn given(&self) -> &Given {
        &self.account.given
    }

    pub(crate) fn caller(&self) -> Option<&Arc<Caller>> {
        self.caller.as_ref()
    }

    /// The trigger that the request came to.
    pub(crate) fn trigger(&self) -> Option<&Arc<str>> {
        self.caller.as_ref().map(|caller| &caller.trigger)
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Ends the call for a reason, unless there is one already.
    pub(crate) fn end(&self, reason: Outcome) {
        let _ =
            self.ended_by
                .compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The reason it was ended for.
    pub(crate) fn ended_by(&self) -> Option<Outcome> {
        Outcome::from_code(self.ended_by.load(Ordering::Acquire))
    }

    /// Charges bytes for what is about to be allocated; a limit in the way is noted.
    pub(crate) fn charge(&self, bytes: u64) -> Result<(), Outcome> {
        let charged = self.try_charge(bytes);
        charged.inspect_err(|limit| self.deny(*limit))
    }

    /// As `charge`, for what the guest has not asked for.
    pub(crate) fn try_charge(&self, bytes: u64) -> Result<(), Outcome> {
        self.holding.charge(&self.account, bytes)
    }

    pub(crate) fn release(&self, bytes: u64) {
        self.holding.release(&self.account, bytes);
    }

    /// Notes that the guest asked for more than it may have.
    pub(crate) fn deny(&self, limit: Outcome) {
        self.denied.store(limit as u8, Ordering::Relaxed);
    }

    /// The limit that the guest ran into last.
    pub(crate) fn denied(&self) -> Option<Outcome> {
        Outcome::from_code(self.denied.load(Ordering::Relaxed))
    }

    /// The call is the platform's own: it says nothing of what callers see.
    pub(crate) fn exempt(&self) {
        self.untimed.store(false, Ordering::Relaxed);
    }

    /// The guest gave its response head in the poll that has just ended.
    pub(crate) fn answered(&self, with_error: bool) {
        self.time(with_error, || self.meter.last_seen());
    }

    fn time(&self, with_error: bool, took: impl FnOnce() -> Duration) {
        // A look costs nothing, and mostly it is the first that tells.
        if self.untimed.load(Ordering::Relaxed) && self.untimed.swap(false, Ordering::AcqRel) {
            self.account.latencies.record(took());
            if with_error {
                self.account.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Counts the call once, whoever comes first.
    pub(crate) fn count(&self, outcome: Outcome) {
        if outcome.is_timed() {
            self.time(false, || self.started.elapsed());
        }
        if !self.counted.swap(true, Ordering::AcqRel) {
            self.account.tally.count(outcome);
        }
    }

    /// Counts bytes that were read or are to be written for it. False when they are too many;
    /// then the call has ended.
    pub(crate) fn transfer(&self, bytes: usize) -> bool {
        let Some(left) = &self.io else { return true };
        let pay = |left: u64| left.checked_sub(bytes as u64);
        let paid = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
        if paid.is_err() {
            self.end(Outcome::IoExceeded);
        }
        paid.is_ok()
    }

    /// Notes that a body byte moved.
    pub(crate) fn moved(&self) {
        let elapsed = self.started.elapsed().as_millis();
        self.moved.store(
            u64::try_from(elapsed).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    /// When a body byte moved last.
    pub(crate) fn last_move(&self) -> Instant {
        self.started + Duration::from_millis(self.moved.load(Ordering::Relaxed))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !*self.counted.get_mut() {
            // Nobody waited for the end.
            self.count(self.ended_by().unwrap_or(Outcome::Cancelled));
        }
    }
}
