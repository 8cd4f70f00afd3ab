//! Who is left alone for a while: a host that cannot be reached, and a registry
//! that has asked one caller to slow down. A thousand components of a registry
//! that is down are then a few connections, not thousands. In memory only;
//! `transport` and `repository` ask before they send and report what came of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::credentials::Identity;
use crate::error::{Error, Outage};

/// First rest of a host: one that was restarted is back by then.
const FIRST: Duration = Duration::from_secs(1);
/// Longest rest of a host: how late its return may be noticed.
const LONGEST: Duration = Duration::from_secs(60);
/// Of those who come when a rest is over one tries; the others wait this long
/// for what it finds.
const TRIAL: Duration = Duration::from_secs(5);
/// A connection that broke or stayed silent may be one repository's fault: only
/// this many in a row, with no answer to anybody between them, are the host's.
const SILENCES: u32 = 3;
/// What a caller waits that was told to slow down, but not for how long.
const SLOWER: Duration = Duration::from_secs(10);
/// Hosts and callers remembered; the one whose rest ends first gives way.
const MOST: usize = 4096;

/// All who rest, or have failed lately.
#[derive(Debug, Default)]
pub(crate) struct Rests(Mutex<BTreeMap<Who, Rest>>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    /// `host[:port]` of a URL, whoever asks: nobody gets through.
    Host(String),
    /// A registry as one caller sees it: limits are of an account.
    Caller(String, Identity),
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    /// In a row.
    failures: u32,
    /// Whether somebody is trying it just now; the rest is for all others.
    trial: bool,
    outage: Outage,
}

/// What a failure to send says about a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It was not even connected to.
    ToConnect,
    /// It was, and there was no answer.
    ToAnswer,
}

impl Rests {
    /// Whether `host` may be tried now, on behalf of `registry`.
    pub(crate) fn host(&self, host: &str, registry: &str) -> Result<(), Error> {
        let now = Instant::now();
        let mut rests = self.lock();
        let Some(rest) = rests.get_mut(&Who::Host(host.to_owned())) else {
            return Ok(());
        };
        if rest.until > now {
            return Err(resting(rest, registry, now));
        }
        if rest.is_down() {
            rest.until = now + TRIAL;
            rest.trial = true;
        }
        Ok(())
    }

    /// Whether `host` rests now; nobody is let through by asking.
    pub(crate) fn peek(&self, host: &str, registry: &str) -> Result<(), Error> {
        let now = Instant::now();
        match self.lock().get(&Who::Host(host.to_owned())) {
            Some(rest) if rest.until > now => Err(resting(rest, registry, now)),
            _ => Ok(()),
        }
    }

    /// A host has answered, whatever it said.
    pub(crate) fn answered(&self, host: &str) {
        self.lock().remove(&Who::Host(host.to_owned()));
    }

    /// A host has not; how long it rests now, if it does.
    pub(crate) fn failed(&self, host: &str, how: Failed, outage: Outage) -> Option<Duration> {
        let now = Instant::now();
        let who = Who::Host(host.to_owned());
        let mut rests = self.lock();
        let before = rests.get(&who);
        // Those who set out together fail together, and count once.
        if let Some(rest) = before.filter(|rest| rest.until > now && !rest.trial) {
            return Some(rest.until - now);
        }
        let failures = before.map_or(0, |rest| rest.failures).saturating_add(1);
        let failures = match how {
            Failed::ToAnswer => failures,
            Failed::ToConnect => failures.max(SILENCES),
        };
        let mut rest = Rest {
            until: now,
            failures,
            trial: false,
            outage,
        };
        let pause = rest.is_down().then(|| {
            let doublings = failures.saturating_sub(SILENCES).min(16);
            FIRST
                .saturating_mul(2_u32.saturating_pow(doublings))
                .min(LONGEST)
        });
        rest.until = now + pause.unwrap_or_default();
        keep(&mut rests, who, rest);
        pause
    }

    /// Whether `caller` may ask `registry` now.
    pub(crate) fn caller(&self, registry: &str, caller: &Identity) -> Result<(), Error> {
        let now = Instant::now();
        let who = Who::Caller(registry.to_owned(), caller.clone());
        let mut rests = self.lock();
        match rests.get(&who) {
            Some(rest) if rest.until > now => Err(resting(rest, registry, now)),
            Some(_) => {
                rests.remove(&who);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// `registry` has asked `caller` to slow down.
    pub(crate) fn limited(&self, registry: &str, caller: &Identity, pause: Option<Duration>) {
        let who = Who::Caller(registry.to_owned(), caller.clone());
        let rest = Rest {
            until: Instant::now() + pause.unwrap_or(SLOWER),
            failures: 1,
            trial: false,
            outage: Outage::RateLimited,
        };
        keep(&mut self.lock(), who, rest);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Who, Rest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rest {
    fn is_down(&self) -> bool {
        self.failures >= SILENCES
    }
}

fn resting(rest: &Rest, registry: &str, now: Instant) -> Error {
    Error::Resting {
        registry: registry.to_owned(),
        outage: rest.outage,
        retry_after: rest.until.saturating_duration_since(now),
    }
}

fn keep(rests: &mut BTreeMap<Who, Rest>, who: Who, rest: Rest) {
    if rests.len() >= MOST && !rests.contains_key(&who) {
        let first = rests.iter().min_by_key(|(_, rest)| rest.until);
        if let Some(first) = first.map(|(who, _)| who.clone()) {
            rests.remove(&first);
        }
    }
    rests.insert(who, rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "registry.example";

    #[test]
    fn a_host_that_cannot_be_connected_to_rests_at_once_and_longer_each_time() {
        let rests = Rests::default();
        assert_eq!(
            rests.failed(HOST, Failed::ToConnect, Outage::Unreachable),
            Some(FIRST)
        );
        let refused = rests.host(HOST, "as-written.example");
        assert!(
            matches!(&refused, Err(Error::Resting { registry, outage: Outage::Unreachable, .. }) if registry == "as-written.example"),
            "{refused:?}"
        );
        let mut pause = None;
        for _ in 0..20 {
            rests.end(HOST);
            pause = rests.failed(HOST, Failed::ToConnect, Outage::Unreachable);
        }
        assert_eq!(pause, Some(LONGEST));
        rests.answered(HOST);
        assert!(rests.host(HOST, HOST).is_ok());
    }

    #[test]
    fn when_a_rest_is_over_one_tries_and_the_others_wait_for_it() {
        let rests = Rests::default();
        rests.failed(HOST, Failed::ToConnect, Outage::Unreachable);
        rests.end(HOST);
        assert!(rests.host(HOST, HOST).is_ok(), "the one that tries");
        assert!(rests.host(HOST, HOST).is_err(), "another");
        assert!(rests.host("other.example", HOST).is_ok());
    }

    #[test]
    fn many_who_fail_together_count_once() {
        let rests = Rests::default();
        for _ in 0..8 {
            let pause = rests.failed(HOST, Failed::ToConnect, Outage::Unreachable);
            assert!(pause.is_some_and(|pause| pause <= FIRST), "{pause:?}");
        }
    }

    #[test]
    fn one_silent_repository_does_not_make_its_host_rest() {
        let rests = Rests::default();
        for _ in 0..10 {
            assert_eq!(rests.failed(HOST, Failed::ToAnswer, Outage::Timeout), None);
            assert_eq!(rests.failed(HOST, Failed::ToAnswer, Outage::Timeout), None);
            rests.answered(HOST);
        }
        for _ in 1..SILENCES {
            rests.failed(HOST, Failed::ToAnswer, Outage::Timeout);
        }
        assert!(
            rests
                .failed(HOST, Failed::ToAnswer, Outage::Timeout)
                .is_some()
        );
    }

    #[test]
    fn a_limit_is_for_the_caller_it_was_told() {
        let rests = Rests::default();
        rests.limited(HOST, &Identity::Anonymous, Some(Duration::from_secs(60)));
        assert!(rests.caller(HOST, &Identity::Anonymous).is_err());
        assert!(rests.caller("other.example", &Identity::Anonymous).is_ok());
        let known = crate::Credentials::basic("ann", "right").identity();
        assert!(rests.caller(HOST, &known).is_ok());
        assert!(rests.host(HOST, HOST).is_ok(), "others are not held up");
    }

    #[test]
    fn no_more_than_a_bound_is_remembered() {
        let rests = Rests::default();
        for number in 0..=MOST {
            rests.failed(&number.to_string(), Failed::ToConnect, Outage::Unreachable);
        }
        assert_eq!(rests.lock().len(), MOST);
    }

    impl Rests {
        /// As if the rest of `host` were over.
        fn end(&self, host: &str) {
            if let Some(rest) = self.lock().get_mut(&Who::Host(host.to_owned())) {
                rest.until = Instant::now();
            }
        }
    }
}
