//! Which private networks may be contacted for an image. A tenant chooses image
//! names, and a registry chooses redirects and token servers; none of them may
//! steer whoever pulls into the network it stands in. Pure; `transport` asks.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use reqwest::Url;

use crate::address::{Guard, Place};
use crate::config::Config;
use crate::endpoint;

/// Who may lead into private networks and to this machine.
#[derive(Clone, Debug, Default)]
pub enum Private {
    /// Whatever an image names: on a developer's own machine nobody else names
    /// images. What one host points to on another is never on this machine.
    #[default]
    Any,
    /// Only what the platform lists.
    Listed(Vec<PrivateHost>),
}

/// A place in a private network that the platform lets images be pulled from:
/// `HOST`, `HOST:PORT`, an address, or a range of addresses (`10.1.0.0/16`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateHost(Listed);

/// Text that is none of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither HOST, HOST:PORT, an IP address nor a range such as 10.1.0.0/16")]
pub struct PrivateHostError(String);

/// A range of addresses, also of one address only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    /// Leading bits that must agree.
    prefix: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Listed {
    /// As URLs have it: lower case, with a port or for all ports.
    Host(String),
    Network(Network),
}

/// The guards of one configuration, for the two kinds of hop.
#[derive(Clone, Debug)]
pub(crate) struct Guards {
    /// Hosts that may be anywhere; `None`: all that no other host pointed to.
    hosts: Option<Vec<String>>,
    /// For who may lead into private networks.
    pub(crate) near: Guard,
    /// For everybody else.
    pub(crate) far: Guard,
}

impl Guards {
    /// What the platform lists, and the mirrors that it has configured.
    pub(crate) fn new(config: &Config) -> Self {
        let mirrors = config.hosts.values().flat_map(|host| &host.mirrors);
        let everywhere = Guard {
            reach: Place::Loopback,
            networks: Arc::default(),
        };
        match &config.private {
            Private::Any => Self {
                hosts: None,
                near: everywhere,
                far: Guard {
                    reach: Place::Private,
                    networks: Arc::default(),
                },
            },
            Private::Listed(listed) => {
                let mut hosts: Vec<String> = mirrors.map(|mirror| full(mirror.url())).collect();
                let mut networks = Vec::new();
                for PrivateHost(listed) in listed {
                    match listed {
                        Listed::Host(host) => hosts.push(host.clone()),
                        Listed::Network(network) => networks.push(*network),
                    }
                }
                Self {
                    hosts: Some(hosts),
                    near: everywhere,
                    far: Guard {
                        reach: Place::Public,
                        networks: networks.into(),
                    },
                }
            }
        }
    }

    pub(crate) fn of(&self, near: bool) -> &Guard {
        if near { &self.near } else { &self.far }
    }

    /// Whether this hop may lead anywhere. `pointed` says that another host,
    /// which is not on this machine, chose the URL.
    pub(crate) fn is_near(&self, url: &Url, pointed: bool) -> bool {
        match &self.hosts {
            None => !pointed,
            Some(hosts) => {
                let host = url.host_str().unwrap_or_default();
                // Another program may listen on another port of a listed host.
                let full = full(url);
                hosts
                    .iter()
                    .any(|listed| *listed == host || *listed == full)
            }
        }
    }
}

impl FromStr for PrivateHost {
    type Err = PrivateHostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || PrivateHostError(text.to_owned());
        if text.contains('/') || text.parse::<IpAddr>().is_ok() {
            return text
                .parse()
                .map(|network| Self(Listed::Network(network)))
                .map_err(|()| wrong());
        }
        // As an image reference would name it: nothing but host and port.
        let url = Url::parse(&format!("https://{text}/")).map_err(|_| wrong())?;
        let plain = url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.host_str().is_some();
        if !plain || text.contains('*') {
            return Err(wrong());
        }
        // `https` leaves its own port out of a URL; here it says "only 443".
        let host = match (url.port(), text.ends_with(":443")) {
            (None, true) => format!("{}:443", url.host_str().unwrap_or_default()),
            _ => endpoint::authority(&url),
        };
        Ok(Self(Listed::Host(host)))
    }
}

/// Host and port of a URL, also when its scheme implies the port.
fn full(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{host}:{port}")
}

impl Network {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let differ = |left: u128, right: u128, bits: u32| {
            let ignored = bits.saturating_sub(u32::from(self.prefix));
            (left ^ right).checked_shr(ignored).unwrap_or_default() != 0
        };
        match (self.address, address) {
            (IpAddr::V4(left), IpAddr::V4(right)) => {
                !differ(u32::from(left).into(), u32::from(right).into(), u32::BITS)
            }
            (IpAddr::V6(left), IpAddr::V6(right)) => !differ(left.into(), right.into(), u128::BITS),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), |prefix| prefix.parse().map_err(|_| ()))?;
        if prefix > bits {
            return Err(());
        }
        Ok(Self { address, prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(listed: &[&str], url: &str) -> bool {
        let listed = listed.iter().map(|text| text.parse().unwrap()).collect();
        let guards = Guards::new(&Config {
            private: Private::Listed(listed),
            ..Config::default()
        });
        guards.is_near(&Url::parse(url).unwrap(), false)
    }

    #[test]
    fn a_host_is_listed_with_its_port_or_for_all_ports() {
        assert!(near(&["Registry.Lan"], "https://registry.lan/"));
        assert!(near(&["registry.lan"], "https://registry.lan:5000/"));
        assert!(near(&["registry.lan:5000"], "https://registry.lan:5000/"));
        assert!(!near(&["registry.lan:5000"], "https://registry.lan:6443/"));
        assert!(!near(&["registry.lan:5000"], "https://registry.lan/"));
        assert!(near(&["registry.lan:443"], "https://registry.lan/"));
        assert!(near(&["10.0.0.1:5000"], "https://10.0.0.1:5000/"));
        assert!(near(&["[fd12::1]:5000"], "https://[fd12::1]:5000/"));
        assert!(!near(&["lan"], "https://registry.lan/"));
    }

    #[test]
    fn text_that_lists_nothing_is_an_error() {
        for text in [
            "",
            "*.lan",
            "registry.lan/path",
            "https://registry.lan",
            "user@registry.lan",
            "10.0.0.0/33",
            "10.0.0/8",
            "registry.lan:port",
            "registry lan",
        ] {
            assert!(text.parse::<PrivateHost>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_holds_the_addresses_that_share_its_prefix() {
        let network = |text: &str| text.parse::<Network>().unwrap();
        let holds = |range: &str, address: &str| network(range).contains(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("0.0.0.0/0", "9.9.9.9"));
        assert!(!holds("0.0.0.0/0", "::1"));
        assert!(holds("10.1.2.3", "10.1.2.3"));
        assert!(!holds("10.1.2.3", "10.1.2.4"));
        assert!(holds("::/0", "fd00::1"));
        assert!(!holds("fd00::/16", "fe00::1"));
    }
}
