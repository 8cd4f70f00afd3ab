//! What runs in a guard's Pod: nothing, until the operator ends it.
//!
//! `main` calls it for `lighterman-operator guard`. It has no client and no token;
//! that there is no operator any more it learns from the cluster's name server.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The argument that starts it.
pub const ROLE: &str = "guard";

/// How often an evicted guard looks whether there is an operator to wait for.
const LOOK: Duration = Duration::from_secs(5);
/// How long the name of the operator's Service must not have resolved: longer than a
/// name server is away that is evicted with the guard.
const GONE: Duration = Duration::from_secs(30);

/// Waits until the operator ends the Pod. SIGTERM is the evictor's; it is said and not
/// followed: the Pod goes when the operator has moved the node's components, or after
/// the grace period. Only when the Service `operator` is gone too, because everything
/// is uninstalled, nobody would ever do that, and the guard ends by itself.
///
/// # Errors
/// When the signals cannot be listened to: then it must not run, because it would
/// follow them.
pub async fn wait(operator: Option<&str>) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tracing::info!("guarding the components of this node");
    tokio::select! {
        () = told(&mut terminate) => {}
        () = told(&mut interrupt) => {}
    }
    tracing::info!("evicted: waiting until the components of this node have moved");
    match operator {
        Some(operator) => gone(operator, LOOK, GONE).await,
        None => std::future::pending().await,
    }
    tracing::info!("there is no operator any more: nothing to wait for");
    Ok(())
}

/// Ends with the first signal; the handler stays, and further ones change nothing.
async fn told(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        // No signal will ever come: what is left is to be there.
        std::future::pending::<()>().await;
    }
}

/// Ends when `name` has not resolved for `long`, looked at every `pause`.
async fn gone(name: &str, pause: Duration, long: Duration) {
    let mut seen = Instant::now();
    while seen.elapsed() < long {
        tokio::time::sleep(pause).await;
        if tokio::net::lookup_host((name, 0)).await.is_ok() {
            seen = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn a_service_without_a_name_is_gone() {
        // A name that is never registered (RFC 6761).
        gone("operator.invalid", PAUSE, PAUSE * 4).await;
    }

    #[tokio::test]
    async fn a_service_that_resolves_is_not_gone() {
        let is_gone = gone("localhost", PAUSE, PAUSE * 4);
        let outcome = tokio::time::timeout(PAUSE * 20, is_gone).await;
        assert!(outcome.is_err(), "localhost counts as gone");
    }
}
