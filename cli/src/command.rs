//! One file per command, and the table that leads to them.
//!
//! Only this file starts a tokio runtime, and only for commands that need one: a
//! command that reads a file answers without a thread. `main.rs` calls `dispatch`.

mod check;
mod completions;
mod compose;
mod demo;
mod inspect;
mod invoke;
pub(crate) mod keygen;
mod new;
pub(crate) mod push;
mod quickstart;
mod reference;
mod registry;
mod run;
mod sign;
mod spawner;
mod suggest;
mod trust;
mod verify;
mod version;

use std::process::ExitCode;

use crate::args::Command;
use crate::failure::Failure;
use crate::output::Output;

/// Runs one command to its end.
pub(crate) fn dispatch(command: Command, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        // A compile confines this very process, so nothing else may run in it.
        Command::Compiler => return Ok(node_agent::compiler::main()),
        Command::Launch(args) => return Ok(node_agent::spawner::launch::main(&args.launch())),
        Command::Spawner(args) => spawner::spawner(args)?,
        Command::New(args) => output.answer(&new::run(&args)?),
        Command::Keygen(args) => output.answer(&keygen::run(&args)?),
        Command::Compose(args) => output.answer(&compose::run(&args)?),
        Command::Check(args) => check::run(&args, output)?,
        Command::Suggest(args) => output.answer(&suggest::run(&args)?),
        Command::Completions(args) => completions::run(&args),
        Command::Version => output.answer(&version::run()),
        Command::Reference(args) => reference::run(&args),
        Command::Push(args) => output.answer(&wait(push::run(&args))?),
        Command::Sign(args) => output.answer(&wait(sign::run(&args))?),
        Command::Verify(args) => wait(verify::run(&args, output))?,
        Command::Trust(args) => trust::run(&args, output)?,
        Command::Inspect(args) => output.answer(&wait(inspect::run(&args))?),
        Command::Registry(args) => wait(registry::run(&args, output))?,
        Command::Run(args) => wait(run::run(&args, output))?,
        Command::Invoke(args) => wait(invoke::run(&args, output))?,
        Command::Quickstart(args) => wait(quickstart::run(&args, output))?,
        Command::Demo(args) => wait(demo::run(&args, output))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn wait<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::unavailable(
                format!("cannot start the threads of this command: {error}"),
                "free some memory or raise the limit on processes (ulimit -u)",
            )
        })?
        .block_on(work)
}
