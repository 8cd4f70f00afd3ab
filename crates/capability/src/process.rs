//! Which executables of the platform may be started, and whether what was started may be sent
//! signals. The same shape on both sides: what an object grants, and what a policy admits.
//!
//! Executables are exact: a glob would also start what somebody puts there later. Nothing here
//! knows whether a node has them.

use serde::{Deserialize, Serialize};

use crate::path::GuestPath;

/// Executables, and signals to what was started of them. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProcessRights {
    /// Absolute paths of executables.
    pub spawn: Vec<GuestPath>,
    /// Whether signals may be sent.
    pub signal: bool,
}

impl ProcessRights {
    /// Whether this executable may be started.
    #[must_use]
    pub fn starts(&self, executable: &GuestPath) -> bool {
        self.spawn.contains(executable)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spawn.is_empty() && !self.signal
    }
}
