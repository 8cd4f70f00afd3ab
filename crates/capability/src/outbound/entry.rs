//! An entry of `allowed_hosts` in a manifest.
//!
//! People leave out what they do not know: port and protocol are then whatever is granted, of
//! what is usual. Read by [`crate::manifest`].

use std::fmt;
use std::str::FromStr;

use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Destination, InvalidPorts, OutboundRule, Ports, Protocol, Reach, write_host_and_ports,
};
use crate::host::{HostPattern, InvalidHost};

/// What a manifest asks for: an entry of `allowed_hosts`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostRequest {
    /// To whom.
    pub host: HostPattern,
    /// On which ports. None: the usual one of the protocol.
    pub ports: Option<Ports>,
    /// By which protocol. None: whatever is granted, of HTTPS and HTTP, and with a port of
    /// TCP, too.
    pub protocol: Option<Protocol>,
}

/// Why a text is no entry of `allowed_hosts`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHostRequest {
    /// The host.
    #[error(transparent)]
    Host(#[from] InvalidHost),
    /// The port.
    #[error(transparent)]
    Ports(#[from] InvalidPorts),
    /// Not one of the protocols.
    #[error(
        "`{0}://` is no protocol; write `https://`, `http://`, `tcp://` or `udp://`, or leave it out"
    )]
    Protocol(String),
    /// A raw socket without a port.
    #[error("`{0}` needs a port; write `{0}:` and the port")]
    NoPort(String),
}

impl HostRequest {
    /// Whether the entry asks for this connection.
    #[must_use]
    pub fn matches(&self, destination: &Destination) -> bool {
        self.host.matches(&destination.host)
            && self
                .ports_of(destination.protocol)
                .is_some_and(|ports| ports.contains(destination.port))
    }

    /// Whether everything that `other` asks for is asked for by `self` as well. Exact.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.host.covers(&other.host)
            && Protocol::ALL.iter().all(|protocol| {
                match (self.ports_of(*protocol), other.ports_of(*protocol)) {
                    (_, None) => true,
                    (Some(mine), Some(theirs)) => mine.covers(theirs),
                    (None, Some(_)) => false,
                }
            })
    }

    /// The ports that it asks for with this protocol; none when it does not ask for it.
    #[must_use]
    pub fn ports_of(&self, protocol: Protocol) -> Option<Ports> {
        if self.protocol.is_some_and(|wanted| wanted != protocol) {
            return None;
        }
        match (self.ports, protocol, self.protocol) {
            // A raw datagram socket is never meant unless it is named.
            (_, Protocol::Udp, None) => None,
            (Some(ports), _, _) => Some(ports),
            (None, _, _) => protocol.default_ports(),
        }
    }

    /// The connections that would satisfy the entry, the most usual first. To be granted one
    /// of them is enough: which one it is, is the grant's to narrow.
    pub fn alternatives(&self) -> impl Iterator<Item = OutboundRule> {
        Protocol::ALL.into_iter().filter_map(|protocol| {
            Some(OutboundRule {
                host: self.host.clone(),
                ports: self.ports_of(protocol)?,
                protocol,
                reach: Reach::Public,
            })
        })
    }
}

impl FromStr for HostRequest {
    type Err = InvalidHostRequest;

    fn from_str(text: &str) -> Result<Self, InvalidHostRequest> {
        let (protocol, rest) = match text.split_once("://") {
            None => (None, text),
            Some((scheme, rest)) => {
                let known = Protocol::ALL
                    .into_iter()
                    .find(|protocol| protocol.name().to_ascii_lowercase() == scheme);
                let known = known.ok_or_else(|| InvalidHostRequest::Protocol(scheme.to_owned()));
                (Some(known?), rest)
            }
        };
        let (host, ports) = split_port(rest);
        let ports = ports.map(str::parse::<Ports>).transpose()?;
        if ports.is_none() && matches!(protocol, Some(Protocol::Tcp | Protocol::Udp)) {
            return Err(InvalidHostRequest::NoPort(text.to_owned()));
        }
        let host: HostPattern = host.parse()?;
        if host.is_any() {
            return Err(InvalidHost::Wildcard(text.to_owned()).into());
        }
        Ok(Self {
            host,
            ports,
            protocol,
        })
    }
}

/// Cuts `host:port` apart; an IPv6 address has a port only behind its bracket.
fn split_port(text: &str) -> (&str, Option<&str>) {
    let one_colon = text.matches(':').count() == 1;
    match text.rsplit_once(':') {
        Some((host, ports)) if one_colon || host.ends_with(']') => (host, Some(ports)),
        _ => (text, None),
    }
}

impl fmt::Display for HostRequest {
    /// As it is written in a manifest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(protocol) = self.protocol {
            write!(f, "{}://", protocol.name().to_ascii_lowercase())?;
        }
        write_host_and_ports(f, &self.host, self.ports)
    }
}

impl Serialize for HostRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
