//! What a component's object gives it: volumes at paths, connections, and executables.
//!
//! Plain values, made from `spec.volumes` and `spec.capabilities`; the values of environment
//! and configuration are in [`crate::Values`]. Judged by [`crate::judge()`], held at every call
//! by [`crate::Effective`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::outbound::OutboundRule;
use crate::path::{GuestPath, PathGlob};
use crate::process::ProcessRights;

/// What the object grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Grant {
    /// What is listed.
    Listed {
        /// Volumes, with the paths in them that may be used. No mount lies within another.
        filesystem: Vec<MountGrant>,
        /// Connections.
        outbound: Vec<OutboundRule>,
        /// Executables of the platform.
        #[serde(default)]
        process: ProcessRights,
    },
    /// All that the manifest asks for, as far as the policies admit it.
    Requested {
        /// Volumes: where the requested paths may be. No mount lies within another.
        mounts: Vec<MountPoint>,
    },
}

/// A volume and the paths in it that may be used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountGrant {
    /// Which volume, and where.
    pub mount: MountPoint,
    /// Absolute paths to read and list.
    pub read: Vec<PathGlob>,
    /// Absolute paths to create, change and remove.
    pub write: Vec<PathGlob>,
}

/// A volume at a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountPoint {
    /// Name of the volume in `spec.volumes`.
    pub volume: String,
    /// What the volume is.
    pub source: VolumeSource,
    /// Where the guest sees it.
    pub path: GuestPath,
}

/// What a volume is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeSource {
    /// Empty at first, gone with the placement.
    EmptyDir,
    /// The keys of a ConfigMap, as files. Not written to.
    ConfigMap,
    /// The keys of a Secret, as files. Not written to.
    Secret,
    /// A directory of the node.
    HostPath(GuestPath),
}

/// The kinds of volume that a policy admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeKind {
    /// `emptyDir`.
    EmptyDir,
    /// `configMap`.
    ConfigMap,
    /// `secret`.
    Secret,
    /// `hostPath`, at the paths that the policy names.
    HostPath,
}

impl Grant {
    /// Where volumes are seen.
    pub fn mounts(&self) -> impl Iterator<Item = &MountPoint> {
        let (listed, requested): (&[MountGrant], &[MountPoint]) = match self {
            Self::Listed { filesystem, .. } => (filesystem, &[]),
            Self::Requested { mounts } => (&[], mounts),
        };
        listed.iter().map(|grant| &grant.mount).chain(requested)
    }

    /// The connections it lists.
    #[must_use]
    pub fn outbound(&self) -> &[OutboundRule] {
        match self {
            Self::Listed { outbound, .. } => outbound,
            Self::Requested { .. } => &[],
        }
    }

    /// The executables and signals it lists.
    #[must_use]
    pub fn process(&self) -> Option<&ProcessRights> {
        match self {
            Self::Listed { process, .. } => Some(process),
            Self::Requested { .. } => None,
        }
    }
}

impl Default for Grant {
    /// Nothing.
    fn default() -> Self {
        Self::Listed {
            filesystem: Vec::new(),
            outbound: Vec::new(),
            process: ProcessRights::default(),
        }
    }
}

impl VolumeSource {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> VolumeKind {
        match self {
            Self::EmptyDir => VolumeKind::EmptyDir,
            Self::ConfigMap => VolumeKind::ConfigMap,
            Self::Secret => VolumeKind::Secret,
            Self::HostPath(_) => VolumeKind::HostPath,
        }
    }
}

impl VolumeKind {
    /// As it is written in YAML.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EmptyDir => "emptyDir",
            Self::ConfigMap => "configMap",
            Self::Secret => "secret",
            Self::HostPath => "hostPath",
        }
    }
}

impl fmt::Display for VolumeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
