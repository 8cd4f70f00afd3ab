//! The hidden command behind `run --spawner-executable`: the agent's spawner.

use node_agent::args::SpawnerArgs;
use node_agent::config::Program;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// Starts what the worker of `run` orders, until that is gone.
pub(crate) fn spawner(args: SpawnerArgs) -> Result<(), Failure> {
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::unavailable(format!("the spawner cannot start: {error}"), "")
    };
    node_agent::sandbox::hide_memory().map_err(|error| cannot(&error))?;
    let launcher = Program {
        path: std::env::current_exe().map_err(|error| cannot(&error))?,
        arguments: vec!["launch".into()],
    };
    // What it starts dies with this thread.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| cannot(&error))?;
    let run_dir = args.process.run_dir;
    let serving = node_agent::run_spawner(
        &run_dir,
        launcher,
        args.spawns.spawns(),
        CancellationToken::new(),
    );
    runtime.block_on(serving).map_err(|error| cannot(&error))
}
