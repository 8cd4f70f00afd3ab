//! Waiting for something to become true, with a deadline and a message that says
//! what was waited for and what was seen last. Every test waits through this.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks: short enough not to be felt, long enough for two cores.
const PAUSE: Duration = Duration::from_millis(150);

/// Long enough for a debug build on two busy cores; a test that passes never
/// waits for it.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Calls `look` until it is `Ok`; its error says what is still missing.
///
/// # Errors
/// After `within`: `what`, and the last error of `look`.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        let missing = match look().await {
            Ok(seen) => return Ok(seen),
            Err(missing) => missing,
        };
        if Instant::now() >= deadline {
            bail!(
                "waited {} s for {what}; last seen: {missing:#}",
                within.as_secs()
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Calls `look` for the whole of `during`; the first error ends it.
///
/// # Errors
/// `what` was not so all the time, and the error of `look`.
pub async fn throughout(
    what: &str,
    during: Duration,
    mut look: impl AsyncFnMut() -> Result<()>,
) -> Result<()> {
    let end = Instant::now() + during;
    while Instant::now() < end {
        if let Err(broken) = look().await {
            bail!("{what} did not hold: {broken:#}");
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
