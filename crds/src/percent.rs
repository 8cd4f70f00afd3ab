//! A share or a growth as people write it, `1%` or `0.5%`, without a fraction in between that
//! is not what they wrote.
//!
//! Knows nothing of what it is a share of. Fields of the kinds have it, and a rollout is judged
//! by it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Hundredths of a percent, below a thousand percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u32);

/// A text that is no percentage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a percentage; write digits with %, such as `1%` or `0.5%`")]
pub struct InvalidPercent(String);

impl Percent {
    /// All of it.
    pub const WHOLE: Self = Self(10_000);
    /// The largest that can be written.
    pub const MAX: Self = Self(99_999);

    /// As a factor: 1 for `100%`.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE.0)
    }
}

/// One to three digits, after a point up to two more, and `%`.
impl FromStr for Percent {
    type Err = InvalidPercent;

    fn from_str(text: &str) -> Result<Self, InvalidPercent> {
        let invalid = || InvalidPercent(text.to_owned());
        let number = text.strip_suffix('%').ok_or_else(invalid)?;
        let (whole, parts) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |of: &str, most: usize| {
            let fits = (1..=most).contains(&of.len()) && of.bytes().all(|c| c.is_ascii_digit());
            fits.then(|| of.parse::<u32>().ok()).flatten()
        };
        let whole = digits(whole, 3).ok_or_else(invalid)?;
        let hundredths = digits(parts, 2).ok_or_else(invalid)?;
        let hundredths = if parts.len() == 1 {
            hundredths * 10
        } else {
            hundredths
        };
        Ok(Self(whole * 100 + hundredths))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, hundredths) = (self.0 / 100, self.0 % 100);
        match hundredths {
            0 => write!(f, "{whole}%"),
            tens if tens % 10 == 0 => write!(f, "{whole}.{}%", tens / 10),
            _ => write!(f, "{whole}.{hundredths:02}%"),
        }
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
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
    fn digits_before_and_behind_the_point_are_read() {
        for (text, hundredths) in [
            ("0%", 0),
            ("1%", 100),
            ("0.5%", 50),
            ("0.05%", 5),
            ("100%", 10_000),
            ("12.34%", 1_234),
            ("999.99%", 99_999),
        ] {
            assert_eq!(text.parse(), Ok(Percent(hundredths)), "{text}");
        }
        assert!((Percent(150).fraction() - 0.015).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_percentage_is_refused_with_an_example() {
        for text in [
            "", "%", "1", "1 %", ".5%", "1.%", "1.234%", "1000%", "-1%", "+1%", "1e1%",
        ] {
            let error = text.parse::<Percent>().unwrap_err().to_string();
            assert!(error.contains("such as `1%`"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(hundredths in 0..=Percent::MAX.0) {
            let percent = Percent(hundredths);
            prop_assert_eq!(percent.to_string().parse(), Ok(percent));
        }
    }
}
