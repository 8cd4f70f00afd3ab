//! To whom a repository has handed over what, for a while.
//!
//! Lets many components of one tenant share one pull, and nobody else share it.
//! In memory only: after a restart each is asked for again. Knows no registry
//! and no bytes; the resolver asks before it uses the content cache.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use artifact::Digest;
use tokio::time::Instant;

use crate::content::ParcelName;

/// How long credentials that the registry has revoked meanwhile still open what
/// is in the cache, to new components of those who have them.
const FRESH: Duration = Duration::from_secs(3600);
/// Most that is remembered, twice the parcels of a full cache; beyond, the
/// oldest is asked for again.
const MOST: usize = 20_000;

/// That credentials open what a repository has under a digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    /// What they open.
    pub(super) parcel: ParcelName,
    /// Stands for the credentials.
    pub(super) identity: Digest,
}

/// Claims that a repository has accepted, and when.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    at: Mutex<BTreeMap<Claim, Instant>>,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.parcel, self.identity)
    }
}

impl Accepted {
    /// Whether the repository has accepted this claim lately.
    pub(super) fn holds(&self, claim: &Claim) -> bool {
        let accepted = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.get(claim).is_some_and(|at| at.elapsed() < FRESH)
    }

    /// Takes down that the repository has just accepted this claim.
    pub(super) fn remember(&self, claim: Claim) {
        let mut accepted = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.insert(claim, Instant::now());
        if accepted.len() <= MOST {
            return;
        }
        accepted.retain(|_, at| at.elapsed() < FRESH);
        while accepted.len() > MOST {
            let oldest = accepted.iter().min_by_key(|(_, at)| **at);
            let Some(oldest) = oldest.map(|(claim, _)| claim.clone()) else {
                return;
            };
            accepted.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(repository: &str, digest: &str, identity: &str) -> Claim {
        let image = repository.parse().unwrap();
        Claim {
            parcel: ParcelName::new(&image, &Digest::of(digest.as_bytes())),
            identity: Digest::of(identity.as_bytes()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_very_claim_holds_and_only_for_a_while() {
        let accepted = Accepted::default();
        accepted.remember(claim("a.example/orders", "one", "shop"));
        assert!(accepted.holds(&claim("a.example/orders", "one", "shop")));
        for other in [
            claim("a.example/mirror", "one", "shop"),
            claim("a.example/orders", "two", "shop"),
            claim("a.example/orders", "one", "bank"),
        ] {
            assert!(!accepted.holds(&other), "{other}");
        }
        tokio::time::advance(FRESH).await;
        assert!(!accepted.holds(&claim("a.example/orders", "one", "shop")));
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_bound_the_oldest_is_forgotten() {
        let accepted = Accepted::default();
        for number in 0..=MOST {
            accepted.remember(claim("a.example/orders", &number.to_string(), "shop"));
            tokio::time::advance(Duration::from_nanos(1)).await;
        }
        assert!(!accepted.holds(&claim("a.example/orders", "0", "shop")));
        assert!(accepted.holds(&claim("a.example/orders", "1", "shop")));
        assert_eq!(accepted.at.lock().unwrap().len(), MOST);
    }
}
