//! `lighterman`: what a developer of components types.
//!
//! Parses before anything else exists, hands the arguments to one command, prints
//! its answer and turns its failure into an exit code. It must not grow logic:
//! each command is a file under `command/`.

mod access;
mod args;
mod command;
mod credential_helper;
mod documents;
mod failure;
mod interrupt;
mod key;
mod load;
mod local;
mod manifest;
mod observed;
mod output;
mod public_root;
mod roots;
mod scratch;
mod showcase;
mod store;
mod verdict;
mod wit;
mod wrap;

use std::process::ExitCode;

use clap::Parser;

/// A request makes some two hundred small allocations in the host; with this one it costs a
/// tenth less than with glibc's (bench/README.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    let output = output::Output::new(arguments.output);
    match command::dispatch(arguments.command, &output) {
        Ok(code) => code,
        Err(failure) => {
            output.fail(&failure);
            failure.exit_code()
        }
    }
}
