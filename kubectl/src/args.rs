//! What can be typed: every command, flag and help text, and nothing else.
//!
//! The flags that kubectl has, too, are called as there.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Components in a cluster: what they do, why they do not, and who may let them.
///
/// Reads and writes with your kubeconfig and your rights. Exit codes: 0 done; 1 it could not be
/// done, or the component is not ready; 2 the command line is wrong.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-lm",
    bin_name = "kubectl lm",
    version,
    max_term_width = 100
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) cluster: ClusterChoice,

    /// How to answer: sentences for people, or JSON for programs.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which cluster, and where in it.
#[derive(Debug, Args)]
pub(crate) struct ClusterChoice {
    /// The namespace; else that of the context.
    #[arg(short, long, global = true)]
    pub(crate) namespace: Option<String>,

    /// The context of the kubeconfig; else its current one.
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,

    /// The kubeconfig; else what KUBECONFIG names, or ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// The two ways of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Sentences.
    Text,
    /// One JSON document.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what a component is, where it runs, and which version serves.
    Status(Component),
    /// Say why a component is not ready, what it was refused, and what to type next.
    Why(Component),
    /// Let a version ask for more than the last one that was admitted.
    Approve(Approve),
    /// Look at versions, and steer how they take over.
    #[command(subcommand)]
    Rollout(Rollout),
}

/// The subcommands of `rollout`.
#[derive(Debug, Subcommand)]
pub(crate) enum Rollout {
    /// List the versions that are kept, with what each asks for.
    History(Component),
    /// Give no further node another version than the one that serves.
    Pause(Pause),
    /// Go on with a rollout that is paused, or with the next step of a canary.
    Resume(Pause),
    /// Follow a rollout until it is over. Exit code 0 when the version serves everywhere.
    Status(Progress),
    /// Go back to a version that is kept, and stay there until the spec changes.
    Undo(Undo),
    /// Let what the spec asks for take over: ends an undo, or the steps of a canary.
    Promote(Promote),
}

/// `kubectl lm rollout status`
#[derive(Debug, Args)]
pub(crate) struct Progress {
    /// Name of the WasmComponent.
    pub(crate) name: String,

    /// Whether to wait until it is over.
    #[arg(short, long, default_value_t = true, action = ArgAction::Set)]
    pub(crate) watch: bool,
}

/// `kubectl lm rollout undo`
#[derive(Debug, Args)]
pub(crate) struct Undo {
    /// Name of the WasmComponent.
    pub(crate) name: String,

    /// The version to go back to, by the number or name that `rollout history` lists. Without
    /// it: the one that serves while another takes over or has failed, else the one before.
    #[arg(long, value_name = "REVISION")]
    pub(crate) to_revision: Option<String>,

    #[command(flatten)]
    pub(crate) force: Force,
}

/// `kubectl lm rollout promote`
#[derive(Debug, Args)]
pub(crate) struct Promote {
    /// Name of the WasmComponent.
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) force: Force,
}

/// `kubectl lm rollout pause` and `resume`
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Name of the WasmComponent.
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) force: Force,
}

/// One component.
#[derive(Debug, Args)]
pub(crate) struct Component {
    /// Name of the WasmComponent.
    pub(crate) name: String,
}

/// `kubectl lm approve`
#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// Name of the WasmComponent.
    pub(crate) name: String,

    /// The hash of the request that you have read. Without it, what the version asks for is
    /// shown and nothing is approved.
    pub(crate) hash: Option<String>,

    #[command(flatten)]
    pub(crate) force: Force,
}

/// What overrides a tool that keeps the object as it has it.
#[derive(Debug, Args)]
pub(crate) struct Force {
    /// Write although a tool such as Flux or Argo CD manages the field, and may put it back.
    #[arg(long = "force")]
    pub(crate) force: bool,
}
