//! Why a command did not do what was asked: one sentence what, one how to mend it.
//!
//! Knows no command. `main` prints it.

use std::fmt;

/// A command's failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    what: String,
    mend: String,
}

impl Failure {
    /// What is wrong, and what mends it; the latter may be empty.
    pub(crate) fn new(what: impl Into<String>, mend: impl Into<String>) -> Failure {
        Failure {
            what: what.into(),
            mend: mend.into(),
        }
    }

    /// The API server said no, or nothing, while this program was `doing` something.
    pub(crate) fn api(doing: &str, error: &kube::Error) -> Failure {
        let mend = match error {
            kube::Error::Api(status) if status.code == 403 => {
                "ask for the right that the message names"
            }
            kube::Error::Api(status) if status.code == 404 => {
                "look at the name and the namespace (-n)"
            }
            kube::Error::Api(status) if status.code == 409 => {
                "somebody changed it meanwhile: try again"
            }
            kube::Error::Api(_) => "",
            _ => "look whether `kubectl get namespaces` answers with the same --context",
        };
        let what = match error {
            kube::Error::Api(status) => format!("cannot {doing}: {}", status.message),
            other => format!("cannot {doing}: {other}"),
        };
        Failure::new(what, mend)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if !self.mend.is_empty() {
            write!(f, "\n mend: {}", self.mend)?;
        }
        Ok(())
    }
}
