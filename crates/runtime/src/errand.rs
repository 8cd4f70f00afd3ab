//! What a store works for at present: one call, and what the store holds on its account.
//!
//! wasmtime asks here before memories and tables grow; `http::outgoing` answers here for the
//! requests that the guest sends. One struct for both, because a store is made for every
//! request and each further hold on its call costs as much as a lookup. Made by `guest`.

use crate::call::Call;
use crate::engine::{CORE_INSTANCES, MEMORIES, TABLE_ELEMENTS, TABLES};
use crate::limits::STEP;
use crate::outcome::Outcome;
use std::sync::Arc;
use wasmtime::ResourceLimiter;

/// Bytes of a table's element.
const ELEMENT: usize = size_of::<usize>();

/// One store's call, and the bytes of its memories and tables.
#[derive(Debug)]
pub(crate) struct Errand {
    call: Arc<Call>,
    held: u64,
    /// What the call is charged with: `held`, or up to a step more.
    charged: u64,
    /// What the last growth asked for, in case it fails afterwards.
    pending: u64,
}

impl Errand {
    pub(crate) fn new(call: &Arc<Call>) -> Errand {
        Errand {
            call: Arc::clone(call),
            held: 0,
            charged: 0,
            pending: 0,
        }
    }

    pub(crate) fn call(&self) -> &Arc<Call> {
        &self.call
    }

    /// Works for another call from now on, which is charged with what is held.
    ///
    /// # Errors
    /// The limit that is in the way; then nothing is charged for what is held.
    pub(crate) fn pass_to(&mut self, call: &Arc<Call>) -> Result<(), Outcome> {
        let held = std::mem::take(&mut self.held);
        self.pending = 0;
        self.call.release(std::mem::take(&mut self.charged));
        self.call = Arc::clone(call);
        self.call.charge(held)?;
        (self.held, self.charged) = (held, held);
        Ok(())
    }

    fn growing(&mut self, bytes: u64) -> bool {
        let held = self.held + bytes;
        if held > self.charged && !self.charge(held - self.charged) {
            return false;
        }
        self.held = held;
        self.pending = bytes;
        true
    }

    /// Whole steps while there is room for them: an instance has several tables, all small.
    fn charge(&mut self, bytes: u64) -> bool {
        let steps = bytes.next_multiple_of(STEP);
        let charged = match self.call.try_charge(steps) {
            Ok(()) => steps,
            Err(_) if self.call.charge(bytes).is_ok() => bytes,
            Err(_) => return false,
        };
        self.charged += charged;
        true
    }

    /// What is pending came to nothing.
    fn failed(&mut self) {
        self.held -= std::mem::take(&mut self.pending);
        let keep = self.held.next_multiple_of(STEP).min(self.charged);
        self.call.release(self.charged - keep);
        self.charged = keep;
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        self.call.release(self.charged);
    }
}

impl ResourceLimiter for Errand {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired as u64 > self.call.given().limits.max_memory {
            self.call.deny(Outcome::MemoryExceeded);
            return Ok(false);
        }
        Ok(self.growing((desired.saturating_sub(current)) as u64))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS {
            self.call.deny(Outcome::MemoryExceeded);
            return Ok(false);
        }
        Ok(self.growing((desired.saturating_sub(current) * ELEMENT) as u64))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed();
        Ok(())
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}
