//! Memory of a call: charged before it is given.
//!
//! All memories and tables of a store (`errand` asks for them), and the buffers that the host
//! keeps for it, count against perCall.memory, the component's perReplica.memory and the
//! node's budget; what is dropped is given back to all three. Counts declared bytes, not
//! resident ones: what was promised must be there when touched.

use crate::call::{Account, Call};
use crate::outcome::Outcome;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The shared budgets are touched in steps of this size, so that the small tables of an
/// instance cost no contended counter each.
pub(crate) const STEP: u64 = 64 * 1024;

/// A budget that calls of many threads draw on.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    limit: AtomicU64,
}

/// What one call holds, in its store and in the host.
#[derive(Debug)]
pub(crate) struct Holding {
    limit: u64,
    sums: Mutex<Sums>,
}

/// Bytes that the host holds for a call. Given back when dropped.
#[derive(Debug)]
pub(crate) struct HostBytes {
    call: Arc<Call>,
    bytes: u64,
}

/// Bytes of an answer that wait for its reader. They count against the component and the node
/// but not against the call: how many wait, a guest can not know. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    account: Arc<Account>,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Sums {
    held: u64,
    /// Drawn from the shared budgets; at least `held`.
    drawn: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Budget {
        Budget {
            used: AtomicU64::new(0),
            limit: AtomicU64::new(limit),
        }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Whether half of it or more could still be drawn.
    pub(crate) fn is_half_free(&self) -> bool {
        self.used() <= self.limit.load(Ordering::Relaxed) / 2
    }

    pub(crate) fn draw(&self, bytes: u64) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let within = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
            .is_ok()
    }

    pub(crate) fn refund(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Holding {
    pub(crate) fn new(limit: u64) -> Holding {
        Holding {
            limit,
            sums: Mutex::default(),
        }
    }

    /// Charges `bytes`, or says which limit is in the way.
    pub(crate) fn charge(&self, account: &Account, bytes: u64) -> Result<(), Outcome> {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let held = sums.held.saturating_add(bytes);
        if held > self.limit {
            return Err(Outcome::MemoryExceeded);
        }
        if held > sums.drawn {
            let step = (held - sums.drawn).next_multiple_of(STEP);
            account.draw(step)?;
            sums.drawn += step;
        }
        sums.held = held;
        Ok(())
    }

    pub(crate) fn release(&self, account: &Account, bytes: u64) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.held = sums.held.saturating_sub(bytes);
        let surplus = sums.drawn - sums.held.next_multiple_of(STEP).min(sums.drawn);
        if surplus > 0 {
            sums.drawn -= surplus;
            account.refund(surplus);
        }
    }
}

impl HostBytes {
    /// Charges `bytes` before the host allocates them.
    ///
    /// # Errors
    /// The limit that is in the way; it is noted in the call.
    pub(crate) fn hold(call: &Arc<Call>, bytes: usize) -> Result<HostBytes, Outcome> {
        let bytes = bytes as u64;
        call.charge(bytes)?;
        Ok(HostBytes {
            call: Arc::clone(call),
            bytes,
        })
    }

    /// Charges more, before the host allocates it.
    ///
    /// # Errors
    /// As `hold`; what is held already stays.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Outcome> {
        self.call.charge(bytes as u64)?;
        self.bytes = self.bytes.saturating_add(bytes as u64);
        Ok(())
    }
}

impl Waiting {
    /// Charges the most that can wait.
    ///
    /// # Errors
    /// The limit that is in the way.
    pub(crate) fn hold(account: &Arc<Account>, bytes: usize) -> Result<Waiting, Outcome> {
        let bytes = bytes as u64;
        account.draw(bytes)?;
        Ok(Waiting {
            account: Arc::clone(account),
            bytes,
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.account.refund(self.bytes);
    }
}

impl Drop for HostBytes {
    fn drop(&mut self) {
        self.call.release(self.bytes);
    }
}
