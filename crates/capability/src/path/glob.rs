//! Globs over guest paths.
//!
//! The grammar is small enough for [`PathGlob::covers`] to be exact: what is said to be
//! covered is, and what is not said to be is not.

use std::fmt;
use std::str::FromStr;

use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{GuestPath, InvalidPath};

/// A pattern over guest paths.
///
/// Every segment is literal, `*`, or a literal with one `*` in it, which stands for any number
/// of characters within the segment. `**` can only be the last segment: `/data/**` matches
/// `/data` itself and everything below.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathGlob {
    segments: Vec<Segment>,
    below: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Segment {
    Literal(String),
    /// `prefix*suffix`.
    Wild {
        prefix: String,
        suffix: String,
    },
}

impl PathGlob {
    /// The glob `path/**`: the path and everything below it.
    #[must_use]
    pub fn below(path: &GuestPath) -> Self {
        Self {
            segments: path
                .segments()
                .map(|name| Segment::Literal(name.to_owned()))
                .collect(),
            below: true,
        }
    }

    /// Whether the glob matches the path.
    #[must_use]
    pub fn matches(&self, path: &GuestPath) -> bool {
        let mut names = path.segments();
        self.segments
            .iter()
            .all(|segment| names.next().is_some_and(|name| segment.matches(name)))
            && (self.below || names.next().is_none())
    }

    /// Whether everything that `other` matches is matched by `self` as well. Exact: it is
    /// never wrong, in either direction.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let longer = other.segments.len() > self.segments.len();
        // Only `**` reaches deeper than its own segments.
        if (longer || other.below) && !self.below {
            return false;
        }
        other.segments.len() >= self.segments.len()
            && self
                .segments
                .iter()
                .zip(&other.segments)
                .all(|(mine, theirs)| mine.covers(theirs))
    }

    /// Whether the path is a directory on the way to something that the glob can match, and
    /// not matched itself: such a directory may be walked through.
    #[must_use]
    pub fn has_ancestor(&self, path: &GuestPath) -> bool {
        let mut depth = 0;
        path.segments().all(|name| {
            let fits = self
                .segments
                .get(depth)
                .is_some_and(|segment| segment.matches(name));
            depth += 1;
            fits
        }) && depth < self.segments.len()
    }

    /// The deepest directory that certainly holds everything the glob matches: `/data/in` for
    /// `/data/in/**` and for `/data/in/*.csv`, `/data` for `/data/x`.
    #[must_use]
    pub fn literal_prefix(&self) -> GuestPath {
        let directories = match self.below {
            true => self.segments.len(),
            false => self.segments.len().saturating_sub(1),
        };
        let mut path = String::new();
        for segment in self.segments.iter().take(directories) {
            let Segment::Literal(name) = segment else {
                break;
            };
            path.push('/');
            path.push_str(name);
        }
        match path.is_empty() {
            true => GuestPath::root(),
            false => GuestPath(path),
        }
    }
}

impl Segment {
    fn parse(text: &str) -> Option<Self> {
        let Some((prefix, suffix)) = text.split_once('*') else {
            return Some(Self::Literal(text.to_owned()));
        };
        (!suffix.contains('*')).then(|| Self::Wild {
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
        })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == name,
            Self::Wild { prefix, suffix } => name
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.ends_with(suffix.as_str())),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Literal(name)) => self.matches(name),
            (Self::Literal(_), Self::Wild { .. }) => false,
            (
                Self::Wild { prefix, suffix },
                Self::Wild {
                    prefix: longer_prefix,
                    suffix: longer_suffix,
                },
            ) => {
                // Whatever stands for the other's `*`: its names must begin and end as ours.
                longer_prefix.starts_with(prefix.as_str())
                    && longer_suffix.ends_with(suffix.as_str())
            }
        }
    }
}

impl FromStr for PathGlob {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        if text.is_empty() || text.len() > GuestPath::LENGTH_MAX {
            return Err(InvalidPath::Length);
        }
        if text.contains('\0') {
            return Err(InvalidPath::Nul);
        }
        let Some(relative) = text.strip_prefix('/') else {
            return Err(InvalidPath::Relative(text.to_owned()));
        };
        let (relative, below) = match relative {
            "**" => ("", true),
            other => match other.strip_suffix("/**") {
                Some("") => return Err(InvalidPath::NotNormal(text.to_owned())),
                Some(rest) => (rest, true),
                None => (other, false),
            },
        };
        let mut segments = Vec::new();
        for name in relative.split('/') {
            match name {
                "" if relative.is_empty() && segments.is_empty() => continue,
                "" | "." | ".." => return Err(InvalidPath::NotNormal(text.to_owned())),
                name if name.len() > GuestPath::SEGMENT_MAX => {
                    return Err(InvalidPath::Segment(text.to_owned()));
                }
                name => segments.push(
                    Segment::parse(name).ok_or_else(|| InvalidPath::Wildcards(text.to_owned()))?,
                ),
            }
        }
        Ok(Self { segments, below })
    }
}

impl fmt::Display for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(name) => write!(f, "/{name}")?,
                Segment::Wild { prefix, suffix } => write!(f, "/{prefix}*{suffix}")?,
            }
        }
        match (self.below, self.segments.is_empty()) {
            (true, _) => f.write_str("/**"),
            (false, true) => f.write_str("/"),
            (false, false) => Ok(()),
        }
    }
}

impl Serialize for PathGlob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PathGlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
