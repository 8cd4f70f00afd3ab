//! Which slots of an arena are free, and which have to be cut to size before they are.
//!
//! Only numbers: it touches no memory. Each thread has a list that it prefers, so that
//! executor threads do not wait for one another. Called by `pool`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many entries of a list are looked at for one of the right size.
const LOOK: usize = 8;
/// Lists at most, however many cores there are.
const LISTS: usize = 16;

/// A slot that can be taken: all of it reads as zeros.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    pub(super) index: usize,
    pub(super) accessible: usize,
}

/// A slot whose memory grew: zeros up to `size`, and what its guest left behind that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grown {
    pub(super) index: usize,
    pub(super) size: usize,
    pub(super) accessible: usize,
}

/// One list.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) ready: Vec<Ready>,
    pub(super) grown: Vec<Grown>,
}

/// All lists of an arena.
#[derive(Debug)]
pub(super) struct Lists(Vec<Mutex<List>>);

impl Lists {
    /// Slots `0..slots`, none of which is accessible yet.
    pub(super) fn new(slots: usize) -> Lists {
        let count = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(LISTS);
        let mut lists: Vec<List> = Vec::new();
        lists.resize_with(count, List::default);
        for (index, list) in (0..slots).rev().zip((0..count).cycle()) {
            if let Some(list) = lists.get_mut(list) {
                list.ready.push(Ready {
                    index,
                    accessible: 0,
                });
            }
        }
        Lists(lists.into_iter().map(Mutex::new).collect())
    }

    /// All lists, the one that this thread prefers first.
    pub(super) fn nearest(&self) -> impl Iterator<Item = MutexGuard<'_, List>> {
        let here = preferred() % self.0.len().max(1);
        let (before, after) = self.0.split_at_checked(here).unwrap_or((&[], &self.0));
        after
            .iter()
            .chain(before)
            .map(|list| list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl List {
    /// A slot, of the wanted accessible size if one of the last few has it.
    pub(super) fn take(&mut self, wanted: usize) -> Option<Ready> {
        let fits = self
            .ready
            .iter()
            .rev()
            .take(LOOK)
            .position(|ready| ready.accessible == wanted);
        match fits {
            Some(from_the_end) => {
                let at = self.ready.len() - 1 - from_the_end;
                Some(self.ready.swap_remove(at))
            }
            None => self.ready.pop(),
        }
    }
}

/// The number of the list that this thread prefers.
fn preferred() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PREFERRED: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    PREFERRED.with(|number| *number)
}
