//! What one version of a component hands to the next: bytes, and the number of their form. They
//! live in memory only, count against the component and the node, and are gone when dropped.

use crate::call::Call;
use crate::limits::Waiting;
use std::sync::Arc;

/// The most bytes of a state.
const DATA_MAX: u64 = 16 << 20;
/// The part of perReplica.memory that it may be.
const PART: u64 = 4;
/// What is copied out of a guest besides the bytes: an error's text, or nothing.
const WORDS: usize = 64 << 10;

/// The state of a component that has ended.
pub struct Saved {
    schema: u32,
    data: Vec<u8>,
    _held: Waiting,
}

impl std::fmt::Debug for Saved {
    /// Without the bytes: they may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Saved")
            .field("schema", &self.schema)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

impl Saved {
    /// Bytes that a component may save.
    pub(super) fn most(call: &Call) -> u64 {
        let limits = &call.given().workload.limits;
        (limits.per_replica.memory.0 / PART).min(DATA_MAX)
    }

    /// What wasmtime may copy out of the guest for it.
    pub(super) fn fuel(most: u64) -> usize {
        usize::try_from(most).map_or(usize::MAX, |most| most.saturating_add(WORDS))
    }

    /// Takes what was saved on the account of the component.
    ///
    /// # Errors
    /// What is in the way.
    pub(super) fn hold(
        call: &Arc<Call>,
        schema: u32,
        data: Vec<u8>,
        most: u64,
    ) -> Result<Saved, String> {
        let bytes = data.len();
        if bytes as u64 > most {
            return Err(format!(
                "{bytes} bytes are more than {most}; save less, or raise resources.perReplica.memory"
            ));
        }
        let held = Waiting::hold(call.account(), bytes)
            .map_err(|outcome| format!("there is no room for {bytes} bytes: {outcome}"))?;
        Ok(Saved {
            schema,
            data,
            _held: held,
        })
    }

    /// The form of the bytes, as the component counts it.
    #[must_use]
    pub fn schema(&self) -> u32 {
        self.schema
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }
}
