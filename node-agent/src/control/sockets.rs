//! The listening sockets of this node's components. Control owns them, so that a connection
//! that comes while the worker is being restarted waits in the backlog instead of failing.
//! Knows nothing of what is served on them.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use crds::Reason;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::desired::PlacementKey;

/// Connections that may wait for a worker. Two seconds of a thousand new ones per second.
const BACKLOG: i32 = 2_048;

/// The sockets, by placement and trigger.
#[derive(Debug)]
pub struct Sockets {
    address: IpAddr,
    open: BTreeMap<PlacementKey, BTreeMap<String, Listening>>,
}

/// A port that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("port {port} for trigger {trigger} cannot be listened on: {source}")]
pub struct ListenError {
    /// The trigger.
    pub trigger: String,
    /// Its port.
    pub port: u16,
    /// What the system said.
    pub source: io::Error,
}

#[derive(Debug)]
struct Listening {
    port: u16,
    socket: OwnedFd,
}

impl ListenError {
    /// The reason a status shows.
    pub fn reason(&self) -> Reason {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => Reason::PortInUse,
            _ => Reason::ListenFailed,
        }
    }
}

impl Sockets {
    /// No sockets yet; all will be bound to `address`.
    pub fn new(address: IpAddr) -> Self {
        Self {
            address,
            open: BTreeMap::new(),
        }
    }

    /// Opens what is missing, closes what is not wanted any more, and gives a descriptor of
    /// each socket, in the order of the triggers' names.
    pub fn open(
        &mut self,
        placement: &PlacementKey,
        ports: &BTreeMap<String, u16>,
    ) -> Result<Vec<OwnedFd>, ListenError> {
        let listening = self.open.entry(placement.clone()).or_default();
        listening.retain(|trigger, socket| ports.get(trigger) == Some(&socket.port));
        let mut descriptors = Vec::new();
        for (trigger, port) in ports {
            let failed = |source| ListenError {
                trigger: trigger.clone(),
                port: *port,
                source,
            };
            let entry = match listening.remove(trigger) {
                Some(entry) => entry,
                None => {
                    let address = SocketAddr::new(self.address, *port);
                    Listening {
                        port: *port,
                        socket: listen(address).map_err(failed)?,
                    }
                }
            };
            descriptors.push(entry.socket.try_clone().map_err(failed)?);
            listening.insert(trigger.clone(), entry);
        }
        Ok(descriptors)
    }

    /// Closes the sockets of every placement that is not to keep.
    pub fn retain(&mut self, keep: impl Fn(&PlacementKey) -> bool) {
        self.open.retain(|placement, _| keep(placement));
    }

    /// Closes control's descriptors of a placement. The port is free as soon as the worker has
    /// closed its own.
    pub fn close(&mut self, placement: &PlacementKey) {
        self.open.remove(placement);
    }
}

fn listen(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // An agent that restarts must not wait for the last connections of the one before.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}
