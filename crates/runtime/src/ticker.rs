//! The clock of the engines: one thread that advances their epochs every millisecond.
//!
//! Must cost nothing at rest, so it parks while no call is in progress. `runtime` starts it;
//! `cpu` tells it of each call.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use wasmtime::EngineWeak;

/// What a guest may run before it is asked whether it may go on.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// Ticks without a call before the thread parks: waking it costs a system call, which a
/// steady trickle of short calls should not pay each time.
const IDLE_TICKS: u32 = 100;

/// Advances epochs while calls are in progress.
#[derive(Debug)]
pub(crate) struct Ticker {
    state: Arc<State>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    calls: AtomicU64,
    parked: AtomicBool,
    stopped: AtomicBool,
}

impl Ticker {
    /// Starts the thread, parked.
    pub(crate) fn start(engines: Vec<EngineWeak>) -> io::Result<Ticker> {
        let state = Arc::new(State::default());
        let seen = Arc::clone(&state);
        let thread = thread::Builder::new()
            .name("epoch".to_owned())
            .spawn(move || tick(&seen, &engines))?;
        Ok(Ticker { state, thread })
    }

    /// A call begins: it runs at least until `leave`.
    pub(crate) fn enter(&self) {
        self.state.calls.fetch_add(1, Ordering::SeqCst);
        // Sequentially consistent with `tick`: either it sees the call, or this sees it parked.
        if self.state.parked.load(Ordering::SeqCst) {
            self.thread.thread().unpark();
        }
    }

    /// A call that had entered has ended.
    pub(crate) fn leave(&self) {
        self.state.calls.fetch_sub(1, Ordering::SeqCst);
    }

    /// Calls in progress.
    pub(crate) fn calls(&self) -> u64 {
        self.state.calls.load(Ordering::Relaxed)
    }

    /// Whether the thread is at rest.
    #[cfg(test)]
    pub(crate) fn is_parked(&self) -> bool {
        self.state.parked.load(Ordering::SeqCst)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
    }
}

fn tick(state: &State, engines: &[EngineWeak]) {
    let mut idle = IDLE_TICKS;
    while !state.stopped.load(Ordering::SeqCst) {
        if state.calls.load(Ordering::SeqCst) > 0 {
            idle = 0;
        } else {
            idle = idle.saturating_add(1);
        }
        if idle >= IDLE_TICKS {
            state.parked.store(true, Ordering::SeqCst);
            // `park` may return for no reason, and a call may have come before it.
            while state.calls.load(Ordering::SeqCst) == 0 && !state.stopped.load(Ordering::SeqCst) {
                thread::park();
            }
            state.parked.store(false, Ordering::SeqCst);
            idle = 0;
        }
        thread::sleep(TICK);
        for engine in engines {
            if let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn wait_until(what: impl Fn() -> bool) {
        let start = Instant::now();
        while !what() {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "it did not happen in time"
            );
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_thread_is_parked_while_no_call_is_in_progress() {
        let ticker = Ticker::start(Vec::new()).unwrap();
        wait_until(|| ticker.is_parked());
        ticker.enter();
        wait_until(|| !ticker.is_parked());
        thread::sleep(TICK * IDLE_TICKS * 2);
        assert!(!ticker.is_parked(), "it parked during a call");
        ticker.leave();
        wait_until(|| ticker.is_parked());
    }
}
