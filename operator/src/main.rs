//! `lighterman-operator`: flags, logs and signals around [`operator::app`].

use std::process::ExitCode;

use anyhow::Context as _;
use operator::args::Role;
use operator::{guard, inspector, trial};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<ExitCode> {
    match Role::from_command_line() {
        // Before there is a thread, a log or anything else that it should not have.
        Role::Inspector => Ok(inspector::main()),
        role => start(role).map(|()| ExitCode::SUCCESS),
    }
}

#[tokio::main]
async fn start(role: Role) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();

    let args = match role {
        Role::Operator(args) => *args,
        Role::Inspector => return Ok(()),
        Role::Trial(args) => return trial::run(args).await.context("the trial failed"),
        Role::Guard(operator) => {
            return guard::process::wait(operator.as_deref())
                .await
                .context("the guard ended");
        }
    };
    let shutdown = CancellationToken::new();
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate()).context("SIGTERM")?,
        signal(SignalKind::interrupt()).context("SIGINT")?,
    );
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    operator::app::run(args, shutdown)
        .await
        .context("the operator ended")
}
