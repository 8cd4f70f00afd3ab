//! Who may take the Lease: the decision alone, without a client.
//!
//! A Lease is judged by how long *we* have seen it unchanged, never by the time
//! written in it: clocks of two machines differ. `leader::run` calls it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use tokio::time::Instant;

/// What to do with the Lease now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Somebody else holds it.
    Wait,
    /// It is ours: write the same term again.
    Renew {
        /// The number of our term, unchanged.
        transitions: i32,
    },
    /// It is free or has run out: write a new term.
    Take {
        /// The number of the new term.
        transitions: i32,
    },
}

/// Our identity, and what we last saw of the Lease.
#[derive(Debug)]
pub(super) struct Election {
    identity: String,
    seen: Option<(LeaseSpec, Instant)>,
}

impl Election {
    pub(super) fn new(identity: String) -> Self {
        Self {
            identity,
            seen: None,
        }
    }

    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// Decides over the Lease as read at `now`.
    pub(super) fn decide(&mut self, lease: Option<&LeaseSpec>, now: Instant) -> Decision {
        let Some(lease) = lease else {
            return Decision::Take { transitions: 0 };
        };
        let since = match &self.seen {
            Some((seen, since)) if seen == lease => *since,
            _ => {
                self.seen = Some((lease.clone(), now));
                now
            }
        };
        let transitions = lease.lease_transitions.unwrap_or_default();
        let holder = lease.holder_identity.as_deref().unwrap_or_default();
        let seconds =
            u64::try_from(lease.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        let expired = now.saturating_duration_since(since) >= Duration::from_secs(seconds);
        if holder == self.identity {
            Decision::Renew { transitions }
        } else if holder.is_empty() || expired {
            Decision::Take {
                transitions: transitions.saturating_add(1),
            }
        } else {
            Decision::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str, version: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(version),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_missing_lease_is_taken() {
        let mut election = Election::new("a".to_owned());
        assert_eq!(
            election.decide(None, Instant::now()),
            Decision::Take { transitions: 0 }
        );
    }

    #[test]
    fn a_lease_of_another_is_respected_until_it_was_seen_unchanged_for_its_duration() {
        let mut election = Election::new("a".to_owned());
        let start = Instant::now();
        let lease = held_by("b", 4);
        assert_eq!(election.decide(Some(&lease), start), Decision::Wait);
        assert_eq!(
            election.decide(Some(&lease), start + Duration::from_secs(14)),
            Decision::Wait
        );
        assert_eq!(
            election.decide(Some(&lease), start + Duration::from_secs(15)),
            Decision::Take { transitions: 5 }
        );
    }

    #[test]
    fn every_change_of_the_lease_starts_the_wait_anew() {
        let mut election = Election::new("a".to_owned());
        let start = Instant::now();
        assert_eq!(
            election.decide(Some(&held_by("b", 4)), start),
            Decision::Wait
        );
        let renewed = LeaseSpec {
            strategy: Some("changed".to_owned()),
            ..held_by("b", 4)
        };
        assert_eq!(
            election.decide(Some(&renewed), start + Duration::from_secs(14)),
            Decision::Wait
        );
        assert_eq!(
            election.decide(Some(&renewed), start + Duration::from_secs(28)),
            Decision::Wait
        );
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let mut election = Election::new("a".to_owned());
        assert_eq!(
            election.decide(Some(&held_by("", 4)), Instant::now()),
            Decision::Take { transitions: 5 }
        );
    }

    #[test]
    fn our_own_lease_is_renewed_in_the_same_term() {
        let mut election = Election::new("a".to_owned());
        assert_eq!(
            election.decide(Some(&held_by("a", 4)), Instant::now()),
            Decision::Renew { transitions: 4 }
        );
    }
}
