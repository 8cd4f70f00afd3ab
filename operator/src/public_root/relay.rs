//! What agents are handed of the public root: TUF metadata, which each of them checks
//! for itself. Filled by the keeper, read by the hand-over.

use std::sync::{Arc, PoisonError, RwLock};

use artifact::Digest;
use artifact::root::Believed;
use bytes::Bytes;

/// The metadata as it is handed over; cheap to clone, all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Relay(Arc<RwLock<Option<Relayed>>>);

#[derive(Debug, Clone)]
struct Relayed {
    /// Of the trusted root in it.
    root: Digest,
    json: Bytes,
}

impl Relay {
    /// Hands `believed` on from now on.
    pub fn hand_on(&self, believed: &Believed) {
        let relayed = Relayed {
            root: Digest::of(believed.trusted_root_json()),
            json: serde_json::to_vec(believed.metadata())
                .unwrap_or_default()
                .into(),
        };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(relayed);
    }

    /// sha256 of the trusted root in it, by which an agent sees whether it has that one.
    pub fn root(&self) -> Option<Digest> {
        self.read(|relayed| relayed.root)
    }

    /// The metadata as JSON.
    pub fn json(&self) -> Option<Bytes> {
        self.read(|relayed| relayed.json.clone())
    }

    fn read<T>(&self, read: impl FnOnce(&Relayed) -> T) -> Option<T> {
        let relayed = self.0.read().unwrap_or_else(PoisonError::into_inner);
        relayed.as_ref().map(read)
    }
}
