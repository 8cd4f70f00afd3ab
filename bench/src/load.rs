//! The load: `wrk` for capacity, `h2load` for latency at a fixed rate. Both are public
//! tools that `bench/run` finds, and take little of the processors that the server is
//! measured on.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Keep-alive connections of every measurement.
const CONNECTIONS: u32 = 64;
/// Seconds of one measurement: long enough for some hundred thousand requests.
const SECONDS: u32 = 8;
/// Connections of a fixed rate are opened this far apart, so that their turns to send do
/// not fall on one moment.
const APART: &str = "7ms";

/// Where the load generators are.
pub(crate) struct Tools {
    wrk: PathBuf,
    h2load: PathBuf,
    /// Where a measurement leaves what each request took.
    requests: PathBuf,
}

/// Load on one server.
pub(crate) struct Load<'a> {
    tools: &'a Tools,
    url: String,
}

impl Tools {
    /// The tools of this machine; what they write is below `target`.
    pub(crate) fn from_environment(target: &Path) -> Self {
        let path = |variable, fallback: &str| {
            std::env::var_os(variable).map_or_else(|| PathBuf::from(fallback), PathBuf::from)
        };
        Self {
            wrk: path("BENCH_WRK", "wrk"),
            h2load: path("BENCH_H2LOAD", "h2load"),
            requests: target.join("bench-requests.tsv"),
        }
    }
}

impl<'a> Load<'a> {
    pub(crate) fn new(tools: &'a Tools, url: String) -> Self {
        Self { tools, url }
    }

    pub(crate) fn warm_up(&self) -> Result<()> {
        self.wrk(2).map(drop)
    }

    /// Requests per second with every connection always busy.
    pub(crate) fn capacity(&self) -> Result<f64> {
        let report = self.wrk(SECONDS)?;
        ensure!(
            !report.contains("Non-2xx") && !report.contains("Socket errors"),
            "requests failed:\n{report}"
        );
        report
            .lines()
            .find_map(|line| line.strip_prefix("Requests/sec:"))
            .and_then(|rate| rate.trim().parse().ok())
            .with_context(|| format!("no rate in the report of wrk:\n{report}"))
    }

    /// The 99th percentile in milliseconds at `rate` requests per second: each connection
    /// sends when it is due, whatever the others wait for.
    pub(crate) fn p99_at(&self, rate: f64) -> Result<f64> {
        let Tools {
            h2load, requests, ..
        } = self.tools;
        // It appends.
        if requests.exists() {
            std::fs::remove_file(requests)?;
        }
        let total = rate * f64::from(SECONDS);
        let each = rate / f64::from(CONNECTIONS);
        let report = run(Command::new(h2load)
            .args(["--h1", "--threads=1", "--rate=1"])
            .arg(format!("--rate-period={APART}"))
            .arg(format!("--clients={CONNECTIONS}"))
            .arg(format!("--requests={total:.0}"))
            .arg(format!("--rps={each:.3}"))
            .arg("--log-file")
            .arg(requests)
            .arg(&self.url))?;
        ensure!(
            report.contains(" 0 failed, 0 errored, 0 timeout"),
            "requests failed:\n{report}"
        );
        let micros = percentile_99(&std::fs::read_to_string(requests)?)
            .with_context(|| format!("{} has no requests", requests.display()))?;
        Ok(micros / 1000.0)
    }

    fn wrk(&self, seconds: u32) -> Result<String> {
        run(Command::new(&self.tools.wrk)
            // One thread is enough for them all, and on a small machine a second one takes its
            // turns from the server.
            .arg("--threads=1")
            .arg(format!("--connections={CONNECTIONS}"))
            .arg(format!("--duration={seconds}"))
            .arg(&self.url))
    }
}

fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("run {command:?}"))?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?} failed:\n{report}{errors}"
    );
    Ok(report)
}

/// Of a log of h2load(1): a line per request, of when it began, its status, and the
/// microseconds it took.
fn percentile_99(log: &str) -> Option<f64> {
    let mut taken: Vec<u32> = log
        .lines()
        .filter_map(|line| line.split('\t').nth(2)?.parse().ok())
        .collect();
    taken.sort_unstable();
    let rank = taken.len() * 99 / 100;
    taken.get(rank).copied().map(f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_in_a_hundred_takes_longer_than_the_percentile() {
        let line = |micros: u32| format!("1700000000000000\t200\t{micros}\n");
        let log: String = (1..=200).rev().map(line).collect();
        assert_eq!(percentile_99(&log), Some(199.0));
        assert_eq!(percentile_99(""), None);
    }
}
