//! Paths as a guest sees them.
//!
//! Purely lexical: nothing here knows a file system, and a path that was parsed has one
//! spelling only, so that two readers cannot disagree on what it names. Used by manifests,
//! grants and the runtime's file system.

mod glob;

use std::fmt;
use std::str::FromStr;

use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use glob::PathGlob;

/// An absolute path of a guest without `.`, `..`, doubled or trailing slashes: `/` or `/data/x`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestPath(String);

/// Why a text is no guest path, or no glob over them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// Empty, or longer than [`GuestPath::LENGTH_MAX`].
    #[error("a path has 1 to {} bytes", GuestPath::LENGTH_MAX)]
    Length,
    /// Does not begin with `/`.
    #[error("`{0}` is not absolute; write `/{0}`")]
    Relative(String),
    /// Begins with `/` where a path from a directory is wanted.
    #[error("`{0}` is absolute; write it from the directory it is used in")]
    Absolute(String),
    /// A NUL byte, at which a system call would cut the path off.
    #[error("a path holds no NUL character")]
    Nul,
    /// `..` leads above `/`.
    #[error("`{0}` leads above `/`; leave out what is beyond it")]
    AboveRoot(String),
    /// A segment longer than [`GuestPath::SEGMENT_MAX`].
    #[error(
        "a part of `{0}` between two slashes is longer than {most} bytes",
        most = GuestPath::SEGMENT_MAX
    )]
    Segment(String),
    /// A glob with `.`, `..`, an empty segment or a trailing slash.
    #[error("`{0}` has `.`, `..`, or nothing between two slashes; write the path without them")]
    NotNormal(String),
    /// A glob with `**` elsewhere than as its last segment, or two `*` in a segment.
    #[error(
        "`{0}` has more wildcards than a glob may; write at most one `*` in a segment, and `**` only as the last one, as in `/data/**`"
    )]
    Wildcards(String),
}

impl GuestPath {
    /// `PATH_MAX` of Linux, with its final NUL.
    pub const LENGTH_MAX: usize = 4_095;
    /// `NAME_MAX` of Linux.
    pub const SEGMENT_MAX: usize = 255;

    /// The path `/`.
    #[must_use]
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Reads an absolute path and resolves `.` and `..` in it, without asking any file system.
    ///
    /// # Errors
    /// When it is empty, too long, relative, holds NUL or leads above `/`.
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        if text.is_empty() || text.len() > Self::LENGTH_MAX {
            return Err(InvalidPath::Length);
        }
        if !text.starts_with('/') {
            return Err(InvalidPath::Relative(text.to_owned()));
        }
        Self::root().walk(text)
    }

    /// The path that `relative` names from here, resolved without asking any file system.
    /// `..` may lead out of `self`, which is the caller's to judge, and never above `/`.
    ///
    /// # Errors
    /// When `relative` is absolute, holds NUL, leads above `/`, or is too long.
    pub fn join(&self, relative: &str) -> Result<Self, InvalidPath> {
        if relative.len() > Self::LENGTH_MAX {
            return Err(InvalidPath::Length);
        }
        if relative.starts_with('/') {
            return Err(InvalidPath::Absolute(relative.to_owned()));
        }
        self.walk(relative)
    }

    fn walk(&self, steps: &str) -> Result<Self, InvalidPath> {
        if steps.contains('\0') {
            return Err(InvalidPath::Nul);
        }
        let mut path = self.0.clone();
        for segment in steps.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    if path == "/" {
                        return Err(InvalidPath::AboveRoot(steps.to_owned()));
                    }
                    let parent = path.rfind('/').unwrap_or_default();
                    path.truncate(parent.max(1));
                }
                name if name.len() > Self::SEGMENT_MAX => {
                    return Err(InvalidPath::Segment(steps.to_owned()));
                }
                name => {
                    if path != "/" {
                        path.push('/');
                    }
                    path.push_str(name);
                }
            }
        }
        if path.len() > Self::LENGTH_MAX {
            return Err(InvalidPath::Length);
        }
        Ok(Self(path))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names between the slashes; none for `/`.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// The last name; none for `/`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.segments().next_back()
    }

    /// The directory it is in; none for `/`.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (parent, name) = self.0.rsplit_once('/')?;
        if name.is_empty() {
            return None;
        }
        Some(match parent {
            "" => Self::root(),
            parent => Self(parent.to_owned()),
        })
    }

    /// What is left of it below `base`: without a leading slash, and empty when both are the
    /// same. None when it is not below `base`.
    #[must_use]
    pub fn relative_to(&self, base: &Self) -> Option<&str> {
        if base.0 == "/" {
            return self.0.strip_prefix('/');
        }
        match self.0.strip_prefix(base.0.as_str())? {
            "" => Some(""),
            rest => rest.strip_prefix('/'),
        }
    }

    /// Whether it is `base` or below it.
    #[must_use]
    pub fn is_within(&self, base: &Self) -> bool {
        self.relative_to(base).is_some()
    }
}

impl FromStr for GuestPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        Self::parse(text)
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for GuestPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for GuestPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
