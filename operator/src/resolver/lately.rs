//! What was read a moment ago, by name: a thousand components of one namespace
//! are then one read of its Secret, not a thousand. Bounded in time and number.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long it is used: what was rotated meanwhile and refused is read anew at
/// once, and what was revoked opens nothing for longer.
const FRESH: Duration = Duration::from_secs(30);
/// Most that is kept; what was read first goes first.
const MOST: usize = 4096;

/// Values by name.
#[derive(Debug)]
pub(super) struct Lately<T> {
    read: Mutex<BTreeMap<String, (Instant, T)>>,
}

impl<T> Default for Lately<T> {
    fn default() -> Self {
        Self {
            read: Mutex::default(),
        }
    }
}

impl<T: Clone> Lately<T> {
    /// What was read under `name`, if it was lately.
    pub(super) fn get(&self, name: &str) -> Option<T> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, value) = read.get(name)?;
        (at.elapsed() < FRESH).then(|| value.clone())
    }

    /// Keeps what was just read.
    pub(super) fn keep(&self, name: &str, value: T) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.len() >= MOST {
            read.retain(|_, (at, _)| at.elapsed() < FRESH);
        }
        if read.len() >= MOST {
            let oldest = read.iter().min_by_key(|(_, (at, _))| *at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                read.remove(&oldest);
            }
        }
        read.insert(name.to_owned(), (Instant::now(), value));
    }

    /// Has it read anew.
    pub(super) fn forget(&self, name: &str) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_used_for_a_while_and_only_so_much_of_it() {
        let lately = Lately::default();
        lately.keep("shop/registry", 1);
        assert_eq!(lately.get("shop/registry"), Some(1));
        assert_eq!(lately.get("bank/registry"), None);
        lately.forget("shop/registry");
        assert_eq!(lately.get("shop/registry"), None);
        lately.keep("shop/registry", 2);
        tokio::time::advance(FRESH).await;
        assert_eq!(lately.get("shop/registry"), None);
        for number in 0..=MOST {
            lately.keep(&number.to_string(), number);
            tokio::time::advance(Duration::from_nanos(1)).await;
        }
        assert_eq!(lately.get("0"), None);
        assert_eq!(lately.get("1"), Some(1));
    }
}
