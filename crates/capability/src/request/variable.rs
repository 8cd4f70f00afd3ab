//! Names of environment variables that a manifest asks for.

use std::fmt;
use std::str::FromStr;

use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of an environment variable, or the beginning of one with a final `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VariablePattern {
    name: String,
    and_longer: bool,
}

/// Why a text is no pattern of variable names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no name of an environment variable; write 1 to 253 visible ASCII characters without `=`, and `*` only at the end, as in `APP_*`"
)]
pub struct InvalidVariable(pub String);

/// Kubernetes: the longest name of a variable.
const VARIABLE_MAX: usize = 253;

impl VariablePattern {
    /// Whether the pattern matches the name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.and_longer {
            true => name.starts_with(self.name.as_str()),
            false => name == self.name,
        }
    }

    /// Whether every name that `other` matches is matched by `self` as well. Exact.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self.and_longer, other.and_longer) {
            (false, true) => false,
            _ => self.matches(&other.name),
        }
    }
}

impl FromStr for VariablePattern {
    type Err = InvalidVariable;

    fn from_str(text: &str) -> Result<Self, InvalidVariable> {
        let (name, and_longer) = match text.strip_suffix('*') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let fits = name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'=' && byte != b'*');
        if !fits || text.is_empty() || text.len() > VARIABLE_MAX {
            return Err(InvalidVariable(text.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            and_longer,
        })
    }
}

impl fmt::Display for VariablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.and_longer {
            true => f.write_str("*"),
            false => Ok(()),
        }
    }
}

impl Serialize for VariablePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VariablePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
