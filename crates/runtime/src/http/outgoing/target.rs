//! What a request is aimed at: scheme, host and port, read once and judged as read.
//!
//! Everything a reader could take for another host is refused: user information, other
//! spellings of addresses, ports that are none. Pure. Used for the request itself and, by
//! `capability::network::client`, for its connection.

use capability::{Destination, HostName, Protocol};
use http::Uri;
use http::uri::{Authority, Scheme};

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    host: HostName,
    port: u16,
    protocol: Protocol,
}

/// Why a URI is no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetError {
    /// Neither `http` nor `https`.
    Scheme,
    /// No host, no single spelling of one, or more than a host and a port.
    Authority,
    /// Does not begin with `/`.
    Path,
}

impl Target {
    /// Reads scheme, host and port.
    pub(crate) fn parse(uri: &Uri) -> Result<Target, TargetError> {
        let protocol = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => Protocol::Https,
            Some(scheme) if *scheme == Scheme::HTTP => Protocol::Http,
            _ => return Err(TargetError::Scheme),
        };
        let authority = uri.authority().ok_or(TargetError::Authority)?;
        let host = HostName::parse(authority.host()).map_err(|_| TargetError::Authority)?;
        let port = authority.port_u16();
        // User information, an empty or overlong port, `::ffff:10.0.0.1` for `10.0.0.1`: all
        // that is not spelled as it was understood.
        let plain = |text: &str| text.trim_end_matches('.').to_ascii_lowercase();
        let understood = match port {
            Some(port) => format!("{}:{port}", spelled(&host)),
            None => spelled(&host),
        };
        let written = match authority.as_str().rsplit_once(':') {
            Some((host, digits)) if port.is_some() => format!("{}:{digits}", plain(host)),
            _ => plain(authority.as_str()),
        };
        if understood != written || port == Some(0) {
            return Err(TargetError::Authority);
        }
        if !uri.path().starts_with('/') {
            return Err(TargetError::Path);
        }
        let default = protocol.default_ports().map_or(0, |ports| ports.first());
        Ok(Target {
            host,
            port: port.unwrap_or(default),
            protocol,
        })
    }

    /// What rules are asked about.
    pub(crate) fn destination(&self) -> Destination {
        Destination {
            host: self.host.clone(),
            port: self.port,
            protocol: self.protocol,
        }
    }

    /// Whether it is reached over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.protocol == Protocol::Https
    }

    /// Host and port as the server is to be told, made anew: a usual port is left out.
    pub(crate) fn authority(&self) -> Option<Authority> {
        let host = spelled(&self.host);
        let usual = self.protocol.default_ports();
        let text = match usual.is_some_and(|usual| usual.contains(self.port)) {
            true => host,
            false => format!("{host}:{}", self.port),
        };
        Authority::try_from(text).ok()
    }

    /// Its scheme.
    pub(crate) fn scheme(&self) -> Scheme {
        match self.is_tls() {
            true => Scheme::HTTPS,
            false => Scheme::HTTP,
        }
    }
}

/// A host as it stands in an authority.
fn spelled(host: &HostName) -> String {
    match host.address() {
        Some(address) if address.is_ipv6() => format!("[{host}]"),
        _ => host.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(uri: &str) -> Result<Target, TargetError> {
        Target::parse(&uri.parse().unwrap())
    }

    #[test]
    fn a_target_is_scheme_host_and_port() {
        for (uri, expected, authority) in [
            (
                "https://api.example.com/",
                "HTTPS api.example.com:443",
                "api.example.com",
            ),
            (
                "https://API.Example.Com/x?y",
                "HTTPS api.example.com:443",
                "api.example.com",
            ),
            (
                "https://api.example.com.:443/",
                "HTTPS api.example.com:443",
                "api.example.com",
            ),
            (
                "https://api.example.com:8443/",
                "HTTPS api.example.com:8443",
                "api.example.com:8443",
            ),
            (
                "http://api.example.com/",
                "HTTP api.example.com:80",
                "api.example.com",
            ),
            (
                "http://10.0.0.7:8080/",
                "HTTP 10.0.0.7:8080",
                "10.0.0.7:8080",
            ),
            (
                "http://[2001:db8::7]:8080/",
                "HTTP [2001:db8::7]:8080",
                "[2001:db8::7]:8080",
            ),
            (
                "http://[2001:DB8::7]/",
                "HTTP [2001:db8::7]:80",
                "[2001:db8::7]",
            ),
        ] {
            let target = parse(uri).unwrap();
            assert_eq!(target.destination().to_string(), expected, "{uri}");
            assert_eq!(target.authority().unwrap().as_str(), authority, "{uri}");
        }
    }

    #[test]
    fn what_could_be_read_as_another_host_is_no_target() {
        for uri in [
            "https://good.example@evil.example/",
            "https://user:password@good.example/",
            "https://@good.example/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://127.0.0.01/",
            "http://[::ffff:127.0.0.1]/",
            "http://[0:0:0:0:0:0:0:1]/",
            "http://[2001:0db8::7]/",
            "http://good.example:0/",
            "http://good.example:080/",
            "http://good.example:/",
            "http://good..example/",
            "http://good_example.com/",
            "http://-good.example/",
        ] {
            assert_eq!(parse(uri), Err(TargetError::Authority), "{uri}");
        }
        assert_eq!(parse("ftp://good.example/"), Err(TargetError::Scheme));
        assert_eq!(parse("/just/a/path"), Err(TargetError::Scheme));
    }

    proptest! {
        #[test]
        fn what_is_understood_is_what_is_sent(text in "[a-zA-Z0-9.:@\\[\\]-]{1,24}") {
            if let Ok(uri) = format!("https://{text}/").parse::<Uri>()
                && let Ok(target) = Target::parse(&uri)
            {
                let authority = target.authority().unwrap();
                let again = Target::parse(&format!("https://{authority}/").parse().unwrap());
                prop_assert_eq!(again, Ok(target));
            }
        }
    }
}
