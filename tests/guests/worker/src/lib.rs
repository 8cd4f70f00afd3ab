//! A component that runs: it does one argument after the other, and returns when there is none
//! left. One that is `living` counts besides, and hands its count on.
//!
//! | argument | what it does |
//! |---|---|
//! | `print=TEXT` | prints a line |
//! | `tick=MS` | prints `tick` and a number every so many milliseconds, for ever |
//! | `sleep=MS` | waits |
//! | `spin=MS` | is busy for so long; without a number for ever |
//! | `hold=MIB` | takes so much memory and keeps it, or aborts |
//! | `exit=CODE` | exits |
//! | `fail` | returns with an error |
//! | `trap` | traps |
//!
//! | argument of a living one | what it does |
//! |---|---|
//! | `count=MS` | prints `count` and a number every so many milliseconds, until it is asked to end |
//! | `schema=N` | the schema of its state, 1 by itself; it restores no other |
//! | `bytes=N` | saves so many bytes besides |
//! | `deaf` | never looks whether it is asked to end |
//! | `bad-restore=HOW` | `refuse`, `trap` or `spin` when it is given a state |
//! | `bad-save=HOW` | likewise when it is to save |
//! | `fail-init` | fails before its work |

#[cfg(feature = "living")]
mod living;

use std::hint::black_box;
use wasip2::cli::exit::exit_with_code;
use wasip2::cli::stdout::get_stdout;
use wasip2::clocks::monotonic_clock::{now, subscribe_duration};

const MIB: usize = 1024 * 1024;
const NANOSECONDS: u64 = 1_000_000;

#[cfg(not(feature = "living"))]
struct Worker;

#[cfg(not(feature = "living"))]
wasip2::cli::command::export!(Worker);

#[cfg(not(feature = "living"))]
impl wasip2::exports::cli::run::Guest for Worker {
    fn run() -> Result<(), ()> {
        let mut held = Vec::new();
        wasip2::cli::environment::get_arguments()
            .iter()
            .try_for_each(|argument| obey(argument, &mut held))
    }
}

fn obey(argument: &str, held: &mut Vec<Vec<u8>>) -> Result<(), ()> {
    let (order, value) = argument.split_once('=').unwrap_or((argument, ""));
    let number = || value.parse::<u64>().ok();
    match order {
        "print" => print(value),
        "tick" => tick(number().expect("milliseconds")),
        "sleep" => sleep(number().expect("milliseconds")),
        "spin" => spin(number()),
        "hold" => {
            let mib = number().expect("MiB") as usize;
            held.push(black_box(vec![0xA5_u8; mib * MIB]));
        }
        "exit" => exit_with_code(value.parse().expect("a code")),
        "fail" => return Err(()),
        "trap" => core::arch::wasm32::unreachable(),
        other => panic!("{other} is no order"),
    }
    Ok(())
}

fn print(line: &str) {
    let line = format!("{line}\n");
    let _ = get_stdout().blocking_write_and_flush(line.as_bytes());
}

fn tick(milliseconds: u64) {
    let mut ticks = 0_u64;
    loop {
        ticks += 1;
        print(&format!("tick {ticks}"));
        sleep(milliseconds);
    }
}

fn sleep(milliseconds: u64) {
    subscribe_duration(milliseconds * NANOSECONDS).block();
}

fn spin(milliseconds: Option<u64>) {
    let begun = now();
    while milliseconds.is_none_or(|most| now() - begun < most * NANOSECONDS) {
        black_box(begun);
    }
}
