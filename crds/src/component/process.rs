//! Executables of the platform: which a component is granted, and which a policy allows. One
//! shape for both, so that what is allowed reads as what is granted.
//!
//! What it amounts to is for the crate `capability`, which [`Processes::rights`] converts to.

use capability::ProcessRights;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Executables of the platform. Nodes whose agent has no spawner start none.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processes {
    /// Executables, each by its exact path, such as `/tools/bin/git`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::executables")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub spawn: Vec<String>,
    /// Whether signals may be sent to what was started.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub signal: bool,
}

impl Processes {
    /// What they amount to, without what cannot be read.
    pub fn rights(&self) -> ProcessRights {
        ProcessRights {
            spawn: self
                .spawn
                .iter()
                .filter_map(|path| path.parse().ok())
                .collect(),
            signal: self.signal,
        }
    }
}
