//! What a hostile or broken component does.

use crate::text::{begin, write};
use std::hint::black_box;
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, ResponseOutparam};

const MIB: usize = 1024 * 1024;
/// What `/dirty` leaves behind.
const STAIN: u8 = 0xA5;
/// Pages of 64 KiB that `/dirty` and `/clean` take fresh from the host.
const FRESH_PAGES: usize = 64;

/// Zero in the image, so it has to be zero in every new instance.
static mut BLANK: [u8; MIB / 2] = [0; MIB / 2];

pub fn spin() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Holds one MiB after the other; the allocator aborts when there is no more.
pub fn grow() {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![STAIN; MIB]));
    }
}

/// Holds `mib` MiB at most, and says how many it got.
pub fn hold(mib: usize) -> usize {
    let mut held = Vec::new();
    while held.len() < mib {
        let mut chunk = Vec::new();
        if chunk.try_reserve_exact(MIB).is_err() {
            break;
        }
        chunk.resize(MIB, STAIN);
        held.push(black_box(chunk));
    }
    held.len()
}

pub fn trap() {
    core::arch::wasm32::unreachable()
}

pub fn sleep(milliseconds: u64) {
    subscribe_duration(milliseconds * 1_000_000).block();
}

pub fn echo(request: IncomingRequest, outparam: ResponseOutparam) {
    let (output, body) = begin(outparam, 200, Fields::new());
    let incoming = request.consume().expect("the first use of the body");
    let input = incoming.stream().expect("the first use of the stream");
    while let Ok(chunk) = input.blocking_read(4096) {
        if !write(&output, &chunk) {
            break;
        }
    }
    drop(output);
    let _ = OutgoingBody::finish(body, None);
}

pub fn print(bytes: &[u8]) {
    let stream = wasip2::cli::stdout::get_stdout();
    write(&stream, bytes);
    write(&stream, b"\n");
}

pub fn flood(lines: u64, size: u64) {
    let mut line = vec![b'x'; size as usize];
    line.push(b'\n');
    let stream = wasip2::cli::stdout::get_stdout();
    for _ in 0..lines {
        if !write(&stream, &line) {
            return;
        }
    }
}

/// The memory that the host gives on `memory.grow`.
fn fresh_pages() -> &'static mut [u8] {
    let before = core::arch::wasm32::memory_grow(0, FRESH_PAGES);
    assert_ne!(before, usize::MAX, "the host gave no memory");
    // SAFETY: these pages are new, nothing else refers to them, and they stay.
    unsafe { core::slice::from_raw_parts_mut((before * 65_536) as *mut u8, FRESH_PAGES * 65_536) }
}

pub fn dirty() -> String {
    fresh_pages().fill(STAIN);
    // SAFETY: a component has one thread, and no other reference to BLANK is alive.
    let blank = unsafe { &mut *(&raw mut BLANK) };
    blank.fill(STAIN);
    let mut stack = [STAIN; 64 * 1024];
    black_box(&mut stack);
    format!("{}\n", FRESH_PAGES * 65_536 + blank.len() + stack.len())
}

pub fn clean() -> String {
    let stained = |bytes: &[u8]| bytes.iter().filter(|byte| **byte != 0).count();
    // SAFETY: a component has one thread, and nobody writes BLANK while it is read.
    let blank = unsafe { &*(&raw const BLANK) };
    format!("{}\n", stained(fresh_pages()) + stained(black_box(blank)))
}

pub fn big(outparam: ResponseOutparam, bytes: u64) {
    let (stream, body) = begin(outparam, 200, Fields::new());
    let chunk = [b'b'; 4096];
    let mut left = bytes;
    while left > 0 {
        let size = left.min(4096);
        if !write(&stream, &chunk[..size as usize]) {
            break;
        }
        left -= size;
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

pub fn slow(outparam: ResponseOutparam, chunks: u64, milliseconds: u64) {
    let (stream, body) = begin(outparam, 200, Fields::new());
    for chunk in 0..chunks {
        if !write(&stream, format!("chunk {chunk}\n").as_bytes()) {
            break;
        }
        sleep(milliseconds);
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

pub fn stall(outparam: ResponseOutparam) {
    let (stream, _body) = begin(outparam, 200, Fields::new());
    write(&stream, b"the first and last chunk\n");
    sleep(u64::MAX / 2_000_000);
}

pub fn header(outparam: ResponseOutparam, name: &str, value: &str) {
    let headers = Fields::new();
    let allowed = headers.append(name, value.as_bytes()).is_ok();
    let (stream, body) = begin(outparam, 200, headers);
    write(&stream, format!("{allowed}\n").as_bytes());
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

/// Every pollable is an entry of the host's table.
pub fn handles() {
    let mut held = Vec::new();
    loop {
        held.push(black_box(subscribe_duration(1_000_000_000_000)));
    }
}
