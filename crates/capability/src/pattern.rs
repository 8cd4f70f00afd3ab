//! Globs that name images: `registry.example/shop/**`.
//!
//! Host and path are matched apart and segment by segment, so that no wildcard
//! ever crosses a `/` and a policy for `registry.example` never admits
//! `registry.example.evil`. The caller writes Docker Hub names in full
//! (`docker.io/library/nginx`). Used by trust policies, before any network contact.

use std::fmt;
use std::str::FromStr;

use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A pattern over `host/repository`.
///
/// `*` stands for any number of characters within one segment of the path, or
/// within one label of the host; a host that is only `*` is any host. `**` may
/// be the last segment and stands for one or more segments. There is no other wildcard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageGlob {
    text: String,
    host: Host,
    segments: Vec<Text>,
    below: bool,
}

/// Why a text is no image glob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGlob {
    /// Empty, or longer than any image name.
    #[error("an image glob has 1 to 512 characters; write for example `registry.example/shop/**`")]
    Length,
    /// No `/`.
    #[error("`{0}` names no repository; write `{0}/**` for everything in that registry")]
    NoRepository(String),
    /// A host with characters no host has.
    #[error(
        "`{0}` is no registry host; write lower-case letters, digits, `.`, `-`, an optional `:port`, and `*` within a label"
    )]
    Host(String),
    /// `**` before the last segment or beside other characters.
    #[error(
        "`{0}` has `**` before its end; `**` can only be the last segment, as in `registry.example/shop/**`"
    )]
    Anywhere(String),
    /// A path segment that no repository has.
    #[error(
        "`{0}` is no part of a repository name; write lower-case letters, digits, `.`, `_`, `-` and `*`, and no tag or digest"
    )]
    Segment(String),
}

/// Registries allow 255 characters for a repository; a host has at most 253.
const LENGTH_MAX: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    Any,
    Labels {
        labels: Vec<Text>,
        port: Option<String>,
    },
}

/// A text with `*` in it, cut at the stars: one piece is an exact text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Text(Vec<String>);

impl ImageGlob {
    /// Whether the glob covers this repository of this registry.
    ///
    /// `host` may carry a port and then only matches a glob with that port.
    pub fn matches(&self, host: &str, repository: &str) -> bool {
        self.host.matches(host) && self.matches_path(repository)
    }

    fn matches_path(&self, repository: &str) -> bool {
        let mut found = repository.split('/');
        let same = self
            .segments
            .iter()
            .all(|glob| found.next().is_some_and(|segment| glob.matches(segment)));
        let mut rest = found;
        same && match rest.next() {
            None => !self.below,
            Some(first) => {
                self.below && !first.is_empty() && rest.all(|segment| !segment.is_empty())
            }
        }
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        };
        let port_fits = port.is_none_or(|port| {
            (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
        });
        let allowed =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '*';
        let names_fit = name
            .split('.')
            .all(|label| !label.is_empty() && label.chars().all(allowed) && !label.contains("**"));
        (port_fits && names_fit).then(|| Self::Labels {
            labels: name.split('.').map(Text::new).collect(),
            port: port.map(str::to_owned),
        })
    }

    fn matches(&self, host: &str) -> bool {
        let Self::Labels { labels, port } = self else {
            return !host.is_empty();
        };
        let (name, found_port) = match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        };
        let mut found = name.split('.');
        found_port == port.as_deref()
            && labels
                .iter()
                .all(|glob| found.next().is_some_and(|label| glob.matches(label)))
            && found.next().is_none()
    }
}

impl Text {
    fn new(text: &str) -> Self {
        Self(text.split('*').map(str::to_owned).collect())
    }

    /// A star never stands for the whole of an empty text: segments are not empty.
    fn matches(&self, text: &str) -> bool {
        if text.is_empty() {
            return false;
        }
        let [first, middle @ .., last] = self.0.as_slice() else {
            return self.0.first().is_some_and(|exact| exact == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        for piece in middle {
            match rest.split_once(piece.as_str()) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}

impl FromStr for ImageGlob {
    type Err = InvalidGlob;

    fn from_str(text: &str) -> Result<Self, InvalidGlob> {
        if text.is_empty() || text.len() > LENGTH_MAX {
            return Err(InvalidGlob::Length);
        }
        let (host, path) = text
            .split_once('/')
            .ok_or_else(|| InvalidGlob::NoRepository(text.to_owned()))?;
        let host = Host::parse(host).ok_or_else(|| InvalidGlob::Host(host.to_owned()))?;
        let (path, below) = match path.strip_suffix("**") {
            Some("") => (None, true),
            Some(path) => match path.strip_suffix('/') {
                Some(path) => (Some(path), true),
                None => return Err(InvalidGlob::Anywhere(text.to_owned())),
            },
            None => (Some(path), false),
        };
        let mut segments = Vec::new();
        for segment in path.into_iter().flat_map(|path| path.split('/')) {
            if segment.contains("**") {
                return Err(InvalidGlob::Anywhere(text.to_owned()));
            }
            let allowed =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-*".contains(c);
            if segment.is_empty() || !segment.chars().all(allowed) {
                return Err(InvalidGlob::Segment(segment.to_owned()));
            }
            segments.push(Text::new(segment));
        }
        Ok(Self {
            text: text.to_owned(),
            host,
            segments,
            below,
        })
    }
}

impl fmt::Display for ImageGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for ImageGlob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ImageGlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(text: &str) -> ImageGlob {
        text.parse().unwrap()
    }

    #[test]
    fn globs_match_what_they_say() {
        for (pattern, host, repository, expected) in [
            (
                "registry.example/shop/orders",
                "registry.example",
                "shop/orders",
                true,
            ),
            (
                "registry.example/shop/orders",
                "registry.example",
                "shop/orders2",
                false,
            ),
            (
                "registry.example/shop/orders",
                "registry.example",
                "shop/orders/v2",
                false,
            ),
            (
                "registry.example/shop/*",
                "registry.example",
                "shop/orders",
                true,
            ),
            (
                "registry.example/shop/*",
                "registry.example",
                "shop/orders/v2",
                false,
            ),
            ("registry.example/shop/*", "registry.example", "shop", false),
            (
                "registry.example/shop/a*b*c",
                "registry.example",
                "shop/aXbYc",
                true,
            ),
            (
                "registry.example/shop/a*b",
                "registry.example",
                "shop/ab",
                true,
            ),
            (
                "registry.example/shop/a*ba",
                "registry.example",
                "shop/aba",
                true,
            ),
            (
                "registry.example/shop/ab*ba",
                "registry.example",
                "shop/aba",
                false,
            ),
            (
                "registry.example/*/orders",
                "registry.example",
                "shop/orders",
                true,
            ),
            ("registry.example/**", "registry.example", "shop", true),
            (
                "registry.example/**",
                "registry.example",
                "shop/orders",
                true,
            ),
            (
                "registry.example/shop/**",
                "registry.example",
                "shop/a/b/c",
                true,
            ),
            (
                "registry.example/shop/**",
                "registry.example",
                "shop",
                false,
            ),
            (
                "registry.example/shop/**",
                "registry.example",
                "shopping/a",
                false,
            ),
            ("registry.example/**", "registry.example.evil", "x", false),
            ("registry.example/**", "evil-registry.example", "x", false),
            ("registry.example/**", "registry.example:5000", "x", false),
            (
                "registry.example:5000/**",
                "registry.example:5000",
                "x",
                true,
            ),
            ("registry.example:5000/**", "registry.example", "x", false),
            ("*.example/**", "registry.example", "x", true),
            ("*.example/**", "a.b.example", "x", false),
            ("*/**", "registry.example:5000", "shop/orders", true),
            ("*/shop/**", "other.example", "shop/orders", true),
        ] {
            assert_eq!(
                glob(pattern).matches(host, repository),
                expected,
                "{pattern} {host} {repository}"
            );
        }
    }

    #[test]
    fn what_is_no_glob_is_refused_with_its_mend() {
        for (text, mend) in [
            ("", "registry.example/shop/**"),
            ("registry.example", "write `registry.example/**`"),
            ("**", "write `**/**`"),
            ("registry.example/**/orders", "only be the last segment"),
            ("registry.example/shop**", "only be the last segment"),
            ("registry.example/shop/***", "only be the last segment"),
            ("registry.example/shop:1.4", "no tag"),
            ("registry.example/Shop/*", "lower-case"),
            ("registry.example//x", "lower-case"),
            ("registry.example/", "lower-case"),
            ("registry.example/shop/?", "lower-case"),
            ("registry.example/shop/[ab]", "lower-case"),
            ("Registry.example/**", "lower-case"),
            ("registry..example/**", "lower-case"),
            ("registry.example:port/**", "`:port`"),
            ("https://registry.example/**", "`:port`"),
            ("**/**", "lower-case"),
        ] {
            let refusal = text.parse::<ImageGlob>().unwrap_err().to_string();
            assert!(refusal.contains(mend), "{text}: {refusal}");
        }
    }

    proptest! {
        #[test]
        fn a_glob_writes_back_as_it_was_read(
            text in "[a-z*]{1,8}(\\.[a-z*]{1,8}){0,2}(:[0-9]{1,5})?(/[a-z0-9*]{1,6}){0,3}/(\\*\\*|[a-z]{1,4})"
        ) {
            if let Ok(read) = text.parse::<ImageGlob>() {
                prop_assert_eq!(read.to_string(), text);
            }
        }

        #[test]
        fn a_star_never_crosses_a_slash(
            before in "[a-z]{0,5}", after in "[a-z]{0,5}", inner in "[a-z]{0,4}/[a-z]{0,4}"
        ) {
            let pattern = glob(&format!("registry.example/{before}*{after}"));
            let repository = format!("{before}{inner}{after}");
            prop_assert!(!pattern.matches("registry.example", &repository));
        }

        #[test]
        fn a_star_stands_for_anything_within_its_segment(
            before in "[a-z]{0,5}", after in "[a-z]{0,5}", inner in "[a-z0-9._-]{1,8}"
        ) {
            let pattern = glob(&format!("registry.example/{before}*{after}"));
            let repository = format!("{before}{inner}{after}");
            prop_assert!(pattern.matches("registry.example", &repository));
        }

        #[test]
        fn a_registry_never_stands_for_another(
            host in "[a-z.:0-9-]{1,30}", repository in "[a-z/]{1,20}"
        ) {
            prop_assume!(host != "registry.example");
            prop_assert!(!glob("registry.example/**").matches(&host, &repository));
            let longer = format!("registry.example{host}");
            prop_assert!(!glob("registry.example/**").matches(&longer, &repository));
        }

        #[test]
        fn no_text_makes_parser_or_matcher_panic(
            text in "\\PC{0,40}", host in "\\PC{0,20}", repository in "\\PC{0,20}"
        ) {
            if let Ok(read) = text.parse::<ImageGlob>() {
                read.matches(&host, &repository);
            }
        }
    }
}
