//! One HTTP exchange with every bound on it: redirects judged hop by hop,
//! credentials kept at the host they are for, addresses judged after
//! resolution, and bodies counted while they are read. It knows no OCI;
//! `auth` and `repository` send through it.

mod answer;
mod clients;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use reqwest::Url;

use crate::config::Config;
use crate::endpoint::{self, PlainHttp};
use crate::error::{Error, Outage, RedirectRefusal};
use crate::private::Guards;
use crate::rest::{Failed, Rests};

pub(crate) use answer::Answer;
use answer::failed;
use clients::Clients;

/// Sends exchanges. Cheap to share: connections are pooled per host.
#[derive(Debug)]
pub(crate) struct Transport {
    clients: Clients,
    /// For hosts with certificate authorities of their own.
    of_hosts: BTreeMap<String, Clients>,
    guards: Guards,
    rests: Rests,
    plain: PlainHttp,
    redirects: usize,
    error_body: usize,
}

/// A request, before it is judged and sent.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) accept: Option<&'static str>,
    pub(crate) content_type: Option<String>,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) body: Option<Bytes>,
    /// The host that pointed here, when it is not the one an image names.
    pub(crate) pointed_by: Option<Url>,
    pub(crate) follow_redirects: bool,
}

impl Exchange {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            follow_redirects: method == Method::GET || method == Method::HEAD,
            method,
            url,
            accept: None,
            content_type: None,
            authorization: None,
            body: None,
            pointed_by: None,
        }
    }

    /// One request of this exchange, to where it got to.
    fn request(
        &self,
        client: &reqwest::Client,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> reqwest::RequestBuilder {
        let mut request = client.request(self.method.clone(), url.clone());
        if let Some(accept) = self.accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(content_type) = &self.content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        request
    }
}

impl Transport {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let plain = PlainHttp::new(&config.plain_http, &config.https, &config.hosts);
        let guards = Guards::new(config);
        let mut of_hosts = BTreeMap::new();
        for (host, bundles) in authorities(config, &plain) {
            of_hosts.insert(host, Clients::new(config, &guards, &bundles)?);
        }
        Ok(Self {
            clients: Clients::new(config, &guards, &[])?,
            of_hosts,
            guards,
            rests: Rests::default(),
            plain,
            redirects: config.limits.redirects,
            error_body: config.limits.error_body,
        })
    }

    pub(crate) fn plain(&self) -> &PlainHttp {
        &self.plain
    }

    pub(crate) fn rests(&self) -> &Rests {
        &self.rests
    }

    /// Sends an exchange and follows its redirects, each judged before it is
    /// contacted. Any status is an answer.
    pub(crate) async fn send(&self, exchange: Exchange, registry: &str) -> Result<Answer, Error> {
        let home = exchange.url.clone();
        let mut url = exchange.url.clone();
        let mut pointed_by = exchange.pointed_by.clone();
        let mut hops = 0;
        loop {
            // Credentials are for one origin: blob stores and attackers that a
            // redirect leads to never see them.
            let authorization = exchange
                .authorization
                .as_ref()
                .filter(|_| url.origin() == home.origin());
            let client = self.client_for(&url, pointed_by.as_ref())?;
            let host = endpoint::authority(&url);
            self.rests.host(&host, registry)?;
            let response = match exchange.request(client, &url, authorization).send().await {
                Ok(response) => response,
                Err(source) => return Err(self.gone_wrong(source, &host, registry)),
            };
            self.rests.answered(&host);
            let status = response.status();
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                return Ok(Answer {
                    registry: registry.to_owned(),
                    response,
                    error_body: self.error_body,
                });
            }
            let refused = |refusal| Error::RedirectRefused {
                registry: registry.to_owned(),
                refusal,
            };
            if !exchange.follow_redirects {
                return Err(refused(RedirectRefusal::NotRedirectable));
            }
            hops += 1;
            if hops > self.redirects {
                return Err(refused(RedirectRefusal::TooMany));
            }
            let next = self.next_hop(&url, &response).map_err(refused)?;
            // What was reached through another host stays "elsewhere", even
            // when it redirects within itself.
            if next.origin() != url.origin() && pointed_by.is_none() {
                pointed_by = Some(url);
            }
            url = next;
        }
    }

    /// What a failure to send is, taken down for those who come after.
    fn gone_wrong(&self, source: reqwest::Error, host: &str, registry: &str) -> Error {
        let how = if source.is_connect() {
            Failed::ToConnect
        } else {
            Failed::ToAnswer
        };
        match failed(source, registry) {
            Error::Unreachable {
                registry, source, ..
            } => Error::Unreachable {
                retry_after: self.rests.failed(host, how, Outage::Unreachable),
                registry,
                source,
            },
            error @ Error::Timeout { .. } => {
                self.rests.failed(host, how, Outage::Timeout);
                error
            }
            error => error,
        }
    }

    /// Where a redirect leads, if that is a place to go.
    fn next_hop(&self, from: &Url, response: &reqwest::Response) -> Result<Url, RedirectRefusal> {
        let next = response
            .headers()
            .get(LOCATION)
            .and_then(|location| from.join(location.to_str().ok()?).ok())
            .filter(|next| matches!(next.scheme(), "http" | "https"))
            .ok_or(RedirectRefusal::NotHttp)?;
        if from.scheme() == "https" && next.scheme() == "http" {
            return Err(RedirectRefusal::LeavesHttps);
        }
        match self.client_for(&next, Some(from)) {
            Ok(_) => Ok(next),
            Err(Error::PlainHttpRefused { .. }) => Err(RedirectRefusal::PlainHttp),
            Err(Error::PrivateRefused { .. }) => Err(RedirectRefusal::Private),
            Err(_) => Err(RedirectRefusal::Address),
        }
    }

    /// Judges a URL by its text and chooses the client whose resolver judges
    /// what its name resolves to.
    fn client_for(&self, url: &Url, pointed_by: Option<&Url>) -> Result<&reqwest::Client, Error> {
        let host = || endpoint::authority(url);
        match url.scheme() {
            "https" => {}
            "http" if self.plain.allows(url) => {}
            "http" => return Err(Error::PlainHttpRefused { host: host() }),
            _ => return Err(Error::AddressRefused { host: host() }),
        }
        // A host on this machine may point to this machine; no other one may.
        let pointed = pointed_by
            .is_some_and(|from| from.origin() != url.origin() && !endpoint::is_loopback(from));
        let near = self.guards.is_near(url, pointed);
        let (guard, loopback) = (self.guards.of(near), endpoint::is_loopback(url));
        match endpoint::literal_address(url) {
            Some(literal) => guard.judge(&host(), literal)?,
            // By name this machine is meant, whatever the name resolves to.
            None if loopback => guard.judge(&host(), Ipv4Addr::LOCALHOST.into())?,
            // Its resolver judges.
            None => {}
        }
        let clients = self.of_hosts.get(&host()).unwrap_or(&self.clients);
        Ok(match (loopback, near) {
            (true, _) => &clients.loopback,
            (false, true) => &clients.near,
            (false, false) => &clients.far,
        })
    }
}

/// The certificate authorities of single hosts: of registries, and of the mirrors
/// that stand in for them.
fn authorities(config: &Config, plain: &PlainHttp) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut of_hosts: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for (name, host) in &config.hosts {
        let mirrors = host.mirrors.iter().map(|mirror| mirror.url().clone());
        for url in mirrors.chain(endpoint::base(name, plain)) {
            if !host.ca_bundles.is_empty() {
                let bundles = of_hosts.entry(endpoint::authority(&url)).or_default();
                bundles.extend_from_slice(&host.ca_bundles);
            }
        }
    }
    of_hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::private::Private;

    fn goes(from: &str, to: &str) -> bool {
        goes_with(Private::Any, from, to)
    }

    fn goes_with(private: Private, from: &str, to: &str) -> bool {
        let config = Config {
            private,
            ..Config::default()
        };
        let transport = Transport::new(&config).unwrap();
        let (from, to) = (Url::parse(from).unwrap(), Url::parse(to).unwrap());
        transport.client_for(&to, Some(&from)).is_ok()
    }

    #[test]
    fn another_host_never_points_to_this_machine() {
        for to in [
            "http://127.0.0.1:5000/",
            "https://localhost/",
            "https://a.localhost/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
        ] {
            assert!(!goes("https://registry.example/", to), "{to}");
            assert!(goes("http://127.0.0.1:5001/", to), "{to}");
        }
    }

    #[test]
    fn another_host_may_point_to_a_blob_store() {
        assert!(goes("https://registry.example/", "https://blobs.example/"));
        assert!(goes("https://registry.example/", "https://10.0.0.9/"));
        assert!(!goes("https://registry.example/", "http://blobs.example/"));
        assert!(!goes(
            "https://registry.example/",
            "https://169.254.169.254/"
        ));
    }

    #[test]
    fn private_networks_are_closed_to_all_but_what_is_listed() {
        let listed = || {
            let listed = ["registry.lan", "10.1.0.0/16", "127.0.0.1:5000"];
            Private::Listed(listed.map(|text| text.parse().unwrap()).into())
        };
        let start = "https://registry.example/";
        for to in [
            "https://registry.lan/",
            "https://10.1.2.3/",
            "http://127.0.0.1:5000/",
            "https://blobs.example/",
        ] {
            assert!(goes_with(listed(), start, to), "{to}");
        }
        for to in [
            "https://10.96.0.1/",
            "https://10.2.0.1:6443/",
            "https://[::ffff:10.96.0.1]/",
            "http://127.0.0.1:8080/",
            "https://localhost/",
            "https://169.254.169.254/",
        ] {
            assert!(!goes_with(listed(), start, to), "{to}");
            // Not even when an image names it.
            assert!(!goes_with(listed(), to, to), "{to}");
        }
    }
}
