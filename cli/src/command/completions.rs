//! `lighterman completions`: the script a shell completes commands with.
//!
//! Knows `args.rs` only; the script is printed as it is, also under `-o json`.

use std::io::Write as _;

use clap::CommandFactory as _;

use crate::args::{Arguments, Completions};

/// Prints the script.
pub(crate) fn run(args: &Completions) {
    // Into memory first: the generator panics when its output is a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut Arguments::command(),
        "lighterman",
        &mut script,
    );
    let _ = std::io::stdout().lock().write_all(&script);
}
