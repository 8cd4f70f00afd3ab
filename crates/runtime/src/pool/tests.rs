//! The memory pool in use: growth, reuse, guard pages, stale data, and a model of any sequence.

use super::*;
use proptest::prelude::*;

const WASM_PAGE: usize = 64 * 1024;

fn sizes() -> Sizes {
    Sizes {
        slots: 4,
        reserved: 8 << 20,
        guard: 64 << 10,
        keep_resident: 1 << 20,
        is_stack: false,
    }
}

/// A memory with the two accesses a guest has.
struct Memory(Box<dyn LinearMemory>);

impl Memory {
    fn new(pool: &Pool, size: usize) -> Result<Memory, String> {
        let sizes = pool.arena.sizes;
        let memory = Slot::memory(pool, size, sizes)?;
        Ok(Memory(memory))
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the accessible part, while `self` is borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr(), self.0.byte_size()) }
    }

    fn is_blank(&mut self) -> bool {
        self.bytes().iter().all(|byte| *byte == 0)
    }
}

impl Slot {
    /// What `MemoryCreator` does, without a `MemoryType`, which only an engine makes.
    fn memory(pool: &Pool, size: usize, sizes: Sizes) -> Result<Box<dyn LinearMemory>, String> {
        let ty = MemoryType::new(0, None);
        pool.new_memory(ty, size, None, Some(sizes.reserved), sizes.guard)
    }
}

/// Runs `access` in a child process and returns the signal that ended it.
fn signal_of(access: impl FnOnce()) -> Option<i32> {
    // SAFETY: between fork and _exit the child does nothing but a memory access.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            libc::signal(libc::SIGBUS, libc::SIG_DFL);
            access();
            libc::_exit(0);
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status))
    }
}

fn touch(address: *mut u8) -> Option<i32> {
    // SAFETY: in a child of its own, where a fault is the expected end.
    signal_of(|| unsafe { address.write_volatile(1) })
}

#[test]
fn a_memory_grows_in_place_and_keeps_its_bytes() {
    let pool = Pool::new(sizes(), Reset::Scan).unwrap();
    let mut memory = Memory::new(&pool, WASM_PAGE).unwrap();
    let base = memory.0.as_ptr();
    memory.bytes().fill(7);
    memory.0.grow_to(3 * WASM_PAGE).unwrap();
    assert_eq!(
        (memory.0.as_ptr(), memory.0.byte_size()),
        (base, 3 * WASM_PAGE)
    );
    assert!(memory.bytes()[..WASM_PAGE].iter().all(|byte| *byte == 7));
    assert!(memory.bytes()[WASM_PAGE..].iter().all(|byte| *byte == 0));
    assert!(memory.0.grow_to(sizes().reserved + WASM_PAGE).is_err());
    assert_eq!(memory.0.byte_size(), 3 * WASM_PAGE);
}

#[test]
fn what_lies_behind_a_memory_faults_in_every_slot() {
    let pool = Pool::new(sizes(), Reset::Scan).unwrap();
    let mut memories: Vec<_> = (0..4)
        .map(|_| Memory::new(&pool, 2 * WASM_PAGE).unwrap())
        .collect();
    for memory in &mut memories {
        let base = memory.0.as_ptr();
        assert_eq!(touch(base.wrapping_add(2 * WASM_PAGE - 1)), None);
        for beyond in [
            2 * WASM_PAGE,
            sizes().reserved - 1,
            sizes().reserved + sizes().guard - 1,
        ] {
            assert_eq!(
                touch(base.wrapping_add(beyond)),
                Some(libc::SIGSEGV),
                "{beyond}"
            );
        }
        assert_eq!(touch(base.wrapping_sub(1)), Some(libc::SIGSEGV));
    }
}

#[test]
fn a_smaller_memory_in_a_used_slot_ends_where_it_should() {
    let pool = Pool::new(
        Sizes {
            slots: 1,
            ..sizes()
        },
        Reset::Scan,
    )
    .unwrap();
    drop(Memory::new(&pool, 32 * WASM_PAGE).unwrap());
    let memory = Memory::new(&pool, WASM_PAGE).unwrap();
    let end = memory.0.as_ptr().wrapping_add(WASM_PAGE);
    assert_eq!(touch(end), Some(libc::SIGSEGV));
}

#[test]
fn a_stack_is_blank_and_has_a_guard_below() {
    let pool = Pool::new(
        Sizes {
            slots: 2,
            reserved: 1 << 20,
            is_stack: true,
            ..sizes()
        },
        Reset::Scan,
    )
    .unwrap();
    for used in [9_000, STACK_STEP, STACK_STEP + 1, 600 << 10, 1 << 20] {
        let stack = pool.new_stack(1 << 20, true).unwrap();
        let range = stack.range();
        assert_eq!(range.end, stack.top().addr());
        assert_eq!(stack.guard_range().end.addr(), range.start);
        // SAFETY: the stack's own bytes, used by nobody else.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(stack.top().wrapping_sub(range.len()), range.len())
        };
        assert!(bytes.iter().all(|byte| *byte == 0));
        bytes[range.len() - used..].fill(3);
        assert_eq!(touch(stack.guard_range().start), Some(libc::SIGSEGV));
        assert_eq!(
            touch(stack.guard_range().end.wrapping_sub(1)),
            Some(libc::SIGSEGV)
        );
    }
}

#[test]
fn a_full_pool_refuses_and_serves_again_when_a_slot_is_free() {
    let pool = Pool::new(sizes(), Reset::Scan).unwrap();
    let mut held: Vec<_> = (0..4)
        .map(|_| Memory::new(&pool, WASM_PAGE).unwrap())
        .collect();
    let refused = Memory::new(&pool, WASM_PAGE).err().unwrap();
    assert_eq!(refused, PoolExhausted.to_string());
    held.pop();
    assert!(Memory::new(&pool, WASM_PAGE).is_ok());
}

#[test]
fn a_reservation_the_pool_was_not_made_for_is_refused() {
    let pool = Pool::new(sizes(), Reset::Scan).unwrap();
    for (reserved, guard) in [(Some(1 << 20), 0), (None, 0), (Some(8 << 20), 1 << 20)] {
        let ty = MemoryType::new(0, None);
        assert!(pool.new_memory(ty, 0, None, reserved, guard).is_err());
    }
}

#[test]
fn a_slot_that_is_mapped_anew_is_blank() {
    let pool = Pool::new(
        Sizes {
            slots: 1,
            ..sizes()
        },
        Reset::Scan,
    )
    .unwrap();
    let mut slot = Arena::take(&pool.arena, WASM_PAGE).unwrap();
    // SAFETY: the accessible part of a slot that is ours.
    unsafe { std::ptr::write_bytes(slot.base, 9, WASM_PAGE) };
    slot.damaged = true;
    drop(slot);
    let mut memory = Memory::new(&pool, WASM_PAGE).unwrap();
    assert!(memory.is_blank());
}

/// Bytes of this process's mapping that are resident in `[base, base + length)`.
fn resident(base: *mut u8, length: usize) -> usize {
    let mut pages = vec![0_u8; length / PAGE];
    // SAFETY: the range is mapped, and there is a byte for each of its pages.
    let result = unsafe { libc::mincore(base.cast(), length, pages.as_mut_ptr()) };
    assert_eq!(result, 0);
    pages.iter().filter(|page| **page & 1 == 1).count() * PAGE
}

#[test]
fn a_free_slot_keeps_no_more_than_its_cap() {
    let sizes = Sizes {
        slots: 1,
        keep_resident: 256 << 10,
        ..sizes()
    };
    let pool = Pool::new(sizes, Reset::Scan).unwrap();
    if pool.reset() == Reset::Discard {
        return;
    }
    for (written, kept) in [(128 << 10, 128 << 10), (1 << 20, 0)] {
        let mut memory = Memory::new(&pool, 2 << 20).unwrap();
        let base = memory.0.as_ptr();
        memory.bytes()[..written].fill(1);
        drop(memory);
        assert_eq!(resident(base, 2 << 20), kept, "after {written} bytes");
    }
}

/// What a guest does with its memory, and when it ends.
#[derive(Debug, Clone)]
enum Step {
    New {
        pages: usize,
    },
    Write {
        which: usize,
        at: usize,
        length: usize,
        value: u8,
    },
    Grow {
        which: usize,
        by: usize,
    },
    Drop {
        which: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..40_usize).prop_map(|pages| Step::New { pages }),
        6 => (any::<usize>(), any::<usize>(), 0..200_000_usize, 1..=255_u8)
            .prop_map(|(which, at, length, value)| Step::Write { which, at, length, value }),
        2 => (any::<usize>(), 0..20_usize).prop_map(|(which, by)| Step::Grow { which, by }),
        3 => any::<usize>().prop_map(|which| Step::Drop { which }),
    ]
}

/// Every memory always holds exactly what its model holds, from zeros on.
fn hold(reset: Reset, steps: &[Step]) {
    let sizes = sizes();
    let pool = Pool::new(sizes, reset).unwrap();
    let mut held: Vec<(Memory, Vec<u8>)> = Vec::new();
    for step in steps {
        match *step {
            Step::New { pages } => {
                let size = pages * WASM_PAGE;
                match Memory::new(&pool, size) {
                    Ok(mut memory) => {
                        assert!(
                            memory.is_blank(),
                            "a new memory of {pages} pages is not blank"
                        );
                        held.push((memory, vec![0; size]));
                    }
                    Err(_) => assert_eq!(held.len(), sizes.slots, "refused with a free slot"),
                }
            }
            Step::Write {
                which,
                at,
                length,
                value,
            } if !held.is_empty() => {
                let index = which % held.len();
                let (memory, model) = &mut held[index];
                if !model.is_empty() {
                    let from = at % model.len();
                    let to = (from + length).min(model.len());
                    memory.bytes()[from..to].fill(value);
                    model[from..to].fill(value);
                }
            }
            Step::Grow { which, by } if !held.is_empty() => {
                let index = which % held.len();
                let (memory, model) = &mut held[index];
                let size = model.len() + by * WASM_PAGE;
                assert_eq!(memory.0.grow_to(size).is_ok(), size <= sizes.reserved);
                if size <= sizes.reserved {
                    model.resize(size, 0);
                }
            }
            Step::Drop { which } if !held.is_empty() => {
                let index = which % held.len();
                drop(held.swap_remove(index));
            }
            _ => {}
        }
    }
    for (memory, model) in &mut held {
        assert!(
            memory.bytes() == model.as_slice(),
            "a memory does not hold what was written"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_memory_ever_shows_what_another_wrote(steps in prop::collection::vec(step(), 1..60)) {
        hold(Reset::Scan, &steps);
    }

    #[test]
    fn nor_does_it_where_the_kernel_can_not_scan(steps in prop::collection::vec(step(), 1..60)) {
        hold(Reset::Discard, &steps);
    }
}

#[test]
fn memories_that_grew_are_cut_before_they_are_handed_out_again() {
    let sizes = Sizes {
        slots: 3 * BATCH,
        ..sizes()
    };
    for reset in [Reset::Scan, Reset::Discard] {
        let pool = Pool::new(sizes, reset).unwrap();
        // More than fit into the lists at once, so that every way back is taken.
        for round in 0..4 {
            let mut held: Vec<_> = (0..sizes.slots)
                .map(|_| Memory::new(&pool, WASM_PAGE).unwrap())
                .collect();
            for memory in &mut held {
                assert!(memory.is_blank(), "round {round}");
                let end = memory.0.as_ptr().wrapping_add(WASM_PAGE);
                assert_eq!(touch(end), Some(libc::SIGSEGV), "round {round}");
                memory.0.grow_to(2 * WASM_PAGE).unwrap();
                assert!(memory.is_blank(), "round {round}");
                memory.bytes().fill(5);
            }
        }
    }
}

#[test]
fn a_memory_that_grew_much_gives_back_at_once_what_it_grew_by() {
    let pool = Pool::new(sizes(), Reset::Scan).unwrap();
    let mut memory = Memory::new(&pool, WASM_PAGE).unwrap();
    memory
        .0
        .grow_to(WASM_PAGE + sizes().keep_resident + WASM_PAGE)
        .unwrap();
    memory.bytes().fill(1);
    let base = memory.0.as_ptr();
    drop(memory);
    assert!(resident(base, sizes().reserved) <= WASM_PAGE);
}

#[test]
fn a_pool_without_a_process_handle_cuts_slots_one_by_one() {
    let mut pool = Pool::new(sizes(), Reset::Scan).unwrap();
    Arc::get_mut(&mut pool.arena).unwrap().process = None;
    for _ in 0..3 * BATCH {
        let mut memory = Memory::new(&pool, WASM_PAGE).unwrap();
        assert!(memory.is_blank());
        memory.0.grow_to(2 * WASM_PAGE).unwrap();
        memory.bytes().fill(5);
    }
}

#[test]
fn pages_that_migrate_while_they_are_cleared_are_cleared() {
    // wasmtime 48.0.8's own mask left former data in two of seven million resets.
    let pool = UnderCompaction::new();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(2);
    while std::time::Instant::now() < until {
        let mut memory = Memory::new(&pool.pool, 4 * WASM_PAGE).unwrap();
        assert!(memory.is_blank());
        for page in memory.bytes().chunks_mut(PAGE) {
            page[17] = 0xA5;
        }
    }
}

/// A pool, while the kernel moves pages about if this process may tell it to.
struct UnderCompaction {
    pool: Pool,
    stop: Arc<std::sync::atomic::AtomicBool>,
}

impl UnderCompaction {
    fn new() -> Self {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stopped.load(std::sync::atomic::Ordering::Relaxed)
                && std::fs::write("/proc/sys/vm/compact_memory", "1").is_ok()
            {}
        });
        let pool = Pool::new(sizes(), Reset::Scan).unwrap();
        Self { pool, stop }
    }
}

impl Drop for UnderCompaction {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
