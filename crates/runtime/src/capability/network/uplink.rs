//! The way out that all components of a runtime share: names, addresses, roots of trust.
//!
//! Knows no component. Made with the runtime; what costs something is made at its first use.

use super::addresses::Addresses;
use super::names::Names;
use super::settings::Settings;
use super::tls;
use rustls::ClientConfig;
use std::sync::OnceLock;

/// What is the same for every component.
#[derive(Debug)]
pub(crate) struct Uplink {
    pub(crate) settings: Settings,
    pub(crate) addresses: Addresses,
    pub(crate) names: Names,
    tls: OnceLock<Option<ClientConfig>>,
}

impl Uplink {
    pub(crate) fn new(settings: Settings) -> Uplink {
        Uplink {
            addresses: Addresses::new(settings.networks.clone()),
            names: Names::new(&settings),
            tls: OnceLock::new(),
            settings,
        }
    }

    /// What TLS connections trust and offer; none when TLS can not be set up.
    pub(crate) fn tls(&self) -> Option<&ClientConfig> {
        self.tls
            .get_or_init(|| {
                tls::client(&self.settings.roots)
                    .inspect_err(|error| tracing::error!(%error, "TLS can not be set up"))
                    .ok()
            })
            .as_ref()
    }
}
