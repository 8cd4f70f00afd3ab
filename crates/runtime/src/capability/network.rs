//! The network as one component is let out to it: by HTTP, by raw sockets, by names.
//!
//! Every use is judged by `capability::Effective`, every address by its class and by what the
//! node blocks. Until the first use there is no client, no resolver and no socket. In comes
//! nothing but the component's triggers. One module each: `dial` connects, `lookups` and
//! `names` resolve, `addresses` judges, `client` keeps HTTP connections, `tls` trusts,
//! `credential` is lent, `sockets` is what wasi:sockets sees, `tcp` what it sees of a component with
//! ports.

mod addresses;
mod client;
mod credential;
mod dial;
mod lookups;
mod names;
mod places;
mod settings;
pub(crate) mod sockets;
pub(crate) mod tcp;
mod tls;
mod uplink;

pub(crate) use client::ConnectError;
pub use credential::{Credential, InvalidCredential};
pub(crate) use dial::DialError;
pub(crate) use names::LookupError;
pub(crate) use places::{Place, Places};
pub use settings::Settings;
pub(crate) use uplink::Uplink;

use crate::caller::Caller;
use crate::capability::audit::{Audit, Capability};
use capability::{Effective, Grant, HostName, Protocol, Reach, Rule};
use client::HttpClient;
use dial::Dialer;
use lookups::Lookups;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;

/// One component's way out.
pub(crate) struct Network {
    pub(crate) dialer: Arc<Dialer>,
    /// Requests that are sent or answered.
    pub(crate) in_flight: Places,
    client: OnceLock<HttpClient>,
}

impl Network {
    pub(crate) fn new(
        uplink: &Arc<Uplink>,
        effective: &Arc<Effective>,
        audit: &Arc<Audit>,
        replicas: u32,
    ) -> Arc<Network> {
        let settings = &uplink.settings;
        let replicas = replicas.max(1);
        Arc::new(Network {
            dialer: Arc::new(Dialer {
                uplink: Arc::clone(uplink),
                effective: Arc::clone(effective),
                audit: Arc::clone(audit),
                sockets: Places::new(settings.sockets.saturating_mul(replicas)),
                lookups: Arc::new(Lookups::new(settings, replicas)),
            }),
            in_flight: Places::new(settings.in_flight.saturating_mul(replicas)),
            client: OnceLock::new(),
        })
    }

    /// The same with other rights. Connections that were made with the old ones are not used
    /// any more; limits hold for both together.
    pub(crate) fn with_rights(self: &Arc<Network>, effective: &Arc<Effective>) -> Arc<Network> {
        let dialer = &self.dialer;
        if *dialer.effective == **effective {
            return Arc::clone(self);
        }
        Arc::new(Network {
            dialer: Arc::new(Dialer {
                uplink: Arc::clone(&dialer.uplink),
                effective: Arc::clone(effective),
                audit: Arc::clone(&dialer.audit),
                sockets: dialer.sockets.clone(),
                lookups: Arc::clone(&dialer.lookups),
            }),
            in_flight: self.in_flight.clone(),
            client: OnceLock::new(),
        })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.dialer.uplink.settings
    }

    /// What a replica may use is multiplied by their number. At least 1.
    pub(crate) fn set_replicas(&self, replicas: u32) {
        let replicas = replicas.max(1);
        let in_flight = self.settings().in_flight;
        self.in_flight.set_limit(in_flight.saturating_mul(replicas));
        self.dialer.set_replicas(replicas);
    }

    /// The component's HTTP client, made at the first request.
    pub(crate) fn client(&self) -> &HttpClient {
        self.client.get_or_init(|| client::client(&self.dialer))
    }

    /// Whether any raw socket of this kind can come to be of use. Without a grant there is
    /// not even a socket that is connected to nothing.
    pub(crate) fn may_have_sockets(&self, protocol: Protocol) -> bool {
        if protocol == Protocol::Udp && !self.settings().udp {
            return false;
        }
        let effective = &self.dialer.effective;
        let asked = effective.requests.iter().all(|request| {
            let hosts = &request.network.hosts;
            hosts.iter().any(|host| host.ports_of(protocol).is_some())
        });
        asked
            && match &effective.grant {
                Grant::Listed { outbound, .. } => {
                    outbound.iter().any(|rule| rule.protocol == protocol)
                }
                Grant::Requested { .. } => !effective.requests.is_empty(),
            }
    }

    /// The addresses of a name for a guest, without those that it could never connect to.
    pub(crate) async fn resolve(
        &self,
        name: &str,
        caller: Option<Arc<Caller>>,
    ) -> Result<Vec<IpAddr>, DialError> {
        let caller = caller.as_ref();
        let dialer = &self.dialer;
        let note = |rule: Rule| {
            dialer
                .audit
                .note(Capability::NameLookup, name, rule, caller)
        };
        let Ok(host) = HostName::parse(name) else {
            note(Rule::Malformed);
            return Err(DialError::Denied);
        };
        if let Some(address) = host.address() {
            return Ok(vec![address]);
        }
        if let Err(rule) = dialer.effective.host_may_resolve(&host) {
            note(rule);
            return Err(DialError::Denied);
        }
        note(Rule::Granted);
        let deadline = Instant::now() + self.settings().connect;
        // Ports and protocols of one name may reach differently far; a connection is judged
        // again by its own.
        let wanted = (Capability::NameLookup, name);
        dialer
            .addresses(&host, Reach::Private, wanted, deadline)
            .await
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}
