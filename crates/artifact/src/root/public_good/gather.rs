//! Which files of a TUF repository make up what is relayed, in the order in which one
//! names the next. Nothing of it is checked yet: a wrong name leads to a file that is
//! refused later, never out of the repository. The bytes come from the caller, over
//! the network or from a folder.

use bytes::Bytes;
use serde_json::Value;

use super::{PublicGoodMetadata, RootOfTrust};
use crate::Digest;
use crate::limits::{TRUSTED_ROOT_MAX, TUF_METADATA_MAX, TUF_ROOTS_MAX};

/// Why a repository did not give what it must have.
#[derive(Debug, thiserror::Error)]
pub enum GatherError<E> {
    /// A file could not be had.
    #[error("{file} cannot be read")]
    File {
        /// The file, below the repository.
        file: String,
        /// The cause.
        #[source]
        source: E,
    },
    /// There is no such file.
    #[error("there is no {0}; is this a TUF repository?")]
    Missing(String),
    /// A file does not name the next one.
    #[error("{0} does not say which file is next; is this sigstore's TUF repository?")]
    Unreadable(String),
}

const TIMESTAMP: &str = "timestamp.json";

impl PublicGoodMetadata {
    /// Gathers what follows `start`. `get` is asked for a file below the repository and
    /// the most bytes that it may have, and answers with nothing when there is none.
    ///
    /// # Errors
    /// When a file is missing, does not name the next one, or `get` fails.
    pub async fn gather<E, F>(
        start: &RootOfTrust,
        get: impl Fn(String, usize) -> F,
    ) -> Result<Self, GatherError<E>>
    where
        F: Future<Output = Result<Option<Bytes>, E>>,
    {
        let optional = async |file: String, most| {
            let answer = get(file.clone(), most).await;
            answer.map_err(|source| GatherError::File { file, source })
        };
        let needed = async |file: &str, most| {
            let found = optional(file.to_owned(), most).await?;
            found.ok_or_else(|| GatherError::Missing(file.to_owned()))
        };
        let named = |next: Option<String>, by: &str| {
            next.ok_or_else(|| GatherError::Unreadable(by.to_owned()))
        };
        let mut roots = Vec::new();
        while roots.len() < TUF_ROOTS_MAX {
            let next = start.version().saturating_add(roots.len() as u64 + 1);
            let file = format!("{next}.root.json");
            match optional(file, TUF_METADATA_MAX).await? {
                Some(root) => roots.push(root),
                None => break,
            }
        }
        let timestamp = needed(TIMESTAMP, TUF_METADATA_MAX).await?;
        let file = version(&timestamp, "/signed/meta/snapshot.json/version");
        let file = named(file.map(|of| format!("{of}.snapshot.json")), TIMESTAMP)?;
        let snapshot = needed(&file, TUF_METADATA_MAX).await?;
        let next = version(&snapshot, "/signed/meta/targets.json/version");
        let file = named(next.map(|of| format!("{of}.targets.json")), &file)?;
        let targets = needed(&file, TUF_METADATA_MAX).await?;
        let file = named(target(&targets), &file)?;
        Ok(Self {
            roots,
            trusted_root: needed(&file, TRUSTED_ROOT_MAX).await?,
            timestamp,
            snapshot,
            targets,
        })
    }
}

/// The file of the trusted root that the targets name.
fn target(targets: &[u8]) -> Option<String> {
    let targets = read(targets)?;
    let hash = targets.pointer("/signed/targets/trusted_root.json/hashes/sha256")?;
    // Only what is a hash may become part of a path.
    let hash = Digest::from_hex(hash.as_str()?).ok()?;
    Some(format!("targets/{}.trusted_root.json", hash.hex()))
}

pub(super) fn version(metadata: &[u8], pointer: &str) -> Option<u64> {
    read(metadata)?.pointer(pointer)?.as_u64()
}

fn read(metadata: &[u8]) -> Option<Value> {
    if metadata.len() > TUF_METADATA_MAX {
        return None;
    }
    serde_json::from_slice(metadata).ok()
}
