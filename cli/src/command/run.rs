//! `lighterman run`: a cluster's judgement and a node's agent, on this machine.
//!
//! Turns arguments into settings, prints what happens, and ends on Ctrl-C after the
//! requests under way.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::args::Run;
use crate::failure::Failure;
use crate::interrupt;
use crate::local::{self, Event, Settings};
use crate::output::Output;
use crate::scratch::Scratch;

/// Runs until Ctrl-C or SIGTERM.
pub(crate) async fn run(args: &Run, output: &Output) -> Result<(), Failure> {
    let scratch = Scratch::make()?;
    let settings = Settings {
        files: args.files.clone(),
        builds: args.set_image.clone(),
        manifests: args.manifest.clone(),
        port: args.port,
        poll: args.poll,
        p3: args.p3,
        access: args.access.clone(),
        state: scratch.path().join("agent"),
        host_paths: args.host_path.clone(),
        observe: args.observe.clone(),
        spawns: args.spawns.clone(),
    };
    let stop = CancellationToken::new();
    interrupt::cancel(&stop)?;
    let output = *output;
    local::run(
        settings,
        Arc::new(move |event: Event| output.event(&event)),
        stop,
    )
    .await
}
