//! A length of time as the Kubernetes Gateway API writes it (GEP-2257): `30s`,
//! `1m30s`, `200ms`, `1h`.
//!
//! Knows nothing of what is timed. Read by every timeout, in the custom
//! resources and in the revision documents.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time with a resolution of one millisecond, read and written as
/// GEP-2257 asks: one to four groups of up to five digits and `h`, `m`, `s` or `ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// Why a text is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpan {
    /// Not one to four groups of digits and unit.
    #[error(
        "`{0}` is not a duration; write digits with h, m, s or ms, such as `30s`, `1m30s` or `200ms`"
    )]
    Syntax(String),
    /// More than [`Span::MAX`], which could not be written back.
    #[error("`{0}` is longer than 99999h; write a shorter duration, such as `30s`")]
    TooLong(String),
}

/// GEP-2257: at most this many groups.
const GROUPS_MAX: usize = 4;
/// GEP-2257: at most this many digits in a group.
const DIGITS_MAX: usize = 5;
/// Longest unit first, as they are written; `ms` is looked for before `m`.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("ms", 1), ("m", 60_000), ("s", 1_000)];

impl Span {
    /// The longest duration that has a written form.
    pub const MAX: Self = Self(Duration::from_secs(99_999 * 3600));

    /// `n` milliseconds.
    pub const fn milliseconds(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }

    /// `n` seconds.
    pub const fn seconds(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// `n` minutes.
    pub const fn minutes(n: u32) -> Self {
        Self(Duration::from_secs(n as u64 * 60))
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let syntax = || InvalidSpan::Syntax(text.to_owned());
        let mut rest = text;
        let mut milliseconds = 0u64;
        let mut groups = 0;
        while !rest.is_empty() {
            groups += 1;
            let unit_at = rest
                .find(|c: char| !c.is_ascii_digit())
                .ok_or_else(syntax)?;
            let (digits, tail) = rest.split_at(unit_at);
            if digits.is_empty() || digits.len() > DIGITS_MAX || groups > GROUPS_MAX {
                return Err(syntax());
            }
            let (after, factor) = UNITS
                .iter()
                .find_map(|(unit, factor)| tail.strip_prefix(unit).map(|after| (after, *factor)))
                .ok_or_else(syntax)?;
            // Five digits times an hour, four times over, is far below 2^64.
            let number: u64 = digits.parse().map_err(|_| syntax())?;
            milliseconds += number * factor;
            rest = after;
        }
        if groups == 0 {
            return Err(syntax());
        }
        let span = Self::milliseconds(milliseconds);
        if span > Self::MAX {
            Err(InvalidSpan::TooLong(text.to_owned()))
        } else {
            Ok(span)
        }
    }
}

impl fmt::Display for Span {
    /// Parts of a millisecond have no written form and are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let parts = [
            (seconds / 3600, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
            (u64::from(self.0.subsec_millis()), "ms"),
        ];
        if parts.iter().all(|(number, _)| *number == 0) {
            return f.write_str("0s");
        }
        for (number, unit) in parts.iter().filter(|(number, _)| *number > 0) {
            write!(f, "{number}{unit}")?;
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
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

    #[test]
    fn groups_add_up() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("200ms", 200),
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("1h2m3s4ms", 3_723_004),
            ("30s1m", 90_000),
        ] {
            assert_eq!(
                text.parse::<Span>().unwrap(),
                Span::milliseconds(milliseconds),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "1d",
            "30 s",
            "100000s",
            "1s1s1s1s1s",
            "1ns",
            "90S",
        ] {
            let refusal = text.parse::<Span>().unwrap_err();
            assert!(refusal.to_string().contains("30s"), "{text}: {refusal}");
        }
    }

    #[test]
    fn a_duration_that_could_not_be_written_back_is_refused() {
        assert_eq!("99999h".parse::<Span>(), Ok(Span::MAX));
        assert!(matches!(
            "99999h1m".parse::<Span>(),
            Err(InvalidSpan::TooLong(_))
        ));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_the_same_time(milliseconds in 0u64..=99_999 * 3_600_000) {
            let span = Span::milliseconds(milliseconds);
            prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<Span>();
        }
    }
}
