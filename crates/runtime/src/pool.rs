//! Linear memories and fiber stacks for the small engine, handed out again after a reset.
//!
//! A fresh instance per request stands and falls with the price of zeroing what the last
//! one wrote. This pool asks the kernel which pages were written and clears those alone.
//! It must not know components, limits or stores. `engine` makes one of each per runtime.
//!
//! # Why this is sound
//!
//! *Who owns what.* An `Arena` is one `mmap` that lives until the arena is dropped. It is
//! cut into slots of equal size; an index is either in `free` or owned by exactly one
//! `Slot`, because `Arena::take` pops it and only `Slot::drop` pushes it back. So no two
//! slots overlap and no slot outlives its mapping (it holds an `Arc` of the arena).
//!
//! *What may be touched.* A slot is `reserved + guard` bytes (a stack: guard below), mapped
//! `PROT_NONE`. Only `[accessible)` is readable and writable, by `mprotect`, and its length
//! is exactly what wasmtime is told: compiled code leaves out bounds checks and relies on a
//! fault behind it. Every slot ends in its guard, so the next slot begins behind one. The
//! first slot of an arena has a guard in front of it too. A memory that grew leaves a slot
//! that is too long for the next instance; it is taken by nobody until it has been cut.
//!
//! *What may be seen.* Every page of a free slot reads as zeros. That holds after `mmap`;
//! `Slot::drop` restores it before the index goes back. It clears every page that the kernel
//! does not report as a hole or as the shared page of zeros: present pages, and those
//! "swapped", which includes pages that migrate at this moment. It never relies on
//! written-bits (an mm-unstable kernel reports them in userfaultfd ranges only). If the scan
//! fails, says nonsense, or is not there (Linux < 6.7), the whole accessible part goes back
//! to the kernel by `madvise(DONTNEED)`, which for private anonymous memory means zeros; if
//! even that fails, it is overwritten. A pool tries the scan once before it relies on it.
//! What is cut off a slot is given back before it is protected. A slot of which that failed,
//! or whose protection could not be changed as a whole, is mapped anew or never used again.
//!
//! *Threads.* `Slot`s are handed over whole; the raw pointers in them are shared with
//! nobody. The free lists are behind mutexes, and the file descriptors are only read.
#![expect(
    unsafe_code,
    reason = "wasmtime's MemoryCreator and StackCreator are unsafe traits over raw mappings"
)]

use rustix::process::{PidfdFlags, getpid};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use wasmtime::{LinearMemory, MemoryCreator, MemoryType, StackCreator, StackMemory};

mod free;
mod sizes;
#[cfg(test)]
mod tests;

use free::{Grown, List, Lists, Ready};
use sizes::PAGE;
pub(crate) use sizes::{PoolExhausted, Reset, Sizes};

/// How much of a stack is looked at in one go: nearly all calls use less.
const STACK_STEP: usize = 128 << 10;
/// Grown slots of one list that are cut together. Taking away a page that a guest has
/// touched makes every core of the process forget translations, which costs more than all
/// else that a small request does; cut together, they forget once. At most this many times
/// `keep_resident` waits in a list.
const BATCH: usize = 16;

/// Hands out linear memories, or fiber stacks if its sizes say so.
#[derive(Debug)]
pub(crate) struct Pool {
    arena: Arc<Arena>,
}

#[derive(Debug)]
struct Arena {
    base: *mut u8,
    length: usize,
    sizes: Sizes,
    /// A slot remembers how much of it is accessible: most are reused at the same size.
    free: Lists,
    pagemap: Option<File>,
    /// This process, for giving back pages of several slots at once.
    process: Option<OwnedFd>,
}

/// A slot in use: one linear memory or one stack.
#[derive(Debug)]
struct Slot {
    arena: Arc<Arena>,
    index: usize,
    base: *mut u8,
    /// How long it was when it was handed out.
    size: usize,
    accessible: usize,
    /// `accessible` may not be what the kernel has.
    damaged: bool,
}

// SAFETY: the base pointers refer to mappings that this process owns until the arena is
// dropped. An arena gives out disjoint slots under its mutexes, and a slot is used by one
// owner at a time; nothing in them is tied to the thread that made them.
unsafe impl Send for Arena {}
// SAFETY: as above; `&Arena` only reaches the mutexes, constants and a file descriptor.
unsafe impl Sync for Arena {}
// SAFETY: as above; whoever has the slot has the only reference to its bytes.
unsafe impl Send for Slot {}
// SAFETY: `&Slot` gives out the address and lengths and nothing that writes.
unsafe impl Sync for Slot {}

impl Pool {
    /// Reserves address space for all slots.
    pub(crate) fn new(sizes: Sizes, reset: Reset) -> io::Result<Pool> {
        Ok(Pool {
            arena: Arena::new(sizes, reset)?,
        })
    }

    /// How slots are reset on this kernel.
    pub(crate) fn reset(&self) -> Reset {
        match self.arena.pagemap {
            Some(_) => Reset::Scan,
            None => Reset::Discard,
        }
    }
}

// SAFETY: `new_memory` returns zeroed, page-aligned memory that nobody else refers to, whose
// accessible part is exactly `byte_size()`, followed by inaccessible bytes up to the
// reservation and then by at least the guard asked for; it refuses what it can not give.
unsafe impl MemoryCreator for Pool {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved_size_in_bytes: Option<usize>,
        guard_size_in_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let sizes = self.arena.sizes;
        if reserved_size_in_bytes != Some(sizes.reserved) || guard_size_in_bytes > sizes.guard {
            return Err("the memory pool was made for another reservation".to_owned());
        }
        match Arena::take(&self.arena, minimum) {
            Ok(slot) => Ok(Box::new(slot)),
            Err(error) => Err(error.to_string()),
        }
    }
}

// SAFETY: see `MemoryCreator`; the base never moves, and growth never passes the reservation.
unsafe impl LinearMemory for Slot {
    fn byte_size(&self) -> usize {
        self.accessible
    }

    fn byte_capacity(&self) -> usize {
        self.arena.sizes.reserved
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        if new_size < self.accessible {
            wasmtime::bail!("a linear memory does not shrink");
        }
        self.grow(new_size)?;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.base
    }
}

// SAFETY: the stack is zeroed, page-aligned, used by nobody else, and the bytes below it
// fault, up to the end of the slot below (or the leading guard of the arena).
unsafe impl StackCreator for Pool {
    fn new_stack(&self, size: usize, _zeroed: bool) -> wasmtime::Result<Box<dyn StackMemory>> {
        let size = size.next_multiple_of(PAGE);
        Ok(Box::new(Stack(Arena::take(&self.arena, size)?)))
    }
}

/// A slot used as a stack: its guard is the one that ends the slot below.
struct Stack(Slot);

// SAFETY: see `StackCreator`. `top` is one past the accessible part and page-aligned.
unsafe impl StackMemory for Stack {
    fn top(&self) -> *mut u8 {
        self.0.base.wrapping_add(self.0.accessible)
    }

    fn range(&self) -> Range<usize> {
        let start = self.0.base.addr();
        start..start + self.0.accessible
    }

    fn guard_range(&self) -> Range<*mut u8> {
        self.0.base.wrapping_sub(self.0.arena.sizes.guard)..self.0.base
    }
}

impl Arena {
    fn new(sizes: Sizes, reset: Reset) -> io::Result<Arc<Arena>> {
        let length = sizes.length()?;
        // SAFETY: a new private mapping at an address of the kernel's choice replaces nothing.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the range is the mapping just made. Huge pages would make one written byte
        // cost two megabytes to clear; where the kernel has none, the call may fail unheard.
        unsafe { libc::madvise(base, length, libc::MADV_NOHUGEPAGE) };

        let mut arena = Arena {
            base: base.cast(),
            length,
            sizes,
            free: Lists::new(sizes.slots),
            pagemap: None,
            // A kernel without it gives back the pages of one slot at a time.
            process: rustix::process::pidfd_open(getpid(), PidfdFlags::empty()).ok(),
        };
        if reset == Reset::Scan {
            arena.pagemap = File::open("/proc/self/pagemap").ok().filter(pagemap::works);
        }
        Ok(Arc::new(arena))
    }

    /// A free slot, blank and exactly `size` bytes long.
    fn take(arena: &Arc<Arena>, size: usize) -> io::Result<Slot> {
        if size > arena.sizes.reserved || !size.is_multiple_of(PAGE) {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, TOO_LARGE));
        }
        let ready = arena
            .free
            .nearest()
            .find_map(|mut list| list.take(size))
            .or_else(|| {
                // The last ones may only wait to be cut.
                arena.free.nearest().find_map(|mut list| {
                    arena.cut(&mut list);
                    list.take(size)
                })
            })
            .ok_or_else(|| io::Error::new(io::ErrorKind::OutOfMemory, PoolExhausted))?;
        let mut slot = Slot {
            arena: Arc::clone(arena),
            index: ready.index,
            base: arena.base_of(ready.index),
            size,
            accessible: ready.accessible,
            damaged: false,
        };
        if size < slot.accessible {
            slot.damaged = !arena.shorten(slot.index, size..slot.accessible, false);
            if slot.damaged {
                return Err(io::Error::last_os_error());
            }
            slot.accessible = size;
        }
        slot.grow(size)?;
        Ok(slot)
    }

    fn base_of(&self, index: usize) -> *mut u8 {
        let Sizes {
            reserved, guard, ..
        } = self.sizes;
        self.base.wrapping_add(guard + index * (reserved + guard))
    }

    /// Cuts all grown slots of a list to the size they had, and makes them ready.
    fn cut(&self, list: &mut List) {
        let grown = std::mem::take(&mut list.grown);
        let tails: Vec<libc::iovec> = grown
            .iter()
            .map(|slot| libc::iovec {
                iov_base: self.base_of(slot.index).wrapping_add(slot.size).cast(),
                iov_len: slot.accessible - slot.size,
            })
            .collect();
        let discarded = self.discard(&tails);
        for Grown {
            index,
            size,
            accessible,
        } in grown
        {
            if self.shorten(index, size..accessible, discarded) {
                list.ready.push(Ready {
                    index,
                    accessible: size,
                });
            } else if self.renew(index) {
                list.ready.push(Ready {
                    index,
                    accessible: 0,
                });
            }
        }
    }

    /// Gives back the pages of several free slots in one call. Says whether it did.
    fn discard(&self, ranges: &[libc::iovec]) -> bool {
        let Some(process) = &self.process else {
            return false;
        };
        let wanted: usize = ranges.iter().map(|range| range.iov_len).sum();
        // SAFETY: the ranges lie in slots that nobody uses; private anonymous memory reads as
        // zeros afterwards, as a free slot has to.
        let discarded = unsafe {
            libc::syscall(
                libc::SYS_process_madvise,
                process.as_raw_fd(),
                ranges.as_ptr(),
                ranges.len(),
                libc::MADV_DONTNEED,
                0,
            )
        };
        usize::try_from(discarded) == Ok(wanted)
    }

    /// Makes a part of a free slot inaccessible, and gives its pages back before that if
    /// they have not been. If it fails, the slot is in no known state.
    fn shorten(&self, index: usize, cut: Range<usize>, discarded: bool) -> bool {
        let start: *mut libc::c_void = self.base_of(index).wrapping_add(cut.start).cast();
        // SAFETY: `cut` lies in a slot that nobody uses.
        unsafe {
            (discarded || libc::madvise(start, cut.len(), libc::MADV_DONTNEED) == 0)
                && libc::mprotect(start, cut.len(), libc::PROT_NONE) == 0
        }
    }

    /// Maps a slot anew: inaccessible, and empty when it becomes accessible again. A slot
    /// with which that fails is given up; the pool has one less.
    fn renew(&self, index: usize) -> bool {
        // SAFETY: exactly this slot's part of the arena, which nobody uses any more, is
        // replaced by a mapping of the same kind.
        let mapped = unsafe {
            libc::mmap(
                self.base_of(index).cast(),
                self.sizes.reserved,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        mapped != libc::MAP_FAILED
    }

    /// Takes a slot back whose part up to `size` is zeros.
    fn give_back(&self, index: usize, size: usize, accessible: usize) {
        let Some(mut list) = self.free.nearest().next() else {
            return;
        };
        if size == accessible {
            list.ready.push(Ready { index, accessible });
            return;
        }
        list.grown.push(Grown {
            index,
            size,
            accessible,
        });
        // What is large does not wait for company.
        if list.grown.len() >= BATCH || accessible - size > self.sizes.keep_resident {
            self.cut(&mut list);
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no slot is left that refers to it: each holds an Arc.
        unsafe { libc::munmap(self.base.cast(), self.length) };
    }
}

const TOO_LARGE: &str = "larger than a slot of the pool";

impl Slot {
    /// Makes `[0, size)` readable and writable.
    fn grow(&mut self, size: usize) -> io::Result<()> {
        if size > self.arena.sizes.reserved || !size.is_multiple_of(PAGE) {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, TOO_LARGE));
        }
        if size <= self.accessible {
            return Ok(());
        }
        let start: *mut libc::c_void = self.base.wrapping_add(self.accessible).cast();
        let length = size - self.accessible;
        // SAFETY: the range lies in this slot, which nobody else uses. On failure the kernel
        // may have changed a part of it, so the slot is not reused as it is.
        if unsafe { libc::mprotect(start, length, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
            self.damaged = true;
            return Err(io::Error::last_os_error());
        }
        self.accessible = size;
        Ok(())
    }

    /// Makes the used part of a stack zeros. It is contiguous from the top: rustc and
    /// Cranelift probe every page of a frame. And if it were not, no guest could read it.
    fn clear_stack(&mut self) {
        let mut end = self.accessible;
        while end > 0 {
            let start = end.saturating_sub(STACK_STEP);
            match self.clear(start..end) {
                Some(lowest) if lowest > start => return,
                _ => end = start,
            }
        }
    }

    /// Makes bytes zeros. Says where the first page that held data begins, or the end if
    /// none did; nothing if that is not known.
    fn clear(&mut self, part: Range<usize>) -> Option<usize> {
        let keep = self.arena.sizes.keep_resident;
        let base = self.base.wrapping_add(part.start);
        let length = part.len();
        let scanned = match &self.arena.pagemap {
            // SAFETY: the accessible part is mapped, writable and used by nobody any more.
            Some(file) => unsafe { pagemap::clear(file, base, length, keep) },
            None => Err(pagemap::Unclear),
        };
        if let Ok(lowest) = scanned {
            return Some(part.start + lowest);
        }
        // SAFETY: as above; anonymous private pages read as zeros after DONTNEED. It fails
        // for locked memory, which is then overwritten.
        unsafe {
            if libc::madvise(base.cast(), length, libc::MADV_DONTNEED) != 0 {
                ptr::write_bytes(base, 0, length);
            }
        }
        None
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let (mut size, mut accessible) = (self.size.min(self.accessible), self.accessible);
        if self.damaged {
            if !self.arena.renew(self.index) {
                return;
            }
            (size, accessible) = (0, 0);
        } else if self.arena.sizes.is_stack {
            self.clear_stack();
        } else if size > 0 {
            self.clear(0..size);
        }
        self.arena.give_back(self.index, size, accessible);
    }
}

/// `ioctl(PAGEMAP_SCAN)`, Linux 6.7 and later: Documentation/admin-guide/mm/pagemap.rst.
mod pagemap {
    use super::{AsRawFd, File, PAGE, ptr};

    /// `_IOWR('f', 16, struct pm_scan_arg)`
    const PAGEMAP_SCAN: libc::Ioctl = 0xC060_6610_u32 as libc::Ioctl;
    const PAGE_IS_PRESENT: u64 = 1 << 3;
    const PAGE_IS_SWAPPED: u64 = 1 << 4;
    const PAGE_IS_PFNZERO: u64 = 1 << 5;
    /// Regions per call: a guest that writes more scattered pages costs another call.
    const REGIONS: usize = 64;

    /// The scan did not say for certain what holds data.
    #[derive(Debug)]
    pub(super) struct Unclear;

    /// `struct pm_scan_arg`
    #[repr(C)]
    struct ScanArgument {
        size: u64,
        flags: u64,
        start: u64,
        end: u64,
        walk_end: u64,
        vec: u64,
        vec_len: u64,
        max_pages: u64,
        category_inverted: u64,
        category_mask: u64,
        category_anyof_mask: u64,
        return_mask: u64,
    }

    /// `struct page_region`
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Region {
        start: u64,
        end: u64,
        categories: u64,
    }

    /// Overwrites with zeros every page of `[base, base + length)` that is not a hole.
    ///
    /// Returns the offset of the first of them, or `length` if there is none. On an error
    /// the range is in no known state and has to be discarded. It is one, too, when more
    /// than `keep` bytes hold data.
    ///
    /// # Safety
    /// The range is mapped readable and writable, and nobody else uses it.
    pub(super) unsafe fn clear(
        file: &File,
        base: *mut u8,
        length: usize,
        keep: usize,
    ) -> Result<usize, Unclear> {
        let start = base.addr() as u64;
        let end = start + length as u64;
        let mut regions = [Region::default(); REGIONS];
        let mut cleared = 0_u64;
        let mut lowest = length;
        let mut walked = start;
        while walked < end {
            let mut argument = ScanArgument {
                size: size_of::<ScanArgument>() as u64,
                flags: 0,
                start: walked,
                end,
                walk_end: 0,
                vec: regions.as_mut_ptr().addr() as u64,
                vec_len: REGIONS as u64,
                max_pages: 0,
                // Not the shared page of zeros, and either there or on its way.
                category_inverted: PAGE_IS_PFNZERO,
                category_mask: PAGE_IS_PFNZERO,
                category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
                return_mask: PAGE_IS_PRESENT,
            };
            // The kernel writes through an address in an integer, so provenance is exposed.
            let _ = regions.as_mut_ptr().expose_provenance();
            // SAFETY: the argument has the kernel's layout; it writes at most `vec_len` regions.
            let found = unsafe { libc::ioctl(file.as_raw_fd(), PAGEMAP_SCAN, &raw mut argument) };
            let found = usize::try_from(found).map_err(|_| Unclear)?;
            let found = regions.get(..found).ok_or(Unclear)?;
            for region in found {
                if region.start < walked || region.end > end || region.start >= region.end {
                    return Err(Unclear);
                }
                let bytes = region.end - region.start;
                cleared += bytes;
                if cleared > keep as u64 {
                    return Err(Unclear);
                }
                let offset = (region.start - start) as usize;
                lowest = lowest.min(offset);
                // SAFETY: inside the caller's range, by the check above.
                unsafe { ptr::write_bytes(base.wrapping_add(offset), 0, bytes as usize) };
            }
            if argument.walk_end <= walked || argument.walk_end > end {
                return Err(Unclear);
            }
            walked = argument.walk_end;
        }
        Ok(lowest)
    }

    /// Tries the scan on pages of every kind: written, read only, never touched.
    pub(super) fn works(file: &File) -> bool {
        const PAGES: usize = 8;
        const LENGTH: usize = PAGES * PAGE;
        // SAFETY: a new private mapping, unmapped below; every access is inside it.
        unsafe {
            let base = libc::mmap(
                ptr::null_mut(),
                LENGTH,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            if base == libc::MAP_FAILED {
                return false;
            }
            let base: *mut u8 = base.cast();
            for page in [0, 1, 4, 7] {
                base.add(page * PAGE + 7).write_volatile(0xA5);
            }
            let _ = base.add(2 * PAGE).read_volatile();
            let clean = clear(file, base, LENGTH, LENGTH).is_ok()
                && std::slice::from_raw_parts(base, LENGTH)
                    .iter()
                    .all(|byte| *byte == 0);
            libc::munmap(base.cast(), LENGTH);
            clean
        }
    }
}
