//! What control keeps on disk, so that an agent that restarts while API server and operator are
//! away serves as before: documents by name, authenticated like everything in the cache.
//! Values with secrets go to a second one of these, in memory-backed storage.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cache::{Cache, CacheError, Entry};

/// Documents by name. Clones share the directory.
#[derive(Clone, Debug)]
pub struct Store(Arc<Cache>);

/// The largest document; a revision with every list full is below it.
const DOCUMENT_MAX: u64 = 16 * 1024 * 1024;

impl Store {
    /// Documents in a directory.
    pub fn new(cache: Cache) -> Self {
        Self(Arc::new(cache))
    }

    /// The document of this name, if it is there, authentic and still readable.
    pub async fn load<T: DeserializeOwned + Send + 'static>(&self, name: String) -> Option<T> {
        let cache = Arc::clone(&self.0);
        let loaded = tokio::task::spawn_blocking(move || {
            let file = cache.get(&Entry::new(name)?)?;
            let Some(file) = file.filter(|file| file.length() <= DOCUMENT_MAX) else {
                return Ok(None);
            };
            Ok::<_, CacheError>(serde_json::from_slice(&file.bytes()?).ok())
        });
        match loaded.await {
            Ok(Ok(document)) => document,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a kept document cannot be read");
                None
            }
            Err(_) => None,
        }
    }

    /// Keeps a document under a name. What could not be kept is said and not fatal: it is
    /// missed only when this agent restarts while everything else is away.
    pub async fn save<T: Serialize>(&self, name: String, document: &T) {
        let cache = Arc::clone(&self.0);
        let bytes = serde_json::to_vec(document);
        let saved = tokio::task::spawn_blocking(move || {
            let bytes = bytes.map_err(std::io::Error::from)?;
            cache.put(&Entry::new(name)?, &bytes)
        });
        if let Ok(Err(error)) = saved.await {
            tracing::warn!(%error, "a document cannot be kept");
        }
    }

    /// Drops every document whose name starts with `prefix` and is not kept.
    pub async fn prune(&self, prefix: &'static str, keep: std::collections::BTreeSet<String>) {
        let cache = Arc::clone(&self.0);
        let pruned = tokio::task::spawn_blocking(move || {
            for entry in cache.names(prefix) {
                if !keep.contains(entry.name()) {
                    cache.remove(&entry)?;
                }
            }
            Ok::<_, CacheError>(())
        });
        if let Ok(Err(error)) = pruned.await {
            tracing::warn!(%error, "documents that are not needed any more cannot be dropped");
        }
    }
}
