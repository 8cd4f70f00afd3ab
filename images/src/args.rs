//! The flags of `images`, and the only place that reads them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The container images of this checkout.
#[derive(Debug, Parser)]
#[command(name = "images")]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build all images and write them as an OCI layout.
    Build(BuildArgs),
    /// Push an OCI layout to PREFIX/operator, PREFIX/agent and PREFIX/lighterman.
    Push(PushArgs),
}

/// `images build`
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// How the programs are built.
    #[arg(long, value_enum, default_value_t = Programs::Shipping)]
    pub(crate) programs: Programs,
    /// The folder of the OCI layout; made, or replaced.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/images")]
    pub(crate) output: PathBuf,
    /// The tag.
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    pub(crate) version: String,
}

/// `images push`
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Where the repositories are.
    #[arg(value_name = "HOST[:PORT]/PATH")]
    pub(crate) prefix: String,
    /// The OCI layout that `build` wrote.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/images")]
    pub(crate) layout: PathBuf,
    /// Registry that speaks plain HTTP; loopback always may.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) plain_http: Vec<String>,
    /// User of the registry; without one, the push is anonymous.
    #[arg(long, env = "REGISTRY_USER", requires = "password")]
    pub(crate) user: Option<String>,
    /// The user's password or token.
    #[arg(long, env = "REGISTRY_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,
}

/// How programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Programs {
    /// Optimised, and the same bytes on every machine with these tools; many minutes.
    Shipping,
    /// What a debug build has compiled, linked once more; for tests.
    Debug,
}
