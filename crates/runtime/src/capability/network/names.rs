//! Asks name servers for the addresses of a name: absolute names, and no others.
//!
//! A search path would make `api.example.com` a question about the pod `api` of a namespace
//! `com`. The servers are given by the caller; nothing is read from the machine. Knows no
//! component: who may ask for which name, and how often, `lookups` decides.

use super::settings::Settings;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
    ServerOrderingStrategy,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Addresses of one answer; what is beyond is no service but an attempt to fill memory.
const ANSWERS_MAX: usize = 16;
/// How long an answer may be used. A shorter life would make rebinding cheap, a longer one
/// keep a component on an address that is gone.
const TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(60);
/// For one try at one server; there are two.
const TRY: Duration = Duration::from_millis(1_500);
const TRIES: usize = 2;

/// What resolves names, made when the first one is asked for.
pub(crate) struct Names {
    servers: Vec<SocketAddr>,
    cluster_domain: Option<String>,
    resolver: OnceLock<Option<TokioResolver>>,
}

/// The addresses of a name.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) addresses: Arc<[IpAddr]>,
    pub(crate) until: Instant,
}

/// Why a name has no addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookupError {
    /// There is no such name, or it has no address.
    NotFound,
    /// Nobody answered in time.
    Timeout,
    /// A server failed or refused, or there is none.
    Failed,
    /// The component asks for too many names at once, or too fast.
    TooMany,
    /// A name of the cluster that is no service.
    NoService,
}

impl Names {
    pub(crate) fn new(settings: &Settings) -> Names {
        let domain = settings.cluster_domain.as_deref();
        let domain = domain.map(|domain| domain.trim_matches('.').to_ascii_lowercase());
        Names {
            servers: settings.name_servers.clone(),
            cluster_domain: domain.filter(|domain| !domain.is_empty()),
            resolver: OnceLock::new(),
        }
    }

    /// Asks for a name in lower case without a final dot.
    pub(crate) async fn ask(&self, name: &str) -> Result<Answer, LookupError> {
        let absolute = absolute(name, self.cluster_domain.as_deref())?;
        let mut absolute = Name::from_ascii(absolute).map_err(|_| LookupError::NotFound)?;
        absolute.set_fqdn(true);
        let resolver = self.resolver.get_or_init(|| self.resolver());
        let resolver = resolver.as_ref().ok_or(LookupError::Failed)?;
        let found = resolver
            .lookup_ip(absolute)
            .await
            .map_err(|error| reason(&error))?;
        let addresses: Arc<[IpAddr]> = found.iter().take(ANSWERS_MAX).collect();
        if addresses.is_empty() {
            return Err(LookupError::NotFound);
        }
        let now = Instant::now();
        let left = found.valid_until().saturating_duration_since(now);
        Ok(Answer {
            addresses,
            until: now + left.clamp(*TTL.start(), *TTL.end()),
        })
    }

    fn resolver(&self) -> Option<TokioResolver> {
        if self.servers.is_empty() {
            return None;
        }
        let server = |server: &SocketAddr| {
            let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
            (udp.port, tcp.port) = (server.port(), server.port());
            NameServerConfig::new(server.ip(), true, vec![udp, tcp])
        };
        let servers = self.servers.iter().map(server).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.ndots = 0;
        options.timeout = TRY;
        options.attempts = TRIES;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        // Each component keeps its own answers: what one asked for is nothing that another
        // could measure.
        options.cache_size = 0;
        builder
            .build()
            .inspect_err(|error| tracing::error!(%error, "names can not be resolved"))
            .ok()
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names")
            .field("servers", &self.servers)
            .field("cluster_domain", &self.cluster_domain)
            .finish_non_exhaustive()
    }
}

/// The name as it is asked for. Below the cluster's domain only services have names: those of
/// pods are addresses that a guest could choose.
fn absolute(name: &str, cluster_domain: Option<&str>) -> Result<String, LookupError> {
    let Some(domain) = cluster_domain else {
        return Ok(format!("{name}."));
    };
    // `svc` is no top-level domain, so nobody else can mean such a name.
    if name.ends_with(".svc") {
        return Ok(format!("{name}.{domain}."));
    }
    let inside = match name.strip_suffix(domain) {
        Some("") => Some(""),
        Some(labels) => labels.strip_suffix('.'),
        None => None,
    };
    match inside {
        Some(labels) if !labels.ends_with(".svc") => Err(LookupError::NoService),
        _ => Ok(format!("{name}.")),
    }
}

fn reason(error: &NetError) -> LookupError {
    match error {
        NetError::Timeout => LookupError::Timeout,
        error if error.is_no_records_found() => LookupError::NotFound,
        _ => LookupError::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_absolute_and_those_of_the_cluster_are_services() {
        for (name, expected) in [
            ("api.example.com", Ok("api.example.com.")),
            ("example.com", Ok("example.com.")),
            ("localhost", Ok("localhost.")),
            ("db.shop.svc", Ok("db.shop.svc.cluster.local.")),
            ("db-0.db.shop.svc", Ok("db-0.db.shop.svc.cluster.local.")),
            (
                "db.shop.svc.cluster.local",
                Ok("db.shop.svc.cluster.local."),
            ),
            (
                "10-0-0-7.shop.pod.cluster.local",
                Err(LookupError::NoService),
            ),
            ("svc.cluster.local", Err(LookupError::NoService)),
            ("cluster.local", Err(LookupError::NoService)),
            ("notcluster.local", Ok("notcluster.local.")),
            ("svc.example", Ok("svc.example.")),
        ] {
            let found = absolute(name, Some("cluster.local"));
            assert_eq!(found.as_deref(), expected.as_ref().copied(), "{name}");
        }
        assert_eq!(absolute("db.shop.svc", None).as_deref(), Ok("db.shop.svc."));
    }
}
