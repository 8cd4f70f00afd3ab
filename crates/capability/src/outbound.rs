//! Where a component may connect to: what it asks for, what is granted, what is admitted.
//!
//! Every rule is a plain box of hosts, ports and one protocol; defaults are filled in where
//! text is read, so that matching and covering need not know where a rule came from. Used by
//! grants, policies and the runtime's network.

mod entry;
mod ports;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::host::{HostName, HostPattern};
pub use entry::{HostRequest, InvalidHostRequest};
pub use ports::{InvalidPorts, Ports};

/// What is spoken to a host.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// HTTP over TLS, through the host's own client.
    #[default]
    Https,
    /// HTTP in the clear, through the host's own client.
    Http,
    /// A raw TCP socket.
    Tcp,
    /// A raw UDP socket.
    Udp,
}

/// Which addresses a granted name may lead to. The wider one admits the narrower.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Reach {
    /// Addresses of the public Internet only.
    #[default]
    Public,
    /// Private ranges and cluster networks, too.
    Private,
}

/// A grant of connections, or what a policy admits of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OutboundRule {
    /// To whom.
    pub host: HostPattern,
    /// On which ports.
    pub ports: Ports,
    /// By which protocol.
    pub protocol: Protocol,
    /// At which addresses.
    #[serde(default)]
    pub reach: Reach,
}

/// One connection that a guest wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// To whom.
    pub host: HostName,
    /// On which port.
    pub port: u16,
    /// By which protocol.
    pub protocol: Protocol,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Https, Self::Http, Self::Tcp, Self::Udp];

    /// The port that is meant when none is written; raw sockets have none.
    #[must_use]
    pub fn default_ports(self) -> Option<Ports> {
        match self {
            Self::Https => Some(Ports::one(443)),
            Self::Http => Some(Ports::one(80)),
            Self::Tcp | Self::Udp => None,
        }
    }

    /// As it is written in YAML.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Https => "HTTPS",
            Self::Http => "HTTP",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

impl OutboundRule {
    /// Whether the rule is about this connection, wherever its host's name leads.
    #[must_use]
    pub fn matches(&self, destination: &Destination) -> bool {
        self.protocol == destination.protocol
            && self.ports.contains(destination.port)
            && self.host.matches(&destination.host)
    }

    /// Whether everything that `other` permits is permitted by `self` as well. Exact.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.reach >= other.reach
            && self.ports.covers(other.ports)
            && self.host.covers(&other.host)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "Public",
            Self::Private => "Private",
        })
    }
}

impl fmt::Display for OutboundRule {
    /// `HTTPS api.example.com:443`, and `(Private)` behind it when it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.protocol)?;
        write_host_and_ports(f, &self.host, Some(self.ports))?;
        match self.reach {
            Reach::Public => Ok(()),
            Reach::Private => f.write_str(" (Private)"),
        }
    }
}

impl fmt::Display for Destination {
    /// `HTTPS api.example.com:443`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.protocol)?;
        let host = HostPattern::exact(self.host.clone());
        write_host_and_ports(f, &host, Some(Ports::one(self.port)))
    }
}

fn write_host_and_ports(
    f: &mut fmt::Formatter<'_>,
    host: &HostPattern,
    ports: Option<Ports>,
) -> fmt::Result {
    let address = host.as_exact().and_then(HostName::address);
    match (address.is_some_and(|address| address.is_ipv6()), ports) {
        (true, Some(ports)) => write!(f, "[{host}]:{ports}"),
        (false, Some(ports)) => write!(f, "{host}:{ports}"),
        (_, None) => write!(f, "{host}"),
    }
}
