//! The in-flight ledger: which slot each thread of the worker is running guest code for.
//! It lies in a memory file that control holds too, so that after a crash control can read
//! who was on a thread. The worker writes it, control reads it; nobody trusts it further.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::message::SlotId;

/// The worker has one runtime thread per core; more threads than this are not recorded.
const THREADS: u64 = 1_024;
/// One little-endian slot number per thread.
const ENTRY: u64 = 8;

/// A ledger, from either side.
#[derive(Clone, Debug)]
pub struct Ledger {
    file: Arc<File>,
}

/// The next thread of this process that enters anything gets this place.
static NEXT_PLACE: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// The place of one thread in the ledger.
struct Place {
    file: Arc<File>,
    number: u64,
    /// What was last written there.
    slot: u64,
}

impl Ledger {
    /// A new ledger with no entries, on control's side.
    pub fn new() -> io::Result<Self> {
        let fd = rustix::fs::memfd_create("ledger", rustix::fs::MemfdFlags::CLOEXEC)?;
        let file = File::from(fd);
        file.set_len(THREADS * ENTRY)?;
        Ok(Self::over(file))
    }

    /// The ledger that control sent, on the worker's side.
    pub fn received(fd: OwnedFd) -> Self {
        Self::over(File::from(fd))
    }

    fn over(file: File) -> Self {
        Self {
            file: Arc::new(file),
        }
    }

    /// A descriptor for the other side.
    pub fn try_clone_fd(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    /// Says that this thread now runs guest code of the slot. Writes only when that changed:
    /// a busy thread that serves one component pays for one system call, not one per poll.
    pub fn enter(&self, slot: SlotId) {
        PLACE.with_borrow_mut(|place| {
            let place = place.get_or_insert_with(|| Place {
                file: Arc::clone(&self.file),
                number: NEXT_PLACE.fetch_add(1, Ordering::Relaxed),
                slot: 0,
            });
            place.write(slot.0);
        });
    }

    /// Says that this thread runs nobody's code: for the runtime to call before a thread sleeps.
    pub fn leave() {
        PLACE.with_borrow_mut(|place| {
            if let Some(place) = place {
                place.write(0);
            }
        });
    }

    /// Who was on a thread when the entries were last written.
    pub fn running(&self) -> BTreeSet<SlotId> {
        let mut slots = BTreeSet::new();
        let mut entry = [0; 8];
        for place in 0..THREADS {
            if self.file.read_exact_at(&mut entry, place * ENTRY).is_ok() {
                let slot = u64::from_le_bytes(entry);
                if slot != 0 {
                    slots.insert(SlotId(slot));
                }
            }
        }
        slots
    }

    /// Runs a future so that each of its polls is entered for `slot`. Nothing is written at its
    /// end: the thread goes on with the next request, which enters, or it sleeps, and leaves.
    pub async fn record<F: Future>(&self, slot: SlotId, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|context| {
            self.enter(slot);
            future.as_mut().poll(context)
        })
        .await
    }
}

impl Place {
    fn write(&mut self, slot: u64) {
        if self.slot != slot && self.number < THREADS {
            self.slot = slot;
            // A ledger that cannot be written costs the quarantine, not the request.
            let _ = self
                .file
                .write_all_at(&slot.to_le_bytes(), self.number * ENTRY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_side_reads_who_is_on_a_thread() {
        let control = Ledger::new().unwrap();
        let worker = Ledger::received(control.try_clone_fd().unwrap());
        std::thread::spawn(move || {
            worker.enter(SlotId(7));
            assert_eq!(control.running(), BTreeSet::from([SlotId(7)]));
            worker.enter(SlotId(8));
            assert_eq!(control.running(), BTreeSet::from([SlotId(8)]));
            Ledger::leave();
            assert!(control.running().is_empty());
        })
        .join()
        .unwrap();
    }
}
