//! The HTTP clients of one set of certificate authorities: one for each kind of
//! hop, because what a name may resolve to is a property of the client.
//! `transport` chooses among them.

use crate::address::Guard;
use crate::config::Config;
use crate::error::Error;
use crate::private::Guards;

/// HTTP clients that follow no redirect by themselves.
#[derive(Debug)]
pub(super) struct Clients {
    /// For this machine: never through a proxy.
    pub(super) loopback: reqwest::Client,
    /// For hosts that may be anywhere.
    pub(super) near: reqwest::Client,
    /// For all others.
    pub(super) far: reqwest::Client,
}

impl Clients {
    /// Clients that trust the system's authorities, those of `config`, and `more`.
    pub(super) fn new(config: &Config, guards: &Guards, more: &[Vec<u8>]) -> Result<Self, Error> {
        let mut authorities = Vec::new();
        for bundle in config.ca_bundles.iter().chain(more) {
            let parsed = reqwest::Certificate::from_pem_bundle(bundle).map_err(|source| {
                Error::Misconfigured {
                    reason: "a certificate authority bundle is not PEM".to_owned(),
                    source: Some(source),
                }
            })?;
            if parsed.is_empty() {
                return Err(Error::Misconfigured {
                    reason: "a certificate authority bundle holds no certificate".to_owned(),
                    source: None,
                });
            }
            authorities.extend(parsed);
        }
        let builder = |guard: &Guard| {
            reqwest::Client::builder()
                .user_agent(concat!("lighterman/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .connect_timeout(config.timeouts.connect)
                .read_timeout(config.timeouts.read)
                .dns_resolver(guard.clone())
                .tls_certs_merge(authorities.clone())
        };
        let built = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|source| Error::Misconfigured {
                reason: "TLS cannot be set up; are the system's certificate authorities installed?"
                    .to_owned(),
                source: Some(source),
            })
        };
        Ok(Self {
            loopback: built(builder(&guards.near).no_proxy())?,
            near: built(builder(&guards.near))?,
            far: built(builder(&guards.far))?,
        })
    }
}
