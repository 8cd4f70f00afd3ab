//! What a client is configured with: which hosts speak plain HTTP, which
//! certificate authorities are trusted besides the system's, and every bound.
//! Plain values; nothing here opens a connection.

use std::collections::BTreeMap;
use std::time::Duration;

use artifact::limits;

use crate::host::HostConfig;
use crate::private::Private;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The configuration of a [`crate::Client`]. Proxies come from the environment
/// (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), and are never used for loopback.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `host[:port]` of registries that speak plain HTTP, besides loopback.
    pub plain_http: Vec<String>,
    /// `host[:port]` on loopback that speak TLS after all.
    pub https: Vec<String>,
    /// PEM bundles of certificate authorities, trusted besides the system's.
    pub ca_bundles: Vec<Vec<u8>>,
    /// What is known of single registries, by `host[:port]` as images name them.
    pub hosts: BTreeMap<String, HostConfig>,
    /// Which private networks may be contacted.
    pub private: Private,
    /// How long an exchange may take.
    pub timeouts: Timeouts,
    /// How much an exchange may bring.
    pub limits: Limits,
}

/// How long each step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To resolve a name, connect and shake hands.
    pub connect: Duration,
    /// Between two reads of one body: a registry that stalls is cut off early.
    pub read: Duration,
    /// For one whole `resolve`, authentication included.
    pub resolve: Duration,
    /// For one whole `pull`: what drips below the read timeout ends here.
    pub pull: Duration,
    /// For one whole `push` or `attach_bundle`.
    pub push: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(15),
            resolve: Duration::from_secs(30),
            pull: Duration::from_secs(120),
            push: Duration::from_secs(300),
        }
    }
}

/// How much one exchange may bring. Bytes unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// An image manifest: one config and one layer need a few hundred bytes.
    pub manifest: usize,
    /// One page of a referrers list, or the fallback index.
    pub index: usize,
    /// A config blob: it lists the imports and exports of a component.
    pub config: usize,
    /// The component itself.
    pub layer: usize,
    /// One signature bundle.
    pub bundle: usize,
    /// Bundles collected per image (a count).
    pub bundles: usize,
    /// Referrer manifests looked at per image (a count).
    pub referrers: usize,
    /// Pages followed of one referrers list (a count).
    pub pages: usize,
    /// The reply of a token server.
    pub token: usize,
    /// The body of an error, of which only the code is kept.
    pub error_body: usize,
    /// Redirects followed per exchange (a count).
    pub redirects: usize,
    /// Pulls held in memory at the same time (a count); further ones wait.
    pub concurrent_pulls: usize,
    /// Of these, pulls from one registry.
    pub concurrent_pulls_per_registry: usize,
    /// Questions under way at the same time (a count): tags that are resolved
    /// and signatures that are looked up.
    pub concurrent_questions: usize,
    /// Of these, questions to one registry.
    pub concurrent_questions_per_registry: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest: limits::MANIFEST_MAX,
            index: MIB,
            config: limits::CONFIG_MAX,
            layer: limits::WASM_MAX,
            bundle: limits::BUNDLE_MAX,
            bundles: limits::BUNDLES_MAX,
            referrers: 32,
            pages: 16,
            token: 64 * KIB,
            error_body: 8 * KIB,
            redirects: 5,
            concurrent_pulls: 8,
            concurrent_pulls_per_registry: 4,
            concurrent_questions: 32,
            concurrent_questions_per_registry: 8,
        }
    }
}
