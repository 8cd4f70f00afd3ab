//! What to add to an object so that a refusal goes away.

use super::snippet;
use crate::grant::{MountGrant, VolumeSource};
use crate::outbound::OutboundRule;
use crate::path::GuestPath;

/// What to add, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mend {
    /// To the component's own `spec`.
    Component(Addition),
    /// To the `spec` of the CapabilityPolicy of this name.
    Policy(String, Addition),
}

/// An addition to a `spec`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addition {
    /// A connection.
    Outbound(OutboundRule),
    /// A volume at a path, and what may be done in it. Replaces the entry of that volume.
    Mount {
        /// The whole entry.
        grant: MountGrant,
        /// Whether the volume itself is new.
        new_volume: bool,
        /// Whether the entry lists paths; it does not with `grant: Requested`.
        listed: bool,
    },
    /// A kind of volume, and for `hostPath` the directory.
    Volume(VolumeSource),
    /// An executable of the platform.
    Spawn(GuestPath),
    /// Signals to what was started.
    Signal,
    /// Instances that answer more than one request.
    InstanceReuse,
    /// A limit, by its path from `resources`.
    Limit {
        /// Path of the field.
        field: &'static str,
        /// What to write.
        value: String,
    },
}

impl Mend {
    /// The YAML, to be pasted under `spec:` of the object.
    #[must_use]
    pub fn yaml(&self) -> String {
        match self {
            Self::Component(addition) => snippet::component(&[addition]),
            Self::Policy(_, addition) => snippet::policy(&[addition]),
        }
    }
}
