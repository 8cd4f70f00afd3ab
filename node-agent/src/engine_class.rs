//! What machine code of each engine class depends on, worked out once. Called by whoever
//! names a file of machine code; the classes themselves are the runtime's.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use runtime::{EngineClass, Runtime};

/// The hash of what machine code of this class depends on. Kept, because the runtime makes an
/// engine to work it out, and it stays the same as long as this process lives.
pub(crate) fn hash(class: EngineClass) -> String {
    static KEPT: Mutex<BTreeMap<EngineClass, String>> = Mutex::new(BTreeMap::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let hash = kept
        .entry(class)
        .or_insert_with(|| Runtime::engine_hash(class));
    hash.clone()
}
