//! How many operations are under way at once: a bound over all registries, and
//! a smaller one for each, so that a registry that is slow on purpose does not
//! hold up the images of others. Pulls, which hold memory, and questions, which
//! hold none, are counted apart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Gives out slots for operations of one kind.
#[derive(Debug)]
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    per_registry: usize,
    registries: Mutex<BTreeMap<String, Weak<Semaphore>>>,
}

/// A place among the operations; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Slot {
    _all: Option<OwnedSemaphorePermit>,
    _of_registry: Option<OwnedSemaphorePermit>,
}

impl Slots {
    pub(crate) fn new(all: usize, per_registry: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all.max(1))),
            per_registry: per_registry.max(1),
            registries: Mutex::default(),
        }
    }

    /// Waits for a slot: first among the operations at the same registry, so that
    /// its queue takes no room from others.
    pub(crate) async fn take(&self, registry: &str) -> Slot {
        let semaphore = self.of(registry);
        // The semaphores are never closed; were one, pulling on would be right.
        Slot {
            _of_registry: semaphore.acquire_owned().await.ok(),
            _all: Arc::clone(&self.all).acquire_owned().await.ok(),
        }
    }

    fn of(&self, registry: &str) -> Arc<Semaphore> {
        let mut registries = self
            .registries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = registries.get(registry).and_then(Weak::upgrade) {
            return semaphore;
        }
        // Only registries in use are remembered.
        registries.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(self.per_registry));
        registries.insert(registry.to_owned(), Arc::downgrade(&semaphore));
        semaphore
    }
}
