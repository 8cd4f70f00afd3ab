//! Why a command did not do what was asked: one sentence what, one sentence how to mend it.
//!
//! Knows nothing of how it is printed. Every command returns it; `main.rs` makes
//! the exit code of it. The four codes are documented in `--help`.

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

/// A command's failure. The kinds are the exit codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(crate) enum Failure {
    /// The thing looked at was refused, or has problems: exit code 1.
    #[error("{what}")]
    Refused {
        /// What is wrong.
        what: String,
        /// What mends it; empty when `what` already says so.
        mend: String,
    },
    /// The arguments cannot be used: exit code 2.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What mends it.
        mend: String,
    },
    /// It could not be found out or done: exit code 3. Never a verdict.
    #[error("{what}")]
    Unavailable {
        /// What did not answer.
        what: String,
        /// What mends it.
        mend: String,
    },
}

impl Failure {
    /// A verdict against the thing looked at.
    pub(crate) fn refused(what: impl Display, mend: impl Display) -> Failure {
        Failure::Refused {
            what: what.to_string(),
            mend: mend.to_string(),
        }
    }

    /// Arguments that cannot be used.
    pub(crate) fn usage(what: impl Display, mend: impl Display) -> Failure {
        Failure::Usage {
            what: what.to_string(),
            mend: mend.to_string(),
        }
    }

    /// No answer, hence no verdict.
    pub(crate) fn unavailable(what: impl Display, mend: impl Display) -> Failure {
        Failure::Unavailable {
            what: what.to_string(),
            mend: mend.to_string(),
        }
    }

    /// A file that cannot be read or written.
    pub(crate) fn file(path: &Path, doing: &str, error: &std::io::Error) -> Failure {
        Failure::unavailable(
            format!("cannot {doing} {}: {error}", path.display()),
            "check the path and its permissions",
        )
    }

    /// What mends it; empty when the sentence already says so.
    pub(crate) fn mend(&self) -> &str {
        match self {
            Failure::Refused { mend, .. }
            | Failure::Usage { mend, .. }
            | Failure::Unavailable { mend, .. } => mend,
        }
    }

    /// The exit code, as `--help` documents it.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Refused { .. } => 1,
            Failure::Usage { .. } => 2,
            Failure::Unavailable { .. } => 3,
        })
    }
}
