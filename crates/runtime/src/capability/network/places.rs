//! So many of something at once, times replicas: sockets, requests, lookups.
//!
//! Who finds no place waits in a bounded line. Dropping a place gives it back. Counts only;
//! what the places are for, the modules beside know.

use crate::admission::{Gate, Patience};
use std::sync::Arc;
use tokio::time::Instant;

/// How many may wait. More is a guest that does not look at its answers.
const LINE: u32 = 256;

/// Places that a component's calls share.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<Gate>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Gate>);

impl Places {
    pub(crate) fn new(limit: u32) -> Places {
        Places(Arc::new(Gate::with_limit(limit)))
    }

    pub(crate) fn set_limit(&self, limit: u32) {
        self.0.set_limit(limit);
    }

    /// A place, if one is free now.
    pub(crate) fn try_take(&self) -> Option<Place> {
        self.0.try_take().then(|| Place(Arc::clone(&self.0)))
    }

    /// A place, when one gets free before the deadline.
    pub(crate) async fn take(&self, deadline: Instant) -> Option<Place> {
        let taken = self.0.take(&mut Patience::Until(deadline), LINE).await;
        taken.then(|| Place(Arc::clone(&self.0)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.give_back();
    }
}
