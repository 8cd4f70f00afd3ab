//! The TUF root metadata that trust starts from. Called by the check of relayed
//! metadata, and by whoever gathers it, to know which roots to ask for.

use std::fmt;

use bytes::Bytes;
use sigstore_tuf::TrustedMetadataSet;

use super::{PublicGoodError, refused};
use crate::limits::TUF_METADATA_MAX;

/// A `root.json` of a TUF repository: trust in everything else of it starts here.
#[derive(Clone, PartialEq, Eq)]
pub struct RootOfTrust {
    json: Bytes,
    version: u64,
}

/// Version 16 of the root of sigstore's public-good instance.
const PUBLIC_GOOD: &[u8] = include_bytes!("root.json");

impl RootOfTrust {
    /// The one of sigstore's public-good instance.
    ///
    /// # Errors
    /// Never, unless the build was damaged.
    pub fn public_good() -> Result<Self, PublicGoodError> {
        Self::from_json(Bytes::from_static(PUBLIC_GOOD))
    }

    /// The one of another repository: a sigstore of the platform's own.
    ///
    /// # Errors
    /// When it is no root metadata, or not signed by its own keys.
    pub fn from_json(json: Bytes) -> Result<Self, PublicGoodError> {
        if json.len() > TUF_METADATA_MAX {
            return Err(PublicGoodError::TooLarge("root of trust"));
        }
        let set = TrustedMetadataSet::from_root(&json).map_err(refused("root of trust"))?;
        let version = set.root().version;
        Ok(Self { json, version })
    }

    /// Its version; the first root to ask for is the next one.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn set(&self) -> Result<TrustedMetadataSet, PublicGoodError> {
        TrustedMetadataSet::from_root(&self.json).map_err(refused("root of trust"))
    }
}

impl fmt::Debug for RootOfTrust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RootOfTrust(version {})", self.version)
    }
}
