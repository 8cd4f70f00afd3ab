//! How many jobs of one registry run at once. Without it a registry that is slow,
//! or a tenant that has one, would take all jobs, and the images of everybody
//! else would wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Jobs of one registry at once, of the resolver's sixteen.
const WIDTH: usize = 6;

/// Lanes by registry; only those in use are remembered.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: Mutex<BTreeMap<String, Weak<Semaphore>>>,
}

impl Lanes {
    /// Waits for a place among the jobs of `registry`; dropping it makes room.
    pub(super) async fn enter(&self, registry: &str) -> Option<OwnedSemaphorePermit> {
        let lane = {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            match lanes.get(registry).and_then(Weak::upgrade) {
                Some(lane) => lane,
                None => {
                    lanes.retain(|_, lane| lane.strong_count() > 0);
                    let lane = Arc::new(Semaphore::new(WIDTH));
                    lanes.insert(registry.to_owned(), Arc::downgrade(&lane));
                    lane
                }
            }
        };
        // Never closed; were it, going on would be right.
        lane.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_registry_with_much_to_do_leaves_room_for_others() {
        let lanes = Lanes::default();
        let mut held = Vec::new();
        for _ in 0..WIDTH {
            held.push(lanes.enter("slow.example").now_or_never());
        }
        assert!(held.iter().all(Option::is_some));
        assert!(lanes.enter("slow.example").now_or_never().is_none());
        assert!(lanes.enter("other.example").now_or_never().is_some());
        held.pop();
        assert!(lanes.enter("slow.example").now_or_never().is_some());
    }
}
