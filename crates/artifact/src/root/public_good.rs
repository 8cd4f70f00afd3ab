//! The root of sigstore's public-good instance, as TUF metadata that anybody may
//! relay: all of it is checked up from a root of trust that is at hand already, so a
//! relay can withhold an update and nothing else. Knows no network and no disk;
//! whoever relays it brings the bytes and the time, and keeps what was believed.

mod base64_list;
mod base64_text;
mod believed;
mod gather;
mod start;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigstore_tuf::TrustedMetadataSet;

use super::RootError;
use crate::Digest;
use crate::limits::{TRUSTED_ROOT_MAX, TUF_METADATA_MAX, TUF_RELAYED_MAX, TUF_ROOTS_MAX};

pub use believed::Believed;
pub use gather::GatherError;
pub use start::RootOfTrust;

/// What is relayed: files of a TUF repository such as
/// <https://tuf-repo-cdn.sigstore.dev>, by role.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublicGoodMetadata {
    /// `N.root.json` for each N after the root of trust, in order.
    #[serde(with = "base64_list", default)]
    pub roots: Vec<Bytes>,
    /// `timestamp.json`.
    #[serde(with = "base64_text")]
    pub timestamp: Bytes,
    /// `N.snapshot.json`, as the timestamp names it.
    #[serde(with = "base64_text")]
    pub snapshot: Bytes,
    /// `N.targets.json`, as the snapshot names it.
    #[serde(with = "base64_text")]
    pub targets: Bytes,
    /// The target `trusted_root.json`.
    #[serde(with = "base64_text")]
    pub trusted_root: Bytes,
}

/// Why relayed metadata is not believed. What was believed before goes on counting.
#[derive(Debug, thiserror::Error)]
pub enum PublicGoodError {
    /// A file, their number or their sum is above its limit.
    #[error("the relayed {0} is larger than any that sigstore publishes")]
    TooLarge(&'static str),
    /// Not signed as it must be, expired, older than what was believed, or not what its
    /// parent names.
    #[error("the relayed {role} is refused: {source}")]
    Refused {
        /// Which file.
        role: &'static str,
        /// What is wrong with it.
        source: sigstore_tuf::Error,
    },
    /// The targets name no `trusted_root.json`.
    #[error("the relayed targets name no {TARGET}")]
    NoTarget,
    /// The trusted root is not the one that the targets name.
    #[error("the relayed {TARGET} is not the one that the relayed targets name")]
    OtherTarget,
    /// The trusted root in it cannot be used.
    #[error("the relayed {TARGET} cannot be used: {0}")]
    Root(#[from] RootError),
}

/// The file that all of this is about.
const TARGET: &str = "trusted_root.json";

impl PublicGoodMetadata {
    /// Checks all of it up from `start`, as it is at `now` (TUF 1.0, 5.3 to 5.7).
    /// What was believed `before` sets the least versions, as far as its keys still
    /// count: a new root that replaces the keys of a role starts that role again.
    ///
    /// # Errors
    /// When any part is not as it must be.
    pub fn check(
        &self,
        start: &RootOfTrust,
        before: Option<&Believed>,
        now: Timestamp,
    ) -> Result<Believed, PublicGoodError> {
        self.check_sizes()?;
        let mut set = start.set()?;
        let roots = self.update_roots(&mut set, before)?;
        set.check_root_expired(now).map_err(refused("root"))?;
        if let Some(before) = before {
            // Errors are the point: what no longer verifies sets no least version.
            let (metadata, then) = (before.metadata(), before.checked_at());
            if set.update_timestamp(&metadata.timestamp, then).is_ok() {
                let _ = set.update_snapshot(&metadata.snapshot, then);
            }
        }
        match set.update_timestamp(&self.timestamp, now) {
            // The same version again: the one that is known goes on counting, if it still may.
            Ok(()) | Err(sigstore_tuf::Error::EqualVersion { .. }) => {}
            Err(source) => return Err(refused("timestamp")(source)),
        }
        set.update_snapshot(&self.snapshot, now)
            .map_err(refused("snapshot"))?;
        let targets = set
            .update_targets(&self.targets, now)
            .map_err(refused("targets"))?;
        let (target, targets_expire) = (targets.targets.get(TARGET).cloned(), targets.expires);
        let target = target.ok_or(PublicGoodError::NoTarget)?;
        let hash = target.hashes.get("sha256").map(String::as_str);
        if target.length != self.trusted_root.len() as u64
            || hash != Some(&Digest::of(&self.trusted_root).hex())
        {
            return Err(PublicGoodError::OtherTarget);
        }
        let ends = [
            Some(set.root().expires),
            set.timestamp().map(|role| role.expires),
            set.snapshot().map(|role| role.expires),
            Some(targets_expire),
        ];
        let metadata = Self {
            roots,
            ..self.clone()
        };
        let expires = ends.into_iter().flatten().min().unwrap_or(now);
        Believed::new(metadata, set.root().version, now, expires)
    }

    /// Follows the roots that were believed before, so that no relay goes back behind
    /// them, then the relayed ones; a relay of another version may start earlier or later
    /// than this program does. Returns all that were followed.
    fn update_roots(
        &self,
        set: &mut TrustedMetadataSet,
        before: Option<&Believed>,
    ) -> Result<Vec<Bytes>, PublicGoodError> {
        let known = before.map_or(&[][..], |before| &before.metadata().roots);
        let mut followed = Vec::new();
        for root in known.iter().chain(&self.roots) {
            // Only to pass over those that were followed already; one that lies is refused.
            let version = gather::version(root, "/signed/version");
            if version.is_some_and(|version| version <= set.root().version) {
                continue;
            }
            if followed.len() == TUF_ROOTS_MAX {
                return Err(PublicGoodError::TooLarge("list of roots"));
            }
            set.update_root(root).map_err(refused("root"))?;
            followed.push(root.clone());
        }
        Ok(followed)
    }

    fn check_sizes(&self) -> Result<(), PublicGoodError> {
        if self.roots.len() > TUF_ROOTS_MAX {
            return Err(PublicGoodError::TooLarge("list of roots"));
        }
        let files = self.roots.iter().map(|root| ("root", root)).chain([
            ("timestamp", &self.timestamp),
            ("snapshot", &self.snapshot),
            ("targets", &self.targets),
        ]);
        let mut sum = self.trusted_root.len();
        for (role, file) in files {
            if file.len() > TUF_METADATA_MAX {
                return Err(PublicGoodError::TooLarge(role));
            }
            sum += file.len();
        }
        if self.trusted_root.len() > TRUSTED_ROOT_MAX {
            return Err(PublicGoodError::TooLarge(TARGET));
        }
        if sum > TUF_RELAYED_MAX {
            return Err(PublicGoodError::TooLarge("set of files"));
        }
        Ok(())
    }
}

fn refused(role: &'static str) -> impl Fn(sigstore_tuf::Error) -> PublicGoodError {
    move |source| PublicGoodError::Refused { role, source }
}
