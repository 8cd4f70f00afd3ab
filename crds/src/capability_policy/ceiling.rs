//! From what the platform team writes to the ceiling that it amounts to.
//!
//! What cannot be read allows nothing: the schema and [`super::problems`] refuse it with
//! its mend, and an object that an older schema let through must not allow more.

use std::collections::BTreeMap;

use capability::{Ceiling, OutboundRule, Ports};
use kube::core::{Selector, SelectorExt as _};

use super::{Allow, AllowOutbound, CapabilityPolicySpec, LimitCeilings, VolumeKind};
use crate::component::grant;
use crate::trust_policy::PolicyMode;

impl CapabilityPolicySpec {
    /// Whether the policy covers a namespace with these labels. One whose selector cannot
    /// be read covers every namespace: it must not let go of any by mistake.
    pub fn covers(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector()
            .is_none_or(|selector| selector.matches(labels))
    }

    /// The ceiling that the policy of this name is.
    pub fn ceiling(&self, policy: &str) -> Ceiling {
        // Covering more namespaces than it was written for, it must not be what allows there.
        let is_readable = self.mode != PolicyMode::Unknown
            && self.namespace_selector.is_some() == self.selector().is_some();
        Ceiling {
            policy: policy.to_owned(),
            require_manifest: self.require_manifest,
            allow: if is_readable {
                self.allow.admitted()
            } else {
                capability::Allow::default()
            },
            limits: self.limits.ceiling(),
        }
    }

    fn selector(&self) -> Option<Selector> {
        Selector::try_from(self.namespace_selector.clone()?).ok()
    }
}

impl Allow {
    fn admitted(&self) -> capability::Allow {
        let places = self.network.outbound.iter();
        capability::Allow {
            volumes: self
                .volumes
                .iter()
                .filter_map(|kind| kind.known())
                .collect(),
            host_paths: grant::readable(&self.host_paths),
            outbound: places.filter_map(AllowOutbound::rule).collect(),
            process: self.process.rights(),
            instance_reuse: self.instance_reuse,
        }
    }
}

impl AllowOutbound {
    fn rule(&self) -> Option<OutboundRule> {
        grant::rule(&self.host, self.protocol, self.reach, |_| {
            self.port.as_ref().map_or(Some(Ports::ANY), grant::ports)
        })
    }
}

impl LimitCeilings {
    fn ceiling(&self) -> capability::LimitCeiling {
        let Self {
            per_call,
            per_replica,
        } = self;
        capability::LimitCeiling {
            per_call: capability::PerCallCeiling {
                memory: per_call.memory,
                cpu_time: per_call.cpu_time,
                timeout: per_call.timeout,
                fuel: per_call.fuel,
                io: per_call.io,
            },
            per_replica: capability::PerReplicaCeiling {
                concurrency: per_replica.concurrency,
                memory: per_replica.memory,
            },
        }
    }
}

impl VolumeKind {
    /// The same word of `capability`; nothing for one of a later version.
    fn known(self) -> Option<capability::VolumeKind> {
        match self {
            Self::EmptyDir => Some(capability::VolumeKind::EmptyDir),
            Self::ConfigMap => Some(capability::VolumeKind::ConfigMap),
            Self::Secret => Some(capability::VolumeKind::Secret),
            Self::HostPath => Some(capability::VolumeKind::HostPath),
            Self::Unknown => None,
        }
    }
}
