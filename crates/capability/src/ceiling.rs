//! The most that the components of a namespace can be granted: one CapabilityPolicy with
//! `mode: Enforce` that selects it.
//!
//! Empty lists admit nothing. Several ceilings hold together; none at all admits nothing. Made
//! from the policies, judged by [`crate::judge()`], held at every call by [`crate::Effective`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::duration::Span;
use crate::grant::{VolumeKind, VolumeSource};
use crate::limits::Limits;
use crate::outbound::OutboundRule;
use crate::path::PathGlob;
use crate::process::ProcessRights;
use crate::quantity::Bytes;

/// One policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Ceiling {
    /// Name of the CapabilityPolicy.
    pub policy: String,
    /// Whether a component without a manifest is refused.
    pub require_manifest: bool,
    /// What can be granted.
    pub allow: Allow,
    /// The highest limits.
    pub limits: LimitCeiling,
}

/// What can be granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Allow {
    /// Kinds of volumes.
    pub volumes: BTreeSet<VolumeKind>,
    /// Directories of the node, for volumes of kind `hostPath`.
    pub host_paths: Vec<PathGlob>,
    /// Connections.
    pub outbound: Vec<OutboundRule>,
    /// Executables of the platform.
    pub process: ProcessRights,
    /// Whether an instance may answer more than one request, and so show one caller what
    /// another has left in its memory.
    pub instance_reuse: bool,
}

/// The highest limits. None: only the platform's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LimitCeiling {
    /// Of one call.
    pub per_call: PerCallCeiling,
    /// Of one replica.
    pub per_replica: PerReplicaCeiling,
}

/// The highest limits of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PerCallCeiling {
    /// Memory.
    pub memory: Option<Bytes>,
    /// Time on a processor.
    pub cpu_time: Option<Span>,
    /// Time on the wall clock until the response head.
    pub timeout: Option<Span>,
    /// Instructions. A component that names no limit is above it.
    pub fuel: Option<u64>,
    /// Bytes through files, connections and bodies. A component that names no limit is above
    /// it.
    pub io: Option<Bytes>,
}

/// The highest limits of one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PerReplicaCeiling {
    /// Calls in flight.
    pub concurrency: Option<u32>,
    /// Memory of all calls together.
    pub memory: Option<Bytes>,
}

/// A limit above the ceiling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excess {
    /// Path of the field, from `resources`.
    pub field: &'static str,
    /// What it holds.
    pub found: String,
    /// The most that the policy admits.
    pub most: String,
}

impl Allow {
    /// Whether a volume of this kind, and from there, can be granted.
    #[must_use]
    pub fn admits_volume(&self, source: &VolumeSource) -> bool {
        self.volumes.contains(&source.kind())
            && match source {
                VolumeSource::HostPath(path) => {
                    // A mount shows everything below its directory, so all of that has to be admitted.
                    let below = PathGlob::below(path);
                    self.host_paths.iter().any(|glob| glob.covers(&below))
                }
                VolumeSource::EmptyDir | VolumeSource::ConfigMap | VolumeSource::Secret => true,
            }
    }

    /// Whether everything that `rule` permits can be granted.
    #[must_use]
    pub fn admits_outbound(&self, rule: &OutboundRule) -> bool {
        self.outbound.iter().any(|admitted| admitted.covers(rule))
    }
}

impl LimitCeiling {
    /// Every limit that is above it.
    #[must_use]
    pub fn exceeded_by(&self, limits: &Limits) -> Vec<Excess> {
        let Limits {
            requests: _,
            per_replica,
            per_call,
            instances: _,
        } = limits;
        let excesses = [
            above("perCall.memory", per_call.memory, self.per_call.memory),
            above("perCall.cpuTime", per_call.cpu_time, self.per_call.cpu_time),
            above("perCall.timeout", per_call.timeout, self.per_call.timeout),
            unlimited("perCall.fuel", per_call.fuel, self.per_call.fuel),
            unlimited("perCall.io", per_call.io, self.per_call.io),
            above(
                "perReplica.concurrency",
                per_replica.concurrency,
                self.per_replica.concurrency,
            ),
            above(
                "perReplica.memory",
                per_replica.memory,
                self.per_replica.memory,
            ),
        ];
        excesses.into_iter().flatten().collect()
    }
}

/// As `above`, for a limit that need not be written.
fn unlimited<T: Ord + ToString>(
    field: &'static str,
    found: Option<T>,
    most: Option<T>,
) -> Option<Excess> {
    match found {
        Some(found) => above(field, found, most),
        None => most.map(|most| Excess {
            field,
            found: "not limited".to_owned(),
            most: most.to_string(),
        }),
    }
}

fn above<T: Ord + ToString>(field: &'static str, found: T, most: Option<T>) -> Option<Excess> {
    let most = most.filter(|most| found > *most)?;
    Some(Excess {
        field,
        found: found.to_string(),
        most: most.to_string(),
    })
}
