//! Patterns over hosts. [`HostPattern::covers`] is exact.

use std::fmt;
use std::str::FromStr;

use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Host, HostName, InvalidHost, check_name};

/// One host, or with `*.example.com` every name of one or more labels before `.example.com`,
/// or with `*` any host. Only a policy can mean any: see [`HostPattern::is_any`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPattern(Pattern);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Pattern {
    Exact(HostName),
    /// Without the leading `*.`.
    Below(String),
    Any,
}

impl HostPattern {
    /// The pattern that matches this host alone.
    #[must_use]
    pub fn exact(host: HostName) -> Self {
        Self(Pattern::Exact(host))
    }

    /// The one host it matches; none for a wildcard.
    #[must_use]
    pub fn as_exact(&self) -> Option<&HostName> {
        match &self.0 {
            Pattern::Exact(host) => Some(host),
            Pattern::Below(_) | Pattern::Any => None,
        }
    }

    /// Whether it is `*`, which is for ceilings: nobody asks for it or grants it.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0 == Pattern::Any
    }

    /// Whether the pattern matches the host.
    #[must_use]
    pub fn matches(&self, host: &HostName) -> bool {
        match (&self.0, &host.0) {
            (Pattern::Any, _) => true,
            (Pattern::Exact(exact), _) => exact == host,
            (Pattern::Below(suffix), Host::Name(name)) => is_below(name, suffix),
            (Pattern::Below(_), Host::Ip(_)) => false,
        }
    }

    /// Whether everything that `other` matches is matched by `self` as well. Exact.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Pattern::Any, _) => true,
            (_, Pattern::Any) => false,
            (_, Pattern::Exact(host)) => self.matches(host),
            (Pattern::Exact(_), Pattern::Below(_)) => false,
            (Pattern::Below(suffix), Pattern::Below(longer)) => {
                suffix == longer || is_below(longer, suffix)
            }
        }
    }
}

/// Whether `name` is one or more labels before `.suffix`.
fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix)
        .and_then(|labels| labels.strip_suffix('.'))
        .is_some_and(|labels| !labels.is_empty())
}

impl FromStr for HostPattern {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        if text == "*" {
            return Ok(Self(Pattern::Any));
        }
        if text.ends_with('.') {
            return Err(InvalidHost::TrailingDot(text.to_owned()));
        }
        if !text.contains('*') {
            return HostName::parse(text).map(Self::exact);
        }
        let wildcard = || InvalidHost::Wildcard(text.to_owned());
        let suffix = text.strip_prefix("*.").ok_or_else(wildcard)?;
        if suffix.contains('*') || !suffix.contains('.') {
            return Err(wildcard());
        }
        let suffix = suffix.to_ascii_lowercase();
        check_name(&suffix, text)?;
        Ok(Self(Pattern::Below(suffix)))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Pattern::Exact(host) => host.fmt(f),
            Pattern::Below(suffix) => write!(f, "*.{suffix}"),
            Pattern::Any => f.write_str("*"),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
