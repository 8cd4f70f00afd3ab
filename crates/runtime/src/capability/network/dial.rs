//! Connects to what a component is granted: rule, name, address, socket, in this order.
//!
//! A name is judged before anybody is asked for it, every address before it is connected to,
//! and the socket's peer afterwards. Denials are noted where they are decided. Used by the
//! HTTP client and by raw sockets; knows no HTTP.

use super::lookups::Lookups;
use super::names::LookupError;
use super::places::{Place, Places};
use super::uplink::Uplink;
use crate::caller::Caller;
use crate::capability::audit::{Audit, Capability};
use capability::{Destination, Effective, HostName, Protocol, Reach, Rule};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// A component's right to connect, and what it has in use.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) uplink: Arc<Uplink>,
    pub(crate) effective: Arc<Effective>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) sockets: Places,
    pub(crate) lookups: Arc<Lookups>,
}

/// A connection, and the place it takes among the component's sockets.
#[derive(Debug)]
pub(crate) struct Dialed {
    pub(crate) stream: TcpStream,
    pub(crate) place: Place,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("the destination is not granted")]
    Denied,
    #[error("no address of the name may be connected to")]
    Prohibited,
    #[error("the name was not resolved: {0:?}")]
    Lookup(LookupError),
    #[error("nothing answered in time")]
    Timeout,
    #[error("too many sockets are open")]
    TooMany,
    #[error("the connection failed: {0}")]
    Failed(#[source] io::Error),
}

impl Dialer {
    pub(crate) fn set_replicas(&self, replicas: u32) {
        let settings = &self.uplink.settings;
        self.sockets
            .set_limit(settings.sockets.saturating_mul(replicas));
        self.lookups.set_replicas(settings, replicas);
    }

    /// Judges a destination by its name or literal address, and notes the verdict.
    pub(crate) fn admit(
        &self,
        destination: &Destination,
        caller: Option<&Arc<Caller>>,
    ) -> Result<Reach, DialError> {
        let verdict = self.effective.destination(destination);
        let rule = verdict.as_ref().err().cloned().unwrap_or(Rule::Granted);
        let object = destination.to_string();
        self.audit.note(Capability::Network, &object, rule, caller);
        verdict.map_err(|_| DialError::Denied)
    }

    /// Notes a denial that was decided elsewhere.
    pub(crate) fn deny(&self, object: &str, rule: Rule, caller: Option<&Arc<Caller>>) {
        self.audit.note(Capability::Network, object, rule, caller);
    }

    /// The addresses of a host that may be connected to with this reach. Others are noted as
    /// denied, under the capability and object that they are wanted for.
    pub(crate) async fn addresses(
        &self,
        host: &HostName,
        reach: Reach,
        (capability, object): (Capability, &str),
        deadline: Instant,
    ) -> Result<Vec<IpAddr>, DialError> {
        let found = match (host.address(), host.name()) {
            (Some(address), _) => [address].into(),
            (None, name) => {
                let names = &self.uplink.names;
                let name = name.unwrap_or_default();
                self.lookups
                    .addresses(names, host, name, deadline)
                    .await
                    .map_err(DialError::Lookup)?
            }
        };
        let mut admitted = Vec::new();
        for address in found.iter() {
            match self.uplink.addresses.judge(*address, reach) {
                Ok(()) => admitted.push(address.to_canonical()),
                Err(rule) => {
                    let object = format!("{object} at {address}");
                    self.audit.note(capability, &object, rule, None);
                }
            }
        }
        if admitted.is_empty() {
            return Err(DialError::Prohibited);
        }
        Ok(admitted)
    }

    /// Connects to a destination that was granted with this reach.
    pub(crate) async fn connect(
        &self,
        destination: &Destination,
        reach: Reach,
        deadline: Instant,
    ) -> Result<Dialed, DialError> {
        let host = &destination.host;
        let object = destination.to_string();
        let wanted = (Capability::Network, object.as_str());
        let addresses = self.addresses(host, reach, wanted, deadline).await?;
        let place = self
            .sockets
            .take(deadline)
            .await
            .ok_or(DialError::TooMany)?;
        let mut failure = DialError::Timeout;
        let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        for address in addresses {
            // An address that does not answer leaves time for those behind it.
            let now = Instant::now();
            let share = deadline.saturating_duration_since(now) / left.max(1);
            left = left.saturating_sub(1);
            let peer = SocketAddr::new(address, destination.port);
            match timeout_at(now + share, TcpStream::connect(peer)).await {
                Ok(Ok(stream)) if stream.peer_addr().ok() == Some(peer) => {
                    // Requests are small, and wait for nothing.
                    let _ = stream.set_nodelay(true);
                    return Ok(Dialed { stream, place });
                }
                Ok(Ok(_)) => failure = DialError::Prohibited,
                Ok(Err(error)) => failure = DialError::Failed(error),
                Err(_) => {}
            }
        }
        Err(failure)
    }

    /// Whether a raw socket may use an address: as itself, or as what a granted name that
    /// was resolved leads to.
    pub(crate) fn admit_address(
        &self,
        address: SocketAddr,
        protocol: Protocol,
        caller: Option<&Arc<Caller>>,
    ) -> bool {
        let literal = Destination {
            host: HostName::from(address.ip()),
            port: address.port(),
            protocol,
        };
        let named = self.lookups.names_of(address.ip());
        let named = named.into_iter().map(|host| Destination {
            host,
            ..literal.clone()
        });
        // Names first: an address that is granted by none of them is denied as itself.
        let granted = named
            .filter_map(|one| Some((self.effective.destination(&one).ok()?, one)))
            .max_by_key(|(reach, _)| *reach);
        let (reach, destination) = match granted {
            Some((reach, destination)) => (Ok(reach), destination),
            None => (self.effective.destination(&literal), literal),
        };
        let named = destination.host.name().is_some();
        let mut object = destination.to_string();
        let verdict = reach.and_then(|reach| {
            let judged = self.uplink.addresses.judge(address.ip(), reach);
            if judged.is_err() && named {
                object = format!("{object} at {}", address.ip());
            }
            judged
        });
        let rule = verdict.err().unwrap_or(Rule::Granted);
        let allowed = rule.allows();
        self.audit.note(Capability::Network, &object, rule, caller);
        allowed
    }
}
