//! `lighterman trust`: trust policies for those who write them.

mod init;

use crate::args::{TrustCommand, TrustPolicies};
use crate::failure::Failure;
use crate::output::Output;

/// Runs the command under `trust`.
pub(crate) fn run(args: &TrustPolicies, output: &Output) -> Result<(), Failure> {
    match &args.command {
        TrustCommand::Init(args) => output.answer(&init::run(args)?),
    }
    Ok(())
}
