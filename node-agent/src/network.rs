//! How guests of this node reach out: who resolves names, whom TLS trusts, what is private.
//!
//! Control is told by flags, or by the machine's resolv.conf, and tells the worker, which reads
//! no file. What guests may connect to is not decided here. Made by `args` and by the embedder
//! of [`crate::run_local`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use capability::reach::Class;
use ipnet::IpNet;
use runtime::NetworkSettings;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

/// Who resolves names on a machine: `resolv.conf(5)`.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// What a cluster calls itself if nobody says otherwise.
pub const CLUSTER_DOMAIN: &str = "cluster.local";
/// Where name servers listen.
const DNS_PORT: u16 = 53;
/// As many as the C library asks.
const NAME_SERVERS_MAX: usize = 3;
/// A bundle of a few hundred authorities; the message to the worker has to hold it.
const BUNDLE_MAX: u64 = 1024 * 1024;

/// What a worker has to know of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Servers that resolve names, in the order they are asked.
    pub name_servers: Vec<SocketAddr>,
    /// The DNS domain of the cluster, below which only services have names.
    pub cluster_domain: Option<String>,
    /// Networks of the platform's own that are made of public addresses: pods, services.
    pub private_networks: Vec<IpNet>,
    /// Certificate authorities that are trusted besides those of the public web, as DER.
    pub roots: Vec<Vec<u8>>,
    /// Whether components may be granted datagram sockets.
    pub udp: bool,
}

impl Network {
    /// As this machine resolves names, and nothing besides. A cluster's names are judged as in
    /// a cluster, and lead nowhere.
    pub fn of_this_machine() -> Self {
        Self {
            name_servers: machine_name_servers(),
            cluster_domain: Some(CLUSTER_DOMAIN.to_owned()),
            ..Self::default()
        }
    }
}

/// The name servers of this machine; none when it names none.
pub fn machine_name_servers() -> Vec<SocketAddr> {
    name_servers(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default())
}

/// The certificates of a PEM file.
///
/// # Errors
/// When it cannot be read, is too large, or is no PEM.
pub fn bundle(file: &Path) -> io::Result<Vec<Vec<u8>>> {
    let invalid = |problem: String| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}: {problem}", file.display()),
        )
    };
    if std::fs::metadata(file)?.len() > BUNDLE_MAX {
        return Err(invalid(format!(
            "more than {BUNDLE_MAX} bytes of certificates"
        )));
    }
    let text = std::fs::read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| invalid(error.to_string()))?;
    if found.is_empty() {
        return Err(invalid("no certificate in PEM".to_owned()));
    }
    Ok(found
        .iter()
        .map(|certificate| certificate.to_vec())
        .collect())
}

/// The `nameserver` lines of a resolv.conf. Search domains and `ndots` are left out on purpose:
/// names are absolute.
fn name_servers(resolv_conf: &str) -> Vec<SocketAddr> {
    let servers = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = (words.next() == Some("nameserver")).then(|| words.next())??;
        let address = address.parse::<IpAddr>().ok()?;
        Some(SocketAddr::new(address, DNS_PORT))
    });
    servers.take(NAME_SERVERS_MAX).collect()
}

impl From<Network> for NetworkSettings {
    fn from(network: Network) -> Self {
        let Network {
            name_servers,
            cluster_domain,
            private_networks,
            roots,
            udp,
        } = network;
        let private = private_networks
            .into_iter()
            .map(|network| (network, Class::Private));
        Self {
            name_servers,
            cluster_domain,
            networks: private.collect(),
            roots: roots.into_iter().map(CertificateDer::from).collect(),
            udp,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_taken_from_resolv_conf_and_search_domains_are_not() {
        let text = "# a comment\nsearch shop.svc.cluster.local svc.cluster.local\n\
                    nameserver 10.96.0.10\nnameserver fd00::a\nnameserver no-address\n\
                    nameserver\noptions ndots:5\nnameserver 1.1.1.1\nnameserver 9.9.9.9\n";
        let found: Vec<String> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.96.0.10:53", "[fd00::a]:53", "1.1.1.1:53"]);
    }

    #[test]
    fn a_bundle_is_pem_with_certificates_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("roots.pem");
        std::fs::write(&file, "no certificate").unwrap();
        let problem = bundle(&file).unwrap_err().to_string();
        assert!(problem.contains("roots.pem: no certificate"), "{problem}");
        let authority = rcgen::generate_simple_self_signed(vec!["ca.example".into()]).unwrap();
        std::fs::write(&file, authority.cert.pem().repeat(2)).unwrap();
        let der = authority.cert.der().to_vec();
        assert_eq!(bundle(&file).unwrap(), [der.clone(), der]);
    }
}
