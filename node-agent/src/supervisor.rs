//! Starts the worker and the compiler as children and starts them again when they end, at once
//! the first time: for control with `--spawn`, and for the worker as the first process of its
//! container, because kubelet waits ten seconds before a second start. Knows nothing of what a
//! child does.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// A child that lived this long had a good start: the next one is started at once.
const GOOD_START: Duration = Duration::from_secs(5);
/// The first and the longest pause before a child that did not.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// One child to keep alive.
#[derive(Clone, Debug)]
pub struct Child {
    /// What it is called in logs.
    pub name: &'static str,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// What becomes of the child at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    /// It is killed: control has drained already.
    Kill,
    /// It is told, and goes when control lets it.
    Tell,
}

/// Keeps a child alive until `stop`, then ends it.
pub async fn keep(child: Child, stop: CancellationToken) {
    run(child, stop, Farewell::Kill).await;
}

/// Keeps a child alive until `stop`, then waits until it ends by itself.
pub async fn keep_until_it_leaves(child: Child, stop: CancellationToken) {
    run(child, stop, Farewell::Tell).await;
}

async fn run(child: Child, stop: CancellationToken, farewell: Farewell) {
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        let started = Instant::now();
        let spawned = Command::new(&child.program)
            .args(&child.arguments)
            .stdin(Stdio::null())
            // The children write logs of their own; tokens and configuration are not for them.
            .env_clear()
            .envs(std::env::var_os("RUST_LOG").map(|level| ("RUST_LOG", level)))
            .kill_on_drop(true)
            .spawn();
        match spawned {
            Ok(mut process) => {
                tokio::select! {
                    ended = process.wait() => match ended {
                        Ok(status) => tracing::error!(%status, "the {} has ended", child.name),
                        Err(error) => tracing::error!(%error, "the {} is lost", child.name),
                    },
                    () = stop.cancelled() => {
                        bid(farewell, &mut process).await;
                        return;
                    }
                }
            }
            Err(error) => tracing::error!(%error, "the {} cannot be started", child.name),
        }
        pause = if started.elapsed() >= GOOD_START {
            Duration::ZERO
        } else {
            (pause * 2).clamp(PAUSE_FIRST, PAUSE_LONGEST)
        };
    }
}

async fn bid(farewell: Farewell, process: &mut tokio::process::Child) {
    match farewell {
        Farewell::Kill => {
            let _ = process.kill().await;
        }
        Farewell::Tell => {
            let pid = process.id().and_then(|pid| i32::try_from(pid).ok());
            if let Some(pid) = pid.and_then(Pid::from_raw) {
                // One that has ended meanwhile needs no signal.
                let _ = kill_process(pid, Signal::TERM);
            }
            let _ = process.wait().await;
        }
    }
}
