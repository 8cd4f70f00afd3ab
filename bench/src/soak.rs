//! `make soak`: about ten minutes of load on components that are changed all the time, on the
//! binaries that are shipped. Prints a line per figure, and fails when a request does. Called by
//! `bench/soak`, inside the network namespace that the agents' addresses need.

mod figure;

use std::path::PathBuf;

use anyhow::{Context, Result};
use e2e::soak::{Outcome, Size, soak};
use e2e::suite::alone;

use crate::figure::{Bar, Figures};

fn main() -> Result<()> {
    let size = Size::long();
    let mut outcome = None;
    alone("soak", async |tenant| {
        outcome = Some(soak(tenant, &size).await?);
        Ok(())
    })?;
    let outcome = outcome.context("nothing came of it")?;
    let figures = figures(&outcome, &size);
    figures.write(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/soak.json"))?;
    outcome.is_clean()
}

fn figures(outcome: &Outcome, size: &Size) -> Figures {
    let mut figures = Figures::default();
    let seconds = outcome.took.as_secs_f64();
    let millis = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
    let requests = outcome.requests as f64;
    figures.add(
        "requests",
        requests,
        "requests",
        Bar::AtLeast(size.requests as f64),
    );
    figures.add(
        "request_rate",
        requests / seconds,
        "req/s",
        Bar::AtLeast(300.0),
    );
    figures.add(
        "failed_requests",
        outcome.failed as f64,
        "requests",
        Bar::AtMost(0.0),
    );
    figures.add(
        "wrong_versions",
        outcome.wrong_versions as f64,
        "answers",
        Bar::AtMost(0.0),
    );
    figures.add("changes", outcome.changes as f64, "changes", Bar::None);
    figures.add("p99_quiet", millis(outcome.quiet_p99), "ms", Bar::None);
    figures.add(
        "p99_changing",
        millis(outcome.changing_p99),
        "ms",
        Bar::None,
    );
    figures.add(
        "p99_changing_vs_quiet",
        outcome.p99_ratio(),
        "ratio",
        Bar::AtMost(2.0),
    );
    figures.add("soak_time", seconds, "s", Bar::None);
    figures
}
