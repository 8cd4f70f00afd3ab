//! One file per command, and the table that leads to them.
//!
//! Each command looks (`sight`), makes one value that can be shown as text and as JSON by a
//! plain function, and prints it here.

mod approve;
mod history;
mod pause;
mod progress;
mod promote;
mod status;
mod undo;
mod why;

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use crate::args::{Arguments, Command, Format, Rollout};
use crate::failure::Failure;
use crate::sight::Cluster;

/// Conditions that sum the steps up.
const SUMMARIES: [&str; 3] = ["Ready", "Stalled", "Reconciling"];

/// Runs one command to its end.
pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments {
        cluster,
        output,
        command,
    } = arguments;
    let cluster = Cluster::connect(&cluster).await?;
    match command {
        Command::Status(of) => print(output, &status::page(&cluster.look(&of.name).await?)),
        Command::Why(of) => {
            let page = why::page(&cluster.look(&of.name).await?);
            print(output, &page)?;
            return Ok(page.exit_code());
        }
        Command::Approve(args) => print(output, &approve::run(&cluster, &args).await?),
        Command::Rollout(Rollout::History(of)) => {
            print(output, &history::page(&cluster.look(&of.name).await?))
        }
        Command::Rollout(Rollout::Pause(args)) => {
            print(output, &pause::run(&cluster, &args, true).await?)
        }
        Command::Rollout(Rollout::Resume(args)) => {
            let component = cluster.component(&args.name).await?;
            // A canary that waits does so without being paused.
            if !component.spec.rollout.paused
                && let Some(answer) = promote::step(&cluster, &component, args.force.force).await?
            {
                print(output, &answer)?;
                return Ok(ExitCode::SUCCESS);
            }
            print(output, &pause::run(&cluster, &args, false).await?)
        }
        Command::Rollout(Rollout::Status(args)) => {
            return progress::run(&cluster, output, &args).await;
        }
        Command::Rollout(Rollout::Undo(args)) => print(output, &undo::run(&cluster, &args).await?),
        Command::Rollout(Rollout::Promote(args)) => {
            print(output, &promote::run(&cluster, &args).await?)
        }
    }?;
    Ok(ExitCode::SUCCESS)
}

/// A closed pipe (`kubectl lm status x | head`) ends the answer, not the program with a panic.
fn print<T: Serialize + Display>(format: Format, answer: &T) -> Result<(), Failure> {
    let text = match format {
        Format::Text => answer.to_string(),
        Format::Json => serde_json::to_string_pretty(answer).map_err(|error| {
            Failure::new(format!("cannot write the answer as JSON: {error}"), "")
        })?,
    };
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    Ok(())
}
