//! Why a revision has failed, in words that follow its name.

use std::fmt;

use crds::Reason;

use super::{Failure, Finding};

/// Why a revision has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It cannot run on a node.
    Node(Failure),
    /// It has reached no further node for too long; what a node says of it, if one does.
    Deadline(Option<Failure>),
    /// Its requests go worse than they may.
    Requests(Finding),
    /// A step of its canary has not had as many requests as it needs for too long.
    TooFewRequests(u64),
}

impl Cause {
    /// The word for it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Node(failure) => failure.reason,
            Self::Deadline(_) | Self::TooFewRequests(_) => Reason::ProgressDeadlineExceeded,
            Self::Requests(_) => Reason::CanaryFailed,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LATE: &str = "reached no further node within rollout.progressDeadlineSeconds";
        match self {
            Self::Node(failure) => write!(f, "failed {failure}"),
            Self::Deadline(None) => f.write_str(LATE),
            Self::Deadline(Some(failure)) => write!(f, "{LATE}, last {failure}"),
            Self::Requests(finding) => finding.fmt(f),
            Self::TooFewRequests(needed) => write!(
                f,
                "was not asked the {needed} times that analysis.minRequests wants within rollout.progressDeadlineSeconds of a step's pause"
            ),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            node,
            reason,
            message,
        } = self;
        write!(f, "on node {node} with {reason}: {message}")
    }
}
