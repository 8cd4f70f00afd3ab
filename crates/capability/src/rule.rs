//! Which rule decided about one use of a capability.
//!
//! A closed list, for audit records, metrics and messages. Made by [`crate::Effective`] and by
//! the runtime's own checks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What admitted or denied one use of a capability.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rule {
    /// Requested, granted and under every ceiling.
    Granted,
    /// The manifest does not ask for it.
    NotRequested,
    /// The component's object does not grant it.
    NotGranted,
    /// No CapabilityPolicy that enforces selects the namespace, so nothing can be granted.
    NoCeiling,
    /// Granted, but a CapabilityPolicy does not admit it.
    AboveCeiling {
        /// Name of the policy.
        policy: String,
    },
    /// Not spelled as the platform spells it: a path, an address or a name that two readers
    /// may take for two things.
    Malformed,
    /// A link, which could lead anywhere.
    LinkRefused,
    /// Neither a regular file nor a directory.
    SpecialFile,
    /// The volume is not written to: it comes from a ConfigMap or a Secret.
    ReadOnlyVolume,
    /// A directory cannot move to where its content would have other rights.
    UnequalRights,
    /// More than the volume's size limit.
    QuotaExceeded,
    /// More than the platform's own bound on handles, sockets or requests.
    LimitExceeded,
    /// The name leads to a private address, and the grant is for public ones.
    PrivateAddress,
    /// Loopback, link-local, metadata and the like: no name leads there.
    SpecialAddress,
    /// An agent, a node or the API server.
    BlockedAddress,
    /// An address that no granted name was resolved to.
    NotResolved,
    /// A method that is refused for every guest, or not among those the credential is for.
    MethodRefused,
    /// The spawner could not be reached, or could not start it.
    SpawnerFailed,
}

impl Rule {
    /// Whether it let the guest do what it wanted.
    #[must_use]
    pub fn allows(&self) -> bool {
        *self == Self::Granted
    }

    /// Its name, one of a fixed list: fit for a metric's label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Granted => "Granted",
            Self::NotRequested => "NotRequested",
            Self::NotGranted => "NotGranted",
            Self::NoCeiling => "NoCeiling",
            Self::AboveCeiling { .. } => "AboveCeiling",
            Self::Malformed => "Malformed",
            Self::LinkRefused => "LinkRefused",
            Self::SpecialFile => "SpecialFile",
            Self::ReadOnlyVolume => "ReadOnlyVolume",
            Self::UnequalRights => "UnequalRights",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::LimitExceeded => "LimitExceeded",
            Self::PrivateAddress => "PrivateAddress",
            Self::SpecialAddress => "SpecialAddress",
            Self::BlockedAddress => "BlockedAddress",
            Self::NotResolved => "NotResolved",
            Self::MethodRefused => "MethodRefused",
            Self::SpawnerFailed => "SpawnerFailed",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AboveCeiling { policy } => write!(f, "AboveCeiling of CapabilityPolicy {policy}"),
            rule => f.write_str(rule.label()),
        }
    }
}
