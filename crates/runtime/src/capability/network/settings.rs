//! What the host knows of its network, and the limits of a component's use of it.
//!
//! Nothing is read from the machine: neither resolv.conf, nor the hosts file, nor proxy
//! variables. Part of `Config`, filled in by the caller.

use capability::reach::Class;
use ipnet::IpNet;
use rustls_pki_types::CertificateDer;
use std::net::SocketAddr;
use std::time::Duration;

/// Name servers, roots and limits of outgoing connections.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Servers that resolve names, in the order they are asked. None: no name resolves.
    pub name_servers: Vec<SocketAddr>,
    /// The cluster's DNS domain, such as `cluster.local`. Below it only names of services are
    /// asked for, and `service.namespace.svc` is short for a name in it.
    pub cluster_domain: Option<String>,
    /// Networks of another class than the built-in table gives them; the first that contains
    /// an address decides. For pod and service networks made of public addresses (`Private`),
    /// and for platforms whose own upstreams have addresses that the table holds for special.
    pub networks: Vec<(IpNet, Class)>,
    /// Certificate authorities that are trusted besides those of the public web.
    pub roots: Vec<CertificateDer<'static>>,
    /// Whether datagram sockets may be granted. They carry no name and no connection.
    pub udp: bool,
    /// Requests of one replica that are sent or answered at once.
    pub in_flight: u32,
    /// Sockets of one replica, idle connections included.
    pub sockets: u32,
    /// Names that one replica may have resolved at once, and per second.
    pub lookups: u32,
    /// See `lookups`.
    pub lookups_per_second: u32,
    /// From the decision to connect to the end of the TLS handshake, name lookup included.
    pub connect: Duration,
    /// From the last byte that was sent to the response head.
    pub first_byte: Duration,
    /// Between two pieces of a response body.
    pub between_bytes: Duration,
    /// How long a connection is kept for the next request.
    pub idle: Duration,
    /// Bytes of a response head.
    pub head_size: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            name_servers: Vec::new(),
            cluster_domain: None,
            networks: Vec::new(),
            roots: Vec::new(),
            udp: false,
            in_flight: 32,
            sockets: 64,
            lookups: 4,
            lookups_per_second: 20,
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(30),
            between_bytes: Duration::from_secs(30),
            // Shorter than the idle time of common servers and load balancers, which close
            // connections under a request otherwise.
            idle: Duration::from_secs(15),
            head_size: 64 * 1024,
        }
    }
}
