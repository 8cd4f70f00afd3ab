//! The names that one component had resolved, and how many more it may ask for.
//!
//! An answer is kept for its clamped life and pins the name to its addresses: a socket may
//! connect to an address only while a name that was granted leads to it. Asks `names`; whether
//! a name may be asked for is decided before, by `dial`.

use super::names::{Answer, LookupError, Names};
use super::places::Places;
use super::settings::Settings;
use capability::HostName;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Names that a component may have in use at once.
const NAMES_MAX: usize = 256;
const SECOND: Duration = Duration::from_secs(1);

/// Lookups of one component.
#[derive(Debug)]
pub(crate) struct Lookups {
    at_once: Places,
    rate: Mutex<Rate>,
    pins: Mutex<HashMap<HostName, Answer>>,
}

/// Questions in the present second.
#[derive(Debug)]
struct Rate {
    limit: u32,
    asked: u32,
    since: Instant,
}

impl Lookups {
    pub(crate) fn new(settings: &Settings, replicas: u32) -> Lookups {
        Lookups {
            at_once: Places::new(settings.lookups.saturating_mul(replicas)),
            rate: Mutex::new(Rate {
                limit: settings.lookups_per_second.saturating_mul(replicas),
                asked: 0,
                since: Instant::now(),
            }),
            pins: Mutex::default(),
        }
    }

    pub(crate) fn set_replicas(&self, settings: &Settings, replicas: u32) {
        self.at_once
            .set_limit(settings.lookups.saturating_mul(replicas));
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.limit = settings.lookups_per_second.saturating_mul(replicas);
    }

    /// The addresses of a name, before the deadline.
    pub(crate) async fn addresses(
        &self,
        names: &Names,
        host: &HostName,
        name: &str,
        deadline: tokio::time::Instant,
    ) -> Result<Arc<[IpAddr]>, LookupError> {
        if let Some(addresses) = self.pinned(host) {
            return Ok(addresses);
        }
        let place = self.at_once.take(deadline).await;
        let _place = place.ok_or(LookupError::TooMany)?;
        // Who waited may find that another has asked meanwhile.
        if let Some(addresses) = self.pinned(host) {
            return Ok(addresses);
        }
        if !self.may_ask() {
            return Err(LookupError::TooMany);
        }
        let answer = tokio::time::timeout_at(deadline, names.ask(name))
            .await
            .map_err(|_| LookupError::Timeout)??;
        self.pin(host.clone(), answer.clone());
        Ok(answer.addresses)
    }

    fn may_ask(&self) -> bool {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.allow(Instant::now())
    }

    fn pinned(&self, host: &HostName) -> Option<Arc<[IpAddr]>> {
        let pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = pins.get(host)?;
        (answer.until > Instant::now()).then(|| Arc::clone(&answer.addresses))
    }

    fn pin(&self, host: HostName, answer: Answer) {
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if pins.len() >= NAMES_MAX {
            let now = Instant::now();
            pins.retain(|_, answer| answer.until > now);
        }
        if pins.len() >= NAMES_MAX {
            let next = pins.iter().min_by_key(|(_, answer)| answer.until);
            if let Some(next) = next.map(|(name, _)| name.clone()) {
                pins.remove(&next);
            }
        }
        pins.insert(host, answer);
    }

    /// The names that lead to an address now.
    pub(crate) fn names_of(&self, address: IpAddr) -> Vec<HostName> {
        let now = Instant::now();
        let address = address.to_canonical();
        let pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        pins.iter()
            .filter(|(_, answer)| answer.until > now)
            .filter(|(_, answer)| {
                answer
                    .addresses
                    .iter()
                    .any(|one| one.to_canonical() == address)
            })
            .map(|(name, _)| name.clone())
            .collect()
    }
}

impl Rate {
    fn allow(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= SECOND {
            self.since = now;
            self.asked = 0;
        }
        if self.asked >= self.limit {
            return false;
        }
        self.asked += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    fn answer(address: &str, life: Duration) -> Answer {
        Answer {
            addresses: [address.parse().unwrap()].into(),
            until: Instant::now() + life,
        }
    }

    #[test]
    fn an_address_has_a_name_only_while_its_answer_lives() {
        let lookups = Lookups::new(&Settings::default(), 1);
        lookups.pin(host("db.example"), answer("192.0.2.1", SECOND));
        lookups.pin(host("old.example"), answer("192.0.2.1", Duration::ZERO));
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(lookups.names_of(mapped), [host("db.example")]);
        assert!(lookups.pinned(&host("db.example")).is_some());
        assert!(lookups.pinned(&host("old.example")).is_none());
        assert!(lookups.names_of("192.0.2.2".parse().unwrap()).is_empty());
    }

    #[test]
    fn names_in_use_are_bounded_and_the_next_to_expire_goes() {
        let lookups = Lookups::new(&Settings::default(), 1);
        lookups.pin(host("first.example"), answer("192.0.2.1", SECOND));
        for index in 0..2 * NAMES_MAX {
            lookups.pin(
                host(&format!("n{index}.example")),
                answer("192.0.2.2", 2 * SECOND),
            );
        }
        assert_eq!(lookups.pins.lock().unwrap().len(), NAMES_MAX);
        assert!(lookups.pinned(&host("first.example")).is_none());
    }

    #[test]
    fn questions_are_counted_by_the_second() {
        let start = Instant::now();
        let mut rate = Rate {
            limit: 20,
            asked: 0,
            since: start,
        };
        assert_eq!((0..100).filter(|_| rate.allow(start)).count(), 20);
        assert!(rate.allow(start + SECOND));
    }
}
