//! `kubectl lighterman`, or `kubectl lm`: what is asked and told about components in a cluster.
//!
//! Everything here needs a cluster, and nothing of `lighterman` does: two programs, so that
//! neither links what only the other needs. Reads what the user may read with the user's own
//! kubeconfig and rights; what it writes is one field of a `WasmComponent`, as `kubectl patch`
//! would. It knows neither operator nor agent. Both binaries call `main`.

mod args;
mod change;
mod command;
mod failure;
mod ownership;
mod printable;
mod sight;
mod table;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Arguments;

/// Parses the command line, does what it says, and prints answer or failure.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(command::run(arguments)),
        Err(error) => Err(failure::Failure::new(
            format!("cannot start: {error}"),
            "raise the limit on open files (ulimit -n)",
        )),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
