//! Names of hosts as a guest may ask for them.
//!
//! A name that was parsed has one spelling only: lower-case A-labels without a trailing dot,
//! or an IP address in canonical form. Nothing here resolves. Used by manifests, grants,
//! policies and the runtime's network.

mod pattern;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use pattern::HostPattern;

/// A DNS name in lower-case A-labels without trailing dot, or an IP address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Host);

/// Why a text is no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// No host at all, or longer than DNS allows.
    #[error("a host has 1 to {LENGTH_MAX} characters")]
    Length,
    /// Characters or an order of them that no host has.
    #[error(
        "`{0}` is no host; write letters, digits, `-` and `.`, without scheme, port, path or user; a name in another script as its `xn--` form"
    )]
    Syntax(String),
    /// Looks like an address, in a spelling that some programs read as another one.
    #[error("`{0}` is no IP address in its usual form; write it as in `10.0.0.7` or `2001:db8::7`")]
    Address(String),
    /// In a pattern: a dot at the end.
    #[error("`{0}` ends with a dot; leave it out, names are always absolute")]
    TrailingDot(String),
    /// `*` elsewhere than as the whole first label, or over a whole top-level domain.
    #[error(
        "`{0}` has a wildcard that is too wide or in the wrong place; write `*.` before at least two labels, as in `*.example.com`"
    )]
    Wildcard(String),
}

/// RFC 1035: a name has at most this many characters, without its final dot.
const LENGTH_MAX: usize = 253;
/// RFC 1035: a label has at most this many.
const LABEL_MAX: usize = 63;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Host {
    Name(String),
    Ip(IpAddr),
}

impl HostName {
    /// Reads a host as a guest may spell it: upper case and one trailing dot are dropped,
    /// brackets around an IPv6 address too.
    ///
    /// # Errors
    /// When it is empty, too long, or neither a name nor an address in its usual form.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        if text.is_empty() {
            return Err(InvalidHost::Length);
        }
        let bracketed = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(inner) = bracketed {
            let address = inner.parse::<Ipv6Addr>();
            let address = address.map_err(|_| InvalidHost::Address(text.to_owned()))?;
            return Ok(Self::from(IpAddr::V6(address)));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::from(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        check_name(&name, text)?;
        Ok(Self(Host::Name(name)))
    }

    /// The address, when it is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self.0 {
            Host::Name(_) => None,
            Host::Ip(address) => Some(address),
        }
    }

    /// The name, when it is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            Host::Name(name) => Some(name),
            Host::Ip(_) => None,
        }
    }
}

fn check_name(name: &str, text: &str) -> Result<(), InvalidHost> {
    if name.is_empty() || name.len() > LENGTH_MAX {
        return Err(InvalidHost::Length);
    }
    let fits = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if !name.split('.').all(fits) {
        return Err(InvalidHost::Syntax(text.to_owned()));
    }
    // `0x7f.1`, `127.1` and `2130706433` are all 127.0.0.1 to a C library.
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidHost::Address(text.to_owned()));
    }
    Ok(())
}

impl From<IpAddr> for HostName {
    /// An IPv4 address in IPv6 clothes (`::ffff:10.0.0.7`) is that IPv4 address.
    fn from(address: IpAddr) -> Self {
        Self(Host::Ip(address.to_canonical()))
    }
}

impl From<Ipv4Addr> for HostName {
    fn from(address: Ipv4Addr) -> Self {
        Self::from(IpAddr::V4(address))
    }
}

impl FromStr for HostName {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        Self::parse(text)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Host::Name(name) => f.write_str(name),
            Host::Ip(address) => address.fmt(f),
        }
    }
}

impl Serialize for HostName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
