//! Relayed metadata that was checked: the root in it, and the least that the next one
//! must be. Kept on disk by operator and agent; only a check makes one.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{PublicGoodError, PublicGoodMetadata, RootOfTrust};
use crate::root::TrustedRoot;

/// Metadata that was checked, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Believed {
    metadata: PublicGoodMetadata,
    root_version: u64,
    checked_at: Timestamp,
    expires: Timestamp,
}

impl Believed {
    pub(super) fn new(
        metadata: PublicGoodMetadata,
        root_version: u64,
        checked_at: Timestamp,
        expires: Timestamp,
    ) -> Result<Self, PublicGoodError> {
        let believed = Self {
            metadata,
            root_version,
            checked_at,
            expires,
        };
        // A root that cannot be used must not replace one that can.
        believed.trusted_root()?;
        Ok(believed)
    }

    /// The root that it gives.
    ///
    /// # Errors
    /// Never for what a check has made.
    pub fn trusted_root(&self) -> Result<TrustedRoot, PublicGoodError> {
        Ok(TrustedRoot::from_json(&self.metadata.trusted_root)?)
    }

    /// The JSON of that root.
    #[must_use]
    pub fn trusted_root_json(&self) -> &Bytes {
        &self.metadata.trusted_root
    }

    /// What was checked, with every root that was followed: for whoever relays it on.
    #[must_use]
    pub fn metadata(&self) -> &PublicGoodMetadata {
        &self.metadata
    }

    /// The version of the TUF root that it ends at.
    #[must_use]
    pub fn root_version(&self) -> u64 {
        self.root_version
    }

    /// When it was checked.
    #[must_use]
    pub fn checked_at(&self) -> Timestamp {
        self.checked_at
    }

    /// When the first of its parts expires. The root in it goes on counting; that
    /// nothing newer has come by then is to be reported.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Checks what was kept on disk once more, as it was when it was first believed:
    /// another root of trust may count by now.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn check_again(&self, start: &RootOfTrust) -> Result<Self, PublicGoodError> {
        self.metadata.check(start, None, self.checked_at)
    }
}
