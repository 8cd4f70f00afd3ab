//! Ports, one or a range. Used by [`super`].

use std::fmt;
use std::str::FromStr;

use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One port or a range of them, `443` or `8000-8099`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    first: u16,
    last: u16,
}

/// Why a text is no port or range of ports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no port; write a number from 1 to 65535, or a range such as `8000-8099`")]
pub struct InvalidPorts(pub String);

impl Ports {
    /// Every port: what a policy means that names none.
    pub const ANY: Self = Self {
        first: 1,
        last: u16::MAX,
    };

    /// One port. 0 matches no connection.
    #[must_use]
    pub const fn one(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }

    /// From `first` to `last`, both included.
    ///
    /// # Errors
    /// When `first` is 0 or above `last`.
    pub fn range(first: u16, last: u16) -> Result<Self, InvalidPorts> {
        if first == 0 || first > last {
            return Err(InvalidPorts(format!("{first}-{last}")));
        }
        Ok(Self { first, last })
    }

    /// The lowest one.
    #[must_use]
    pub fn first(self) -> u16 {
        self.first
    }

    /// The highest one.
    #[must_use]
    pub fn last(self) -> u16 {
        self.last
    }

    /// Whether the port is one of them.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Whether all of `other` are among them.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Those in both; none when they have none in common.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        let first = self.first.max(other.first);
        let last = self.last.min(other.last);
        (first <= last).then_some(Self { first, last })
    }
}

impl FromStr for Ports {
    type Err = InvalidPorts;

    fn from_str(text: &str) -> Result<Self, InvalidPorts> {
        let invalid = || InvalidPorts(text.to_owned());
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<u16>().ok()).flatten()
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let first = number(first).ok_or_else(invalid)?;
        let last = number(last).ok_or_else(invalid)?;
        Self::range(first, last).map_err(|_| invalid())
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl Serialize for Ports {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
