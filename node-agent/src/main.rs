//! The binary: reads the flags, confines the process as its kind demands, starts the runtime.
//! Everything else is in the library.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use node_agent::args::{self, Cli, Process};
use node_agent::ledger::Ledger;
use node_agent::spawner::launch;
use node_agent::supervisor::{self, Child};
use node_agent::{
    claim, compiler, run_cluster, run_compiler, run_spawner, run_worker, sandbox, wait_for_control,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// A request makes some two hundred small allocations in the host; with this one it costs a
/// tenth less than with glibc's (bench/README.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Threads of control and compiler: they wait most of the time.
const FEW_THREADS: usize = 2;
/// Threads for blocking work, over all components.
const BLOCKING_THREADS: usize = 128;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let process = match cli.process {
        Process::CompileOne => return compiler::main(),
        Process::Launch(arguments) => return launch::main(&arguments.launch()),
        process => process,
    };
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(level)
        .with_writer(std::io::stderr)
        .init();
    match start(process) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(process: Process) -> anyhow::Result<()> {
    // Both TLS users of this process take the same provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match process {
        Process::CompileOne | Process::Launch(_) => Ok(()),
        Process::Control(arguments) => {
            sandbox::hide_memory()?;
            let (config, cluster) = arguments.config()?;
            threads(FEW_THREADS)?.block_on(async {
                let stop = CancellationToken::new();
                tokio::spawn(cancel_on_signal(stop.clone())?);
                Ok(run_cluster(config, cluster, stop).await?)
            })
        }
        Process::Claim(arguments) => {
            for directory in &arguments.directories {
                claim::claim(arguments.user, directory)?;
            }
            Ok(())
        }
        Process::Worker(arguments) if arguments.keep_alive => {
            // It may start programs, which the worker may not: its memory is not the worker's to write.
            sandbox::hide_memory()?;
            keep_alive("worker", arguments.run_dir, Vec::new())
        }
        Process::Spawner(arguments) if arguments.process.keep_alive => {
            let spawns = arguments.spawns.arguments();
            keep_alive("spawner", arguments.process.run_dir, spawns)
        }
        Process::Spawner(arguments) => {
            // It starts what it is told to: that must not read its memory.
            sandbox::hide_memory()?;
            let launcher = args::launch_program()?;
            let run_dir = arguments.process.run_dir;
            // On one thread, which lives as long as it: what it starts dies with the thread.
            waiting()?.block_on(async {
                let leave = leave_on_signal()?;
                let spawns = arguments.spawns.spawns();
                Ok(run_spawner(&run_dir, launcher, spawns, leave).await?)
            })
        }
        Process::Worker(arguments) => {
            // Control says what volumes lie below. Waiting for it starts no thread.
            let greeted = waiting()?.block_on(async {
                let leave = leave_on_signal()?;
                anyhow::Ok(wait_for_control(&arguments.run_dir, leave).await?)
            })?;
            let Some(mut greeted) = greeted else {
                return Ok(());
            };
            // What it makes in scratch space, control has to remove as another user.
            rustix::process::umask(rustix::fs::Mode::empty());
            // Before any thread exists, so that none is left out.
            let enforced = sandbox::confine_worker(&greeted.take_volumes())?;
            if enforced != confine::Enforced::Fully {
                tracing::warn!(
                    ?enforced,
                    "this kernel knows Landlock in part or not at all: the worker is confined by system calls and by its container only"
                );
            }
            let output = runtime::Output::to_writer(std::io::stdout())?;
            threads(args::cores())?.block_on(async {
                // Told to leave, it goes when control has let it go.
                let _leave = leave_on_signal()?;
                Ok(run_worker(greeted, output).await?)
            })
        }
        Process::Compiler(arguments) => {
            let program = args::compile_program()?;
            threads(FEW_THREADS)?.block_on(async {
                let leave = leave_on_signal()?;
                run_compiler(&arguments.run_dir, program, arguments.supervised, leave).await;
                Ok(())
            })
        }
    }
}

/// As the first process of a container: keeps the process of that name alive.
fn keep_alive(name: &'static str, run_dir: PathBuf, more: Vec<OsString>) -> anyhow::Result<()> {
    let mut arguments: Vec<OsString> = vec![
        name.into(),
        "--supervised".into(),
        "--run-dir".into(),
        run_dir.into(),
    ];
    arguments.extend(more);
    let child = Child {
        name,
        program: args::compile_program()?.path,
        arguments,
    };
    threads(FEW_THREADS)?.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(cancel_on_signal(stop.clone())?);
        supervisor::keep_until_it_leaves(child, stop).await;
        Ok(())
    })
}

/// A runtime on this thread only.
fn waiting() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the worker could not wait for control")
}

fn threads(count: usize) -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(count)
        .max_blocking_threads(BLOCKING_THREADS)
        .on_thread_park(Ledger::leave)
        .enable_all()
        .build()
        .context("the threads of this process could not be started")
}

/// Kubelet asks for an orderly end with SIGTERM, a terminal with SIGINT.
fn cancel_on_signal(stop: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    })
}

/// A pod that ends signals all its containers at once; worker and compiler live on until
/// control, which drains, lets them go, and only then see this. A registered handler replaces
/// the deadly default.
fn leave_on_signal() -> anyhow::Result<CancellationToken> {
    let leave = CancellationToken::new();
    tokio::spawn(cancel_on_signal(leave.clone())?);
    Ok(leave)
}
