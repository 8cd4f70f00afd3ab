//! How long a registry asks a caller to wait: `Retry-After` (RFC 9110 section
//! 10.2.3) and the rate limit headers that registries send beside or instead of
//! it. Pure: the time comes in.

use std::time::Duration;

use http::HeaderMap;
use http::header::{HeaderName, RETRY_AFTER};
use jiff::Timestamp;

/// What a registry may ask us to wait is believed up to here.
pub(crate) const LONGEST: Duration = Duration::from_secs(3600);
/// A number above this is a time since 1970, not a pause: thirty years.
const LONGEST_PAUSE: u64 = 1_000_000_000;

/// When a limit that was met is lifted, most telling first: Docker Hub, GitHub,
/// and the IETF's draft in its older and newer spelling.
const RESETS: [HeaderName; 4] = [
    HeaderName::from_static("x-retry-after"),
    HeaderName::from_static("x-ratelimit-reset"),
    HeaderName::from_static("ratelimit-reset"),
    HeaderName::from_static("x-rate-limit-reset"),
];
/// How many requests are left, in the same order of spellings.
const REMAINING: [HeaderName; 2] = [
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-remaining"),
];

/// What an answer that is a refusal asks to wait, bounded to an hour.
pub(crate) fn asked(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    pause(headers, &RETRY_AFTER, now).or_else(|| reset(headers, now))
}

/// What an answer that is none says to wait: no request is left, and when there
/// will be is known. Docker Hub names no time there, and says 429 in the end.
pub(crate) fn exhausted(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let none_left = REMAINING.iter().any(|name| {
        // `0;w=21600` at Docker Hub: the window is no time of day.
        text(headers, name).and_then(|value| value.split(';').next()) == Some("0")
    });
    if none_left { reset(headers, now) } else { None }
}

fn reset(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    RESETS.iter().find_map(|name| pause(headers, name, now))
}

/// Seconds, seconds since 1970, or an HTTP date.
fn pause(headers: &HeaderMap, name: &HeaderName, now: Timestamp) -> Option<Duration> {
    let value = text(headers, name)?;
    let until = |then: i64| u64::try_from(then.saturating_sub(now.as_second())).unwrap_or_default();
    let seconds = match value.parse::<u64>() {
        Ok(seconds) if seconds > LONGEST_PAUSE => {
            // Beyond any date it is nonsense, and bounded like all else.
            i64::try_from(seconds).map_or(u64::MAX, until)
        }
        Ok(seconds) => seconds,
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(value).ok()?;
            until(date.timestamp().as_second())
        }
    };
    Some(Duration::from_secs(seconds).min(LONGEST))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn asks(pairs: &[(&'static str, &'static str)]) -> Option<u64> {
        let now = Timestamp::from_second(784_111_777).unwrap(); // 06 Nov 1994 08:49:37
        asked(&headers(pairs), now).map(|pause| pause.as_secs())
    }

    #[test]
    fn a_pause_is_read_as_seconds_or_as_a_date() {
        assert_eq!(asks(&[("retry-after", "42")]), Some(42));
        assert_eq!(
            asks(&[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")]),
            Some(60)
        );
        assert_eq!(
            asks(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]),
            Some(0)
        );
        assert_eq!(asks(&[("retry-after", "18446744073709551615")]), Some(3600));
        assert_eq!(asks(&[("retry-after", "soon")]), None);
        assert_eq!(asks(&[]), None);
    }

    #[test]
    fn a_limit_says_when_it_is_lifted_in_several_spellings() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let at = |name, value| asked(&headers(&[(name, value)]), now).map(|pause| pause.as_secs());
        assert_eq!(at("x-retry-after", "1800000030"), Some(30));
        assert_eq!(at("x-ratelimit-reset", "1800000007"), Some(7));
        assert_eq!(at("ratelimit-reset", "15"), Some(15));
        assert_eq!(
            asked(
                &headers(&[("retry-after", "5"), ("ratelimit-reset", "15")]),
                now
            ),
            Some(Duration::from_secs(5))
        );
    }

    #[test]
    fn a_caller_with_no_request_left_waits_for_the_reset() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let left = |remaining, reset: &[(&'static str, &'static str)]| {
            let mut all = headers(&[("ratelimit-remaining", remaining)]);
            all.extend(headers(reset));
            exhausted(&all, now)
        };
        let reset = [("ratelimit-reset", "9")];
        assert_eq!(left("0", &reset), Some(Duration::from_secs(9)));
        assert_eq!(left("0;w=21600", &reset), Some(Duration::from_secs(9)));
        assert_eq!(left("1;w=21600", &reset), None);
        assert_eq!(left("0;w=21600", &[]), None, "429 will say more");
    }
}
