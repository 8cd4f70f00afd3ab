//! Where a registry is: the URL behind the name in an image reference. Docker
//! Hub's two names, and which hosts may be spoken to in plain HTTP. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use reqwest::Url;

use crate::address;
use crate::host::HostConfig;

/// Where Docker Hub answers to the distribution specification.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// The hosts that may be spoken to in plain HTTP.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlainHttp {
    also: BTreeSet<String>,
    except: BTreeSet<String>,
}

impl PlainHttp {
    /// Loopback, `also` these hosts and mirrors that are written so, `except` those.
    pub(crate) fn new(
        also: &[String],
        except: &[String],
        hosts: &BTreeMap<String, HostConfig>,
    ) -> Self {
        let lower = |host: &String| host.to_ascii_lowercase();
        let mirrors = hosts.values().flat_map(|host| &host.mirrors);
        let plain = mirrors.filter(|mirror| mirror.url().scheme() == "http");
        Self {
            also: also
                .iter()
                .map(lower)
                .chain(plain.map(|mirror| authority(mirror.url())))
                .collect(),
            except: except.iter().map(lower).collect(),
        }
    }

    /// Whether a URL may be spoken to in plain HTTP.
    pub(crate) fn allows(&self, url: &Url) -> bool {
        let authority = authority(url);
        !self.except.contains(&authority) && (is_loopback(url) || self.also.contains(&authority))
    }
}

/// The base URL of a registry as an image reference names it.
pub(crate) fn base(registry: &str, plain: &PlainHttp) -> Option<Url> {
    let host = match registry {
        "docker.io" | "index.docker.io" => DOCKER_HUB,
        other => other,
    };
    let url = Url::parse(&format!("https://{host}/")).ok()?;
    // A name with a path, a user or a query in it is not a registry.
    if url.path() != "/" || url.query().is_some() || !url.username().is_empty() {
        return None;
    }
    let insecure = Url::parse(&format!("http://{host}/")).ok()?;
    Some(if plain.allows(&insecure) {
        insecure
    } else {
        url
    })
}

/// `host[:port]` of a URL, without the port that its scheme implies.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The address, when the host of a URL is one and not a name.
pub(crate) fn literal_address(url: &Url) -> Option<IpAddr> {
    url.host_str()?
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

/// Whether a URL is of this machine by its text alone.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match literal_address(url) {
        Some(address) => address::is_loopback(address),
        None => url
            .host_str()
            .is_some_and(|host| host == "localhost" || host.ends_with(".localhost")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(registry: &str, plain: &[&str]) -> String {
        let plain: Vec<String> = plain.iter().map(|host| (*host).to_owned()).collect();
        base(
            registry,
            &PlainHttp::new(&plain, &["localhost:5443".to_owned()], &BTreeMap::new()),
        )
        .unwrap()
        .to_string()
    }

    #[test]
    fn docker_hub_is_spoken_to_at_its_registry_host() {
        assert_eq!(url("docker.io", &[]), "https://registry-1.docker.io/");
        assert_eq!(url("index.docker.io", &[]), "https://registry-1.docker.io/");
    }

    #[test]
    fn only_loopback_and_configured_hosts_are_plain_http() {
        assert_eq!(url("ghcr.io", &[]), "https://ghcr.io/");
        assert_eq!(url("127.0.0.1:5000", &[]), "http://127.0.0.1:5000/");
        assert_eq!(url("localhost:5000", &[]), "http://localhost:5000/");
        assert_eq!(url("localhost:5443", &[]), "https://localhost:5443/");
        assert_eq!(url("[::1]:5000", &[]), "http://[::1]:5000/");
        assert_eq!(
            url("registry.lan:5000", &["registry.lan:5000"]),
            "http://registry.lan:5000/"
        );
        assert_eq!(
            url("registry.lan:5001", &["registry.lan:5000"]),
            "https://registry.lan:5001/"
        );
    }

    #[test]
    fn a_registry_that_hides_a_path_or_a_user_is_none() {
        for name in ["host/path", "user@host", "host?query"] {
            assert!(base(name, &PlainHttp::default()).is_none(), "{name}");
        }
    }
}
