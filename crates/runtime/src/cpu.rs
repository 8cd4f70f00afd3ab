//! CPU time: how much one call may use, and whose turn it is.
//!
//! *Per call.* The wall time of the polls that drive a call bounds its CPU time from above
//! and costs 20 ns to read, so it is what counts in a poll that takes no longer than two
//! ticks. In a longer one the thread may have been kept from running (a full node, a CPU
//! limit), so there its own clock counts, which costs a system call. Everything that runs in
//! the polls counts: instantiation, host functions, producing the body. Work that other tasks
//! do for a call does not.
//!
//! *Between components.* Epochs alone are fair between calls, so a hundred looping calls of
//! one component would leave a neighbour a hundredth. Therefore a call that has run for a
//! whole tick goes on only when it has one of its component's few turns, in order of arrival.
//! At most half of the threads are then busy with one component's loops while others have
//! calls too. A turn lasts a tick and is lost at every wait.

use crate::call::Call;
use crate::guest::Guest;
use crate::outcome::Outcome;
use crate::ticker::TICK;
use rustix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

/// The turns of one component.
#[derive(Debug)]
pub(crate) struct Turns {
    /// As many permits as threads, and never fewer than two.
    permits: Arc<Semaphore>,
}

/// The CPU time of one call. Used by one thread at a time, so nothing here is ordered.
#[derive(Debug)]
pub(crate) struct Meter {
    origin: Instant,
    budget: u64,
    /// Nanoseconds used in polls that have ended.
    spent: AtomicU64,
    /// When the current poll began, in nanoseconds since `origin`; the first one at 0.
    poll_began: AtomicU64,
    /// When the last poll ended, likewise; 0 before the first has.
    poll_ended: AtomicU64,
    /// The thread's clock then, or up to a tick earlier.
    thread_began: AtomicU64,
    /// A turn that the current poll holds.
    has_turn: AtomicBool,
    turn: Mutex<Option<OwnedSemaphorePermit>>,
}

/// A guest's future whose polls are metered, and whose host panics are caught.
pub(crate) struct Metered<F> {
    call: Arc<Call>,
    guest: Pin<Box<F>>,
    /// Whether it is a run, which may wait for hours: it is in progress while it is polled, so
    /// that the ticker rests meanwhile, and what it has used is told as it goes.
    lasting: bool,
}

impl Turns {
    pub(crate) fn new(threads: usize) -> Turns {
        Turns {
            permits: Arc::new(Semaphore::new(threads.max(2))),
        }
    }

    /// Whether calls of this component stand in line.
    fn crowded(&self) -> bool {
        self.permits.available_permits() == 0
    }
}

impl Meter {
    /// `origin`: now.
    pub(crate) fn new(origin: Instant, budget: Duration) -> Meter {
        Meter {
            origin,
            budget: nanos(budget),
            spent: AtomicU64::new(0),
            poll_began: AtomicU64::new(0),
            poll_ended: AtomicU64::new(0),
            thread_began: AtomicU64::new(0),
            has_turn: AtomicBool::new(false),
            turn: Mutex::new(None),
        }
    }

    /// Microseconds used so far.
    pub(crate) fn micros(&self) -> u64 {
        self.spent.load(Ordering::Relaxed) / 1_000
    }

    /// From the origin to the end of the last poll.
    pub(crate) fn last_seen(&self) -> Duration {
        Duration::from_nanos(self.poll_ended.load(Ordering::Relaxed))
    }

    fn begin_poll(&self) {
        // Most calls are polled once, at once: then the origin is near enough, and each look at
        // the clock can be told apart in what a call takes.
        let now = match self.poll_ended.load(Ordering::Relaxed) {
            0 => self.origin,
            _ => Instant::now(),
        };
        self.thread_began
            .store(recent_thread_nanos(now), Ordering::Relaxed);
        self.poll_began
            .store(nanos(now - self.origin), Ordering::Relaxed);
    }

    fn end_poll(&self) {
        let elapsed = nanos(self.origin.elapsed());
        self.poll_ended.store(elapsed.max(1), Ordering::Relaxed);
        self.spent.store(self.used_at(elapsed), Ordering::Relaxed);
        if self.has_turn.load(Ordering::Relaxed) {
            self.has_turn.store(false, Ordering::Relaxed);
            self.turn
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
        }
    }

    /// Nanoseconds used, the current poll included.
    fn used(&self) -> u64 {
        self.used_at(nanos(self.origin.elapsed()))
    }

    fn used_at(&self, elapsed: u64) -> u64 {
        let mut this_poll = elapsed.saturating_sub(self.poll_began.load(Ordering::Relaxed));
        if this_poll > 2 * nanos(TICK) {
            let began = self.thread_began.load(Ordering::Relaxed);
            this_poll = this_poll.min(thread_nanos().saturating_sub(began));
        }
        self.spent.load(Ordering::Relaxed).saturating_add(this_poll)
    }

    /// In the middle of a poll: whether the budget is used up.
    fn exceeded(&self) -> bool {
        self.used() > self.budget
    }

    fn keep(&self, turn: Option<OwnedSemaphorePermit>) {
        self.has_turn.store(turn.is_some(), Ordering::Relaxed);
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = turn;
    }
}

/// Waits for a turn of the call's component.
///
/// With neighbours a turn takes two permits, so that half of the threads stay theirs; alone
/// on the node a component may loop on every thread.
async fn take_turn(call: Arc<Call>) {
    let account = call.account();
    let permits = if account.has_neighbours() { 2 } else { 1 };
    let semaphore = Arc::clone(&account.turns.permits);
    // It is never closed; if it were, the call would just go on.
    let turn = semaphore.acquire_many_owned(permits).await.ok();
    call.meter.keep(turn);
}

/// A call of a component whose calls stand in line joins the line before it starts.
pub(crate) async fn join_line(call: &Arc<Call>) {
    if call.account().turns.crowded() {
        take_turn(Arc::clone(call)).await;
    }
}

/// Makes the store ask at every tick whether it may go on, once it has run for a whole one: the
/// next tick may come at once, and a short call would wait in line for nothing.
pub(crate) fn supervise(store: &mut Store<Guest>) {
    store.set_epoch_deadline(2);
    store.epoch_deadline_callback(|store: StoreContextMut<'_, Guest>| {
        let call = store.data().call();
        if call.ended_by().is_some() {
            return Ok(UpdateDeadline::Interrupt);
        }
        if call.meter.exceeded() {
            call.end(Outcome::CpuExceeded);
            return Ok(UpdateDeadline::Interrupt);
        }
        let call = Arc::clone(call);
        let turn = async move {
            tokio::task::yield_now().await;
            take_turn(call).await;
        };
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(turn)))
    });
}

impl<F: Future<Output = wasmtime::Result<()>>> Metered<F> {
    pub(crate) fn new(call: Arc<Call>, guest: F) -> Metered<F> {
        call.account().ticker.enter();
        Metered {
            call,
            guest: Box::pin(guest),
            lasting: false,
        }
    }

    /// For a call that may last.
    pub(crate) fn lasting(call: Arc<Call>, guest: F) -> Metered<F> {
        call.account().waiting_runs.fetch_add(1, Ordering::Relaxed);
        Metered {
            call,
            guest: Box::pin(guest),
            lasting: true,
        }
    }

    fn look(&mut self, context: &mut Context<'_>) -> std::thread::Result<Poll<F::Output>> {
        self.call.meter.begin_poll();
        // A bug of the host must end this call alone. The future is not polled again.
        let poll = catch_unwind(AssertUnwindSafe(|| self.guest.as_mut().poll(context)));
        self.call.meter.end_poll();
        poll
    }

    fn look_at_run(&mut self, context: &mut Context<'_>) -> std::thread::Result<Poll<F::Output>> {
        let before = self.call.meter.micros();
        let account = Arc::clone(self.call.account());
        account.ticker.enter();
        account.waiting_runs.fetch_sub(1, Ordering::Relaxed);
        let poll = self.look(context);
        account.waiting_runs.fetch_add(1, Ordering::Relaxed);
        account.ticker.leave();
        let used = self.call.meter.micros().saturating_sub(before);
        account.cpu_micros.fetch_add(used, Ordering::Relaxed);
        poll
    }
}

impl<F> Drop for Metered<F> {
    fn drop(&mut self) {
        let account = self.call.account();
        if self.lasting {
            account.waiting_runs.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        account.ticker.leave();
        let used = self.call.meter.micros();
        account.cpu_micros.fetch_add(used, Ordering::Relaxed);
    }
}

impl<F: Future<Output = wasmtime::Result<()>>> Future for Metered<F> {
    /// The error has been noted in the call.
    type Output = Result<(), Outcome>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let poll = match this.lasting {
            false => this.look(context),
            true => this.look_at_run(context),
        };
        match poll {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            Ok(Poll::Ready(Err(_))) => {
                Poll::Ready(Err(this.call.ended_by().unwrap_or(Outcome::Trapped)))
            }
            Err(_panic) => {
                this.call.end(Outcome::HostFault);
                Poll::Ready(Err(Outcome::HostFault))
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// CPU time of this thread, at most a tick ago: it is asked for at the beginning of every
/// poll, and most polls are over within a few microseconds.
fn recent_thread_nanos(now: Instant) -> u64 {
    thread_local! {
        static RECENT: Cell<Option<(Instant, u64)>> = const { Cell::new(None) };
    }
    match RECENT.get() {
        Some((asked, answer)) if now.saturating_duration_since(asked) < TICK => answer,
        _ => {
            let answer = thread_nanos();
            RECENT.set(Some((now, answer)));
            answer
        }
    }
}

/// CPU time of this thread.
fn thread_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    fn spin(duration: Duration) {
        let start = thread_nanos();
        while thread_nanos() - start < nanos(duration) {}
    }

    #[test]
    fn time_in_which_the_thread_did_not_run_is_not_counted() {
        let meter = Meter::new(Instant::now(), Duration::from_millis(20));
        meter.begin_poll();
        sleep(Duration::from_millis(60));
        assert!(!meter.exceeded(), "{} us", meter.used() / 1_000);
        meter.end_poll();
        assert!(meter.micros() < 10_000, "{} us", meter.micros());
    }

    #[test]
    fn time_in_which_it_ran_is_counted_over_all_polls() {
        let meter = Meter::new(Instant::now(), Duration::from_millis(20));
        for _ in 0..30 {
            meter.begin_poll();
            spin(Duration::from_millis(1));
            meter.end_poll();
        }
        assert!(meter.exceeded(), "{} us", meter.micros());
    }
}
