//! From what a user writes under `volumes` and `capabilities` to what it amounts to.
//!
//! What cannot be read grants nothing: the schema and [`super::problems`] refuse it with
//! its mend, and an object that an older schema let through must not be given more.

use capability::{Grant, MountPoint, OutboundRule, Ports, VolumeSource};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Capabilities, GrantMode, OutboundGrant, Protocol, Reach, Volume, WasmComponentSpec};

impl WasmComponentSpec {
    /// What the component is granted.
    pub fn grant(&self) -> Grant {
        self.capabilities.grant(&self.volumes)
    }
}

impl Capabilities {
    /// What they grant, with these volumes.
    pub fn grant(&self, volumes: &[Volume]) -> Grant {
        let mounts = self.filesystem.iter().filter_map(|mount| {
            let volume = volumes.iter().find(|volume| volume.name == mount.volume)?;
            let point = MountPoint {
                volume: mount.volume.clone(),
                source: volume.source()?,
                path: mount.mount_path.parse().ok()?,
            };
            Some((point, mount))
        });
        match self.grant {
            GrantMode::Listed => Grant::Listed {
                filesystem: mounts
                    .map(|(point, mount)| capability::MountGrant {
                        mount: point,
                        read: readable(&mount.read),
                        write: readable(&mount.write),
                    })
                    .collect(),
                outbound: self
                    .network
                    .outbound
                    .iter()
                    .filter_map(OutboundGrant::rule)
                    .collect(),
                process: self.process.rights(),
            },
            GrantMode::Requested => Grant::Requested {
                mounts: mounts.map(|(point, _)| point).collect(),
            },
            GrantMode::Unknown => Grant::default(),
        }
    }
}

impl Volume {
    /// What the volume is; nothing for a source of a later version.
    pub fn source(&self) -> Option<VolumeSource> {
        match (
            &self.empty_dir,
            &self.config_map,
            &self.secret,
            &self.host_path,
        ) {
            (Some(_), None, None, None) => Some(VolumeSource::EmptyDir),
            (None, Some(_), None, None) => Some(VolumeSource::ConfigMap),
            (None, None, Some(_), None) => Some(VolumeSource::Secret),
            (None, None, None, Some(host_path)) => {
                Some(VolumeSource::HostPath(host_path.path.parse().ok()?))
            }
            _ => None,
        }
    }
}

impl OutboundGrant {
    /// What it grants, without its credentials; nothing if it cannot be read.
    pub fn rule(&self) -> Option<OutboundRule> {
        let rule = rule(
            &self.host,
            self.protocol,
            self.reach,
            |protocol| match &self.port {
                Some(port) => ports(port),
                None => protocol.default_ports(),
            },
        )?;
        (!rule.host.is_any()).then_some(rule)
    }
}

/// A rule of a grant or a ceiling.
pub(crate) fn rule(
    host: &str,
    protocol: Protocol,
    reach: Reach,
    ports: impl FnOnce(capability::Protocol) -> Option<Ports>,
) -> Option<OutboundRule> {
    let protocol = protocol.known()?;
    Some(OutboundRule {
        host: host.parse().ok()?,
        ports: ports(protocol)?,
        protocol,
        reach: reach.known()?,
    })
}

/// The ports that are written, unless they are none. One alone is written as a number, so
/// that it is written in one way.
pub(crate) fn ports(port: &IntOrString) -> Option<Ports> {
    match port {
        IntOrString::Int(number) => {
            let number = u16::try_from(*number).ok().filter(|number| *number > 0)?;
            Some(Ports::one(number))
        }
        IntOrString::String(range) if range.contains('-') => range.parse().ok(),
        IntOrString::String(_) => None,
    }
}

/// Those of the globs that can be read.
pub(crate) fn readable(globs: &[String]) -> Vec<capability::PathGlob> {
    globs.iter().filter_map(|glob| glob.parse().ok()).collect()
}

impl Protocol {
    /// The same word of `capability`; nothing for one of a later version.
    pub fn known(self) -> Option<capability::Protocol> {
        match self {
            Self::Https => Some(capability::Protocol::Https),
            Self::Http => Some(capability::Protocol::Http),
            Self::Tcp => Some(capability::Protocol::Tcp),
            Self::Udp => Some(capability::Protocol::Udp),
            Self::Unknown => None,
        }
    }
}

impl Reach {
    /// The same word of `capability`; nothing for one of a later version.
    pub fn known(self) -> Option<capability::Reach> {
        match self {
            Self::Public => Some(capability::Reach::Public),
            Self::Private => Some(capability::Reach::Private),
            Self::Unknown => None,
        }
    }
}
