//! How large a pool is, how its slots are reset, and that all of them are in use.
//!
//! Plain values. `engine` chooses them, `pool` keeps to them.

use std::io;

/// The page size of the targets wasmtime compiles for here; asserted when a pool is made.
pub(super) const PAGE: usize = 4096;

/// Sizes of a pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Slots, that is the most that can be in use at once.
    pub(crate) slots: usize,
    /// Bytes a slot can grow to; a multiple of the page size.
    pub(crate) reserved: usize,
    /// Bytes that always fault: behind a memory, in front of a stack.
    pub(crate) guard: usize,
    /// Bytes that may stay resident in a free slot; beyond it the slot is given back whole.
    pub(crate) keep_resident: usize,
    /// Whether slots are used from their end on, as stacks are.
    pub(crate) is_stack: bool,
}

impl Sizes {
    /// Bytes of address space for all slots, with a guard in front of the first.
    pub(super) fn length(&self) -> io::Result<usize> {
        let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if rustix::param::page_size() != PAGE {
            return invalid("the memory pool is written for pages of 4096 bytes");
        }
        if !self.reserved.is_multiple_of(PAGE)
            || !self.guard.is_multiple_of(PAGE)
            || self.guard == 0
        {
            return invalid("slots and guards have to be whole pages");
        }
        self.slots
            .checked_mul(self.reserved + self.guard)
            .and_then(|bytes| bytes.checked_add(self.guard))
            .ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }
}

/// How a slot's pages become zeros again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reset {
    /// Ask the kernel which pages hold data, clear those.
    Scan,
    /// Give all pages back to the kernel.
    Discard,
}

/// All slots of the pool are in use.
#[derive(Debug, thiserror::Error)]
#[error("all slots of the pool are in use")]
pub(crate) struct PoolExhausted;
