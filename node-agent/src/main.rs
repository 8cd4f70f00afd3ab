//! The binary: reads the flags, confines the process as its kind demands, starts the runtime.
//! Everything else is in the library.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use node_agent::args::{self, Cli, Process};
use node_agent::ledger::Ledger;
use node_agent::supervisor::{self, Child};
use node_agent::{
    claim, compiler, run_cluster, run_compiler, run_worker, sandbox, wait_for_control,
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
    if matches!(cli.process, Process::CompileOne) {
        return compiler::main();
    }
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(level)
        .with_writer(std::io::stderr)
        .init();
    match start(cli.process) {
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
        Process::CompileOne => Ok(()),
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
            let worker = Child {
                name: "worker",
                program: args::compile_program()?.path,
                arguments: vec![
                    "worker".into(),
                    "--supervised".into(),
                    "--run-dir".into(),
                    arguments.run_dir.into(),
                ],
            };
            threads(FEW_THREADS)?.block_on(async {
                let stop = CancellationToken::new();
                tokio::spawn(cancel_on_signal(stop.clone())?);
                supervisor::keep_until_it_leaves(worker, stop).await;
                Ok(())
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
