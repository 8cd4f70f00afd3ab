//! An amount of memory as Kubernetes writes it: `64Mi`, `10M`, `1Gi`, `1024`.
//!
//! Knows nothing of what is measured. Read by every limit, in the custom
//! resources and in the revision documents.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes, read and written as a Kubernetes quantity.
///
/// Only whole, non-negative amounts: `1.5Gi` is written `1536Mi`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// Why a text is no number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBytes {
    /// Not digits followed by one of the suffixes.
    #[error(
        "`{0}` is not an amount of memory; write a whole number with Ki, Mi, Gi, Ti, k, M, G, T or no suffix, such as `64Mi`"
    )]
    Syntax(String),
    /// More than 2^64 - 1 bytes.
    #[error("`{0}` is more than 16Ei; write a smaller amount, such as `64Mi`")]
    TooLarge(String),
}

/// Binary suffixes first, because they are what memory is counted in; the order
/// is the one in which `Display` prefers them.
const SUFFIXES: [(&str, u64); 12] = [
    ("Ei", 1 << 60),
    ("Pi", 1 << 50),
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("E", 1_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

impl Bytes {
    /// `n` KiB.
    pub const fn kib(n: u32) -> Self {
        Self((n as u64) << 10)
    }

    /// `n` MiB.
    pub const fn mib(n: u32) -> Self {
        Self((n as u64) << 20)
    }

    /// `n` GiB.
    pub const fn gib(n: u32) -> Self {
        Self((n as u64) << 30)
    }
}

impl FromStr for Bytes {
    type Err = InvalidBytes;

    fn from_str(text: &str) -> Result<Self, InvalidBytes> {
        let (digits, factor) = SUFFIXES
            .iter()
            .find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|rest| (rest, *factor)))
            .unwrap_or((text, 1));
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidBytes::Syntax(text.to_owned()));
        }
        digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| InvalidBytes::TooLarge(text.to_owned()))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SUFFIXES
            .iter()
            .find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor));
        match exact {
            Some((suffix, factor)) => write!(f, "{}{suffix}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

/// Kubernetes lets a quantity be a number or a string.
struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount of memory such as `64Mi`")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Bytes, E> {
        Ok(Bytes(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Bytes, E> {
        u64::try_from(number)
            .map(Bytes)
            .map_err(|_| E::custom(InvalidBytes::Syntax(number.to_string())))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn suffixes_multiply_as_kubernetes_has_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("8Ki", 8 * 1024),
            ("64Mi", 64 << 20),
            ("1Gi", 1 << 30),
            ("10M", 10_000_000),
            ("2k", 2_000),
        ] {
            assert_eq!(text.parse::<Bytes>().unwrap(), Bytes(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_an_example() {
        for text in [
            "", "Mi", "banana", "-1Gi", "1.5Gi", "64mi", "64 Mi", "64MiB", "1e3", "+5", "٣Mi",
        ] {
            let refusal = text.parse::<Bytes>().unwrap_err();
            assert!(refusal.to_string().contains("64Mi"), "{text}: {refusal}");
        }
    }

    #[test]
    fn an_amount_beyond_64_bits_is_refused() {
        assert_eq!(
            "16Ei".parse::<Bytes>(),
            Err(InvalidBytes::TooLarge("16Ei".to_owned()))
        );
        assert_eq!("15Ei".parse::<Bytes>(), Ok(Bytes(15 << 60)));
    }

    #[test]
    fn a_number_and_a_string_are_both_read() {
        assert_eq!(
            serde_json::from_str::<Bytes>("1024").unwrap(),
            Bytes::kib(1)
        );
        assert_eq!(
            serde_json::from_str::<Bytes>("\"1Ki\"").unwrap(),
            Bytes::kib(1)
        );
        assert!(serde_json::from_str::<Bytes>("-1").is_err());
        assert_eq!(serde_json::to_string(&Bytes::mib(64)).unwrap(), "\"64Mi\"");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_the_same_amount(number: u64) {
            let written = Bytes(number).to_string();
            prop_assert_eq!(written.parse::<Bytes>().unwrap(), Bytes(number));
        }

        #[test]
        fn round_amounts_read_back_as_the_same_amount(number in 0u64..1 << 20, shift in 0u32..40) {
            let amount = Bytes(number << shift);
            prop_assert_eq!(amount.to_string().parse::<Bytes>().unwrap(), amount);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<Bytes>();
        }
    }
}
