//! `load ADDRESS:PORT PER_SECOND MAY_FAIL`: sends requests at a fixed rate until SIGTERM, then
//! prints how many there were and what was answered, and fails if more failed than may. The
//! node test runs it beside each step that must drop none.

use std::env::args;
use std::process::ExitCode;

use anyhow::{Context, Result};
use e2e::load::Load;
use e2e::tenant::Endpoint;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let usage = "usage: load ADDRESS:PORT PER_SECOND MAY_FAIL";
    let address = args().nth(1).context(usage)?.parse().context(usage)?;
    let per_second = args().nth(2).context(usage)?.parse().context(usage)?;
    let may_fail: u64 = args().nth(3).context(usage)?.parse().context(usage)?;
    let mut terminate = signal(SignalKind::terminate())?;
    // A ClusterIP, usually: kube-proxy chooses the node.
    let service = Endpoint {
        node: String::new(),
        address,
        ready: true,
    };
    let load = Load::at(&[service], per_second);
    terminate.recv().await;
    let report = load.stop().await?;
    println!("{} requests, {} failed", report.sent(), report.failed);
    for (answer, count) in &report.answers {
        println!("  {count} x {}", answer.trim_end());
    }
    for failure in &report.failures {
        println!("  failed: {failure}");
    }
    Ok(if report.failed <= may_fail {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
