//! Interfaces by name and version: which export of a component is meant by `acme:math/tools@1`.
//!
//! Pure text. A version that is asked for means every later one that keeps its promises, as semver
//! has it: `@1` is any 1.x, `@0.2` any 0.2.x. Called by whoever offers a component's exports.

use std::fmt;
use std::str::FromStr;

use semver::{Version, VersionReq};

/// Characters of a name and its version.
const LENGTH_MAX: usize = 256;

/// An interface that somebody wants, as they write it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wanted {
    name: String,
    /// The version behind the `@`, in parts.
    version: Option<String>,
}

/// What is written is no interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` names no interface; write it as a component exports it, for example acme:math/tools@1"
)]
pub struct InvalidInterface {
    text: String,
}

impl Wanted {
    /// The one of these exports that is meant: of several versions that fit, the newest.
    #[must_use]
    pub fn among<'a>(&self, exports: &'a [String]) -> Option<&'a str> {
        let fitting = exports.iter().filter_map(|export| {
            let (name, version) = split(export);
            if name != self.name {
                return None;
            }
            match (&self.version, version) {
                (None, None) => Some((None, export)),
                (Some(wanted), Some(version)) => {
                    let version = Version::parse(version).ok()?;
                    let wanted = VersionReq::parse(&format!("^{wanted}")).ok()?;
                    wanted.matches(&version).then_some((Some(version), export))
                }
                _ => None,
            }
        });
        let newest = fitting.max_by(|(one, _), (other, _)| one.cmp(other));
        newest.map(|(_, export)| export.as_str())
    }
}

impl FromStr for Wanted {
    type Err = InvalidInterface;

    fn from_str(text: &str) -> Result<Wanted, InvalidInterface> {
        let invalid = || InvalidInterface {
            text: text.chars().take(LENGTH_MAX).collect(),
        };
        let (name, version) = split(text);
        let legal = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let (namespace, rest) = name.split_once(':').ok_or_else(invalid)?;
        let (package, interface) = rest.split_once('/').ok_or_else(invalid)?;
        let named = [namespace, package, interface].into_iter().all(legal);
        let number = |part: &str| part.parse::<u32>().is_ok() && !part.starts_with('+');
        let versioned = version.is_none_or(|version| {
            let is_part = version.split('.').count() < 3 && version.split('.').all(number);
            is_part || Version::parse(version).is_ok()
        });
        if text.len() > LENGTH_MAX || !named || !versioned {
            return Err(invalid());
        }
        Ok(Wanted {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    }
}
