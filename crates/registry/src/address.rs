//! Which addresses are contacted for an image, whoever names them: a registry,
//! its redirect or its token server. Judged on the resolved address, with the
//! disguises of IPv6 taken off first. Metadata services and link-local addresses
//! never are; addresses of private networks only by who may (`private`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::private::Network;

/// Metadata services that answer on other than link-local addresses: Azure,
/// Alibaba, Oracle.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// The same in IPv6: AWS, Google.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// What kind of place an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The internet.
    Public,
    /// A private network: where the cluster, its nodes and its services are.
    Private,
    /// This machine.
    Loopback,
    /// Link-local, metadata, multicast: no registry is there.
    Never,
}

/// The places that one hop of an exchange may lead to.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    /// Everything up to here.
    pub(crate) reach: Place,
    /// And these networks, unless the place is `Never`.
    pub(crate) networks: Arc<[Network]>,
}

/// A host, or what its name resolves to, is not contacted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host} is an address that is not contacted")]
pub(crate) struct Forbidden {
    pub(crate) host: String,
    /// Whether the platform could list it.
    pub(crate) listable: bool,
}

impl Guard {
    /// Whether `address`, which `host` stands for, may be contacted.
    pub(crate) fn judge(&self, host: &str, address: IpAddr) -> Result<(), Forbidden> {
        let place = place(address);
        let listed = || {
            let address = undisguised(address);
            self.networks
                .iter()
                .any(|network| network.contains(address))
        };
        if place <= self.reach || (place < Place::Never && listed()) {
            return Ok(());
        }
        Err(Forbidden {
            host: host.to_owned(),
            listable: place < Place::Never && self.reach == Place::Public,
        })
    }
}

/// Resolves names by the system and judges every answer before a connection.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            // One bad answer spoils all: a name that mixes a public and a
            // metadata address is an attack, not a mistake.
            for address in &found {
                guard.judge(&host, address.ip())?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// What kind of place an address is.
fn place(address: IpAddr) -> Place {
    match undisguised(address) {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            if a == 0 || v4.is_link_local() || a >= 224 || METADATA_V4.contains(&v4) {
                Place::Never
            } else if v4.is_loopback() {
                Place::Loopback
            } else if v4.is_private()
                || (a == 100 && b & 0xc0 == 64) // carrier-grade NAT: Pods of some clouds
                || (a, b, c) == (192, 0, 0)
                || (a == 198 && b & 0xfe == 18)
            {
                Place::Private
            } else {
                Place::Public
            }
        }
        IpAddr::V6(v6) => {
            if v6.is_unspecified()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
                || METADATA_V6.contains(&v6)
            {
                Place::Never
            } else if v6.is_loopback() {
                Place::Loopback
            } else if v6.is_unique_local() || v6.segments()[0] & 0xffc0 == 0xfec0 {
                Place::Private
            } else {
                Place::Public
            }
        }
    }
}

/// Whether `address` is of this machine.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    undisguised(address).is_loopback()
}

/// The IPv4 address that an IPv6 address carries packets to, if it does.
fn undisguised(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let [w, x] = high.to_be_bytes();
        let [y, z] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(w, x, y, z))
    };
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0) if (g, h) != (0, 0) && (g, h) != (0, 1) => v4(g, h), // IPv4-compatible
        (0, 0, 0, 0, 0, 0xffff) => v4(g, h),                                    // IPv4-mapped
        (0x64, 0xff9b, ..) => v4(g, h),                                         // NAT64
        (0x2002, ..) => v4(b, c),                                               // 6to4
        (0x2001, 0, ..) => v4(!g, !h),                                          // Teredo
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(reach: Place, networks: &[&str]) -> Guard {
        let networks = networks.iter().map(|text| text.parse().unwrap()).collect();
        Guard { reach, networks }
    }

    fn goes(guard: &Guard, address: &str) -> bool {
        guard.judge("host", address.parse().unwrap()).is_ok()
    }

    #[test]
    fn metadata_addresses_are_forbidden_in_every_disguise_even_when_listed() {
        let guard = guard(Place::Loopback, &["0.0.0.0/0", "::/0"]);
        for address in [
            "169.254.169.254",
            "168.63.129.16",
            "100.100.100.200",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "::",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2001:0:1:2:3:4:5601:5601",
        ] {
            assert!(!goes(&guard, address), "{address}");
        }
    }

    #[test]
    fn private_addresses_are_reached_only_by_who_may_in_any_disguise() {
        for address in [
            "10.0.0.1",
            "10.96.0.1",
            "172.16.0.1",
            "192.168.1.5",
            "100.64.0.1",
            "198.18.0.1",
            "fd12::1",
            "fec0::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::1",
        ] {
            assert!(!goes(&guard(Place::Public, &[]), address), "{address}");
            assert!(goes(&guard(Place::Private, &[]), address), "{address}");
        }
        for address in ["8.8.8.8", "2606:4700::1111", "100.128.0.1", "172.32.0.1"] {
            assert!(goes(&guard(Place::Public, &[]), address), "{address}");
        }
    }

    #[test]
    fn loopback_is_reached_only_where_all_is() {
        for address in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert!(!goes(&guard(Place::Private, &[]), address));
            assert!(goes(&guard(Place::Loopback, &[]), address));
            assert!(is_loopback(address.parse().unwrap()));
        }
    }

    #[test]
    fn a_listed_network_is_reached_and_its_neighbour_is_not() {
        let guard = guard(Place::Public, &["10.1.0.0/16", "fd12::/32"]);
        assert!(goes(&guard, "10.1.2.3"));
        assert!(goes(&guard, "::ffff:10.1.2.3"));
        assert!(goes(&guard, "fd12::1"));
        assert!(!goes(&guard, "10.2.0.1"));
        assert!(!goes(&guard, "fd13::1"));
    }

    #[tokio::test]
    async fn a_name_is_judged_by_what_it_resolves_to() {
        let name = || "localhost".parse().unwrap();
        let error = guard(Place::Private, &[])
            .resolve(name())
            .await
            .err()
            .unwrap();
        assert!(error.is::<Forbidden>(), "{error:?}");
        assert!(guard(Place::Loopback, &[]).resolve(name()).await.is_ok());
    }
}
