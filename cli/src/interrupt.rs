//! Ctrl-C and SIGTERM: the first ends the command in order, a second one at once.
//!
//! Used by the commands that keep running.

use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// The exit code of a program that an impatient person ended (128 + SIGINT).
const INTERRUPTED: i32 = 130;

/// Cancels `stop` at the first signal.
pub(crate) fn cancel(stop: &CancellationToken) -> Result<(), Failure> {
    let mut signals = signals()
        .map_err(|error| Failure::unavailable(format!("cannot wait for signals: {error}"), ""))?;
    let stop = stop.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "a second Ctrl-C asks for exactly that: no destructors, now"
    )]
    tokio::spawn(async move {
        signals.next().await;
        eprintln!("finishing the requests under way; once more ends at once");
        stop.cancel();
        signals.next().await;
        std::process::exit(INTERRUPTED);
    });
    Ok(())
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

fn signals() -> std::io::Result<Signals> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok(Signals {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
    })
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
