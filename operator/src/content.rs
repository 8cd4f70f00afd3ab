//! The operator's content cache: what repositories hold, in a directory that may be lost.
//!
//! Blobs are kept once, by digest. Parcels are kept per repository: who signed
//! the same bytes elsewhere has not vouched for them here, and a tenant's private
//! repository is not opened by one who knows a digest.
//!
//! What is in it was verified once, and every file is hashed again when it is
//! read, so a damaged disk cannot hand anything wrong to a node. Filled by the
//! resolver, read by the hand-over. Bounded: the parcel used least recently goes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use artifact::{Digest, ImageReference, Parcel};
use bytes::Bytes;
use crds::handover::ParcelIndex;
use serde::{Deserialize, Serialize};

/// Most bytes of parcels on disk: a hundred and more of the largest components.
const MOST_BYTES: u64 = 8 << 30;
/// Most parcels, so that the index stays small.
const MOST_PARCELS: usize = 10_000;

/// What one repository holds under one digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ParcelName {
    /// `registry/repository`, without tag and digest.
    repository: String,
    /// Digest of the manifest.
    digest: Digest,
}

/// Parcels on disk; cheap to clone, all clones are one store.
#[derive(Debug, Clone)]
pub struct ContentStore {
    root: Arc<PathBuf>,
    index: Arc<Mutex<Index>>,
    /// Two parcels may share blobs, and no file is written twice at once.
    writing: Arc<tokio::sync::Mutex<()>>,
}

/// Why content could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The directory does not let us.
    #[error("the content cache in {} cannot be used; check --state-dir", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

#[derive(Debug, Default)]
struct Index {
    parcels: BTreeMap<ParcelName, Entry>,
    uses: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    listing: Listing,
    used: u64,
}

/// One parcel's parts, as its file in `parcels` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Listing {
    name: ParcelName,
    config: Digest,
    layer: Digest,
    bundles: Vec<Digest>,
    /// Of all parts, also of those that other parcels share.
    bytes: u64,
}

impl ParcelName {
    /// What the repository of `image` holds under `digest`.
    pub fn new(image: &ImageReference, digest: &Digest) -> Self {
        Self {
            repository: image.without_tag().to_string(),
            digest: *digest,
        }
    }

    /// Digest of the manifest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl fmt::Display for ParcelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

impl ContentStore {
    /// Opens `root`, made if it is not there, and reads what it lists. A listing
    /// that cannot be read is dropped: it will be pulled again.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub async fn open(root: &Path) -> Result<Self, ContentError> {
        for folder in [root.join("blobs"), root.join("parcels")] {
            tokio::fs::create_dir_all(&folder)
                .await
                .map_err(|source| ContentError::Io {
                    path: folder,
                    source,
                })?;
        }
        let mut index = Index::default();
        let folder = root.join("parcels");
        if let Ok(mut files) = tokio::fs::read_dir(&folder).await {
            while let Ok(Some(file)) = files.next_entry().await {
                let Ok(text) = tokio::fs::read(file.path()).await else {
                    continue;
                };
                match serde_json::from_slice::<Listing>(&text) {
                    Ok(listing) => {
                        let name = listing.name.clone();
                        index.parcels.insert(name, Entry { listing, used: 0 });
                    }
                    Err(_) => drop(tokio::fs::remove_file(file.path()).await),
                }
            }
        }
        Ok(Self {
            root: Arc::new(root.to_owned()),
            index: Arc::new(Mutex::new(index)),
            writing: Arc::default(),
        })
    }

    /// Keeps a parcel that its repository has handed over.
    ///
    /// # Errors
    /// When the disk is full or not ours to write.
    pub async fn put(&self, name: &ParcelName, parcel: &Parcel) -> Result<(), ContentError> {
        let _writing = self.writing.lock().await;
        let mut bytes = 0;
        let mut keep = async |content: &Bytes| {
            bytes += content.len() as u64;
            let digest = Digest::of(content);
            self.write(&self.blob_path(&digest), content)
                .await
                .map(|()| digest)
        };
        let manifest = keep(&parcel.manifest).await?;
        let config = keep(&parcel.config).await?;
        let layer = keep(&parcel.layer).await?;
        let mut bundles = Vec::with_capacity(parcel.bundles.len());
        for bundle in &parcel.bundles {
            bundles.push(keep(bundle).await?);
        }
        debug_assert_eq!(
            manifest, name.digest,
            "a parcel is kept under its own digest"
        );
        let listing = Listing {
            name: name.clone(),
            config,
            layer,
            bundles,
            bytes,
        };
        let text = serde_json::to_vec(&listing).unwrap_or_default();
        self.write(&self.listing_path(name), &text).await?;
        let gone = self.with(|index| {
            index.touch(listing);
            index.surplus()
        });
        for listing in gone {
            self.remove(&listing).await;
        }
        Ok(())
    }

    /// The whole parcel, if every part is here and undamaged.
    pub async fn parcel(&self, name: &ParcelName) -> Option<Parcel> {
        let listing = self.with(|index| index.used(name))?;
        let mut bundles = Vec::with_capacity(listing.bundles.len());
        for bundle in &listing.bundles {
            bundles.push(self.blob(bundle).await?);
        }
        Some(Parcel {
            manifest: self.blob(&listing.name.digest).await?,
            config: self.blob(&listing.config).await?,
            layer: self.blob(&listing.layer).await?,
            bundles,
        })
    }

    /// The digests of a parcel's parts, as the hand-over tells them.
    pub fn listing(&self, name: &ParcelName) -> Option<ParcelIndex> {
        let listing = self.with(|index| index.used(name))?;
        Some(ParcelIndex {
            manifest: listing.name.digest.to_string(),
            config: listing.config.to_string(),
            layer: listing.layer.to_string(),
            bundles: listing.bundles.iter().map(Digest::to_string).collect(),
        })
    }

    /// Whether `blob` is a part of this parcel.
    pub fn has_part(&self, name: &ParcelName, blob: &Digest) -> bool {
        self.with(|index| {
            let entry = index.parcels.get(name);
            entry.is_some_and(|entry| entry.listing.has_part(blob))
        })
    }

    /// The bytes with a digest, if they are here and still have it.
    pub async fn blob(&self, digest: &Digest) -> Option<Bytes> {
        let path = self.blob_path(digest);
        let content = Bytes::from(tokio::fs::read(&path).await.ok()?);
        if Digest::of(&content) == *digest {
            return Some(content);
        }
        tracing::warn!(%digest, "a file of the content cache is damaged and was removed");
        drop(tokio::fs::remove_file(&path).await);
        None
    }

    fn with<T>(&self, read: impl FnOnce(&mut Index) -> T) -> T {
        read(&mut self.index.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.hex())
    }

    fn listing_path(&self, name: &ParcelName) -> PathBuf {
        // Hashed, because a repository's name is somebody else's text.
        let hex = Digest::of(name.to_string().as_bytes()).hex();
        self.root.join("parcels").join(format!("{hex}.json"))
    }

    /// Writes beside and renames, so that no reader sees half a file.
    async fn write(&self, path: &Path, content: &[u8]) -> Result<(), ContentError> {
        let beside = path.with_extension("part");
        let written = async {
            tokio::fs::write(&beside, content).await?;
            tokio::fs::rename(&beside, path).await
        };
        written.await.map_err(|source| ContentError::Io {
            path: path.to_owned(),
            source,
        })
    }

    async fn remove(&self, listing: &Listing) {
        drop(tokio::fs::remove_file(self.listing_path(&listing.name)).await);
        for part in listing.parts() {
            // Other repositories may have it too, and all have the empty config.
            if !self.with(|index| index.uses_blob(part)) {
                drop(tokio::fs::remove_file(self.blob_path(part)).await);
            }
        }
    }
}

impl Index {
    fn touch(&mut self, listing: Listing) {
        self.uses = self.uses.saturating_add(1);
        self.parcels.insert(
            listing.name.clone(),
            Entry {
                listing,
                used: self.uses,
            },
        );
    }

    fn used(&mut self, name: &ParcelName) -> Option<Listing> {
        self.uses = self.uses.saturating_add(1);
        let entry = self.parcels.get_mut(name)?;
        entry.used = self.uses;
        Some(entry.listing.clone())
    }

    /// Takes out what is beyond the bounds; the newest always stays.
    fn surplus(&mut self) -> Vec<Listing> {
        let mut gone = Vec::new();
        while self.parcels.len() > 1
            && (self.parcels.len() > MOST_PARCELS
                || self
                    .parcels
                    .values()
                    .map(|entry| entry.listing.bytes)
                    .sum::<u64>()
                    > MOST_BYTES)
        {
            let Some(oldest) = self
                .parcels
                .iter()
                .min_by_key(|(_, entry)| entry.used)
                .map(|(name, _)| name.clone())
            else {
                break;
            };
            gone.extend(self.parcels.remove(&oldest).map(|entry| entry.listing));
        }
        gone
    }

    fn uses_blob(&self, blob: &Digest) -> bool {
        let mut entries = self.parcels.values();
        entries.any(|entry| entry.listing.has_part(blob))
    }
}

impl Listing {
    fn parts(&self) -> impl Iterator<Item = &Digest> {
        let whole = [&self.name.digest, &self.config, &self.layer];
        whole.into_iter().chain(&self.bundles)
    }

    fn has_part(&self, blob: &Digest) -> bool {
        self.parts().any(|part| part == blob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(layer: &'static [u8], bundle: &'static [u8]) -> Parcel {
        Parcel {
            manifest: Bytes::from_static(b"{}"),
            config: Bytes::from_static(b"config"),
            layer: Bytes::from_static(layer),
            bundles: vec![Bytes::from_static(bundle)],
        }
    }

    fn name(repository: &str) -> ParcelName {
        ParcelName::new(&repository.parse().unwrap(), &Digest::of(b"{}"))
    }

    #[tokio::test]
    async fn what_was_kept_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (name, parcel) = (name("a.example/orders"), parcel(b"layer", b"bundle"));
        ContentStore::open(folder.path())
            .await
            .unwrap()
            .put(&name, &parcel)
            .await
            .unwrap();
        let store = ContentStore::open(folder.path()).await.unwrap();
        assert_eq!(store.parcel(&name).await.unwrap(), parcel);
        assert!(store.has_part(&name, &Digest::of(b"bundle")));
        assert!(!store.has_part(&name, &Digest::of(b"another")));
    }

    #[tokio::test]
    async fn a_damaged_file_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let (name, parcel) = (name("a.example/orders"), parcel(b"layer", b"bundle"));
        let store = ContentStore::open(folder.path()).await.unwrap();
        store.put(&name, &parcel).await.unwrap();
        let layer = Digest::of(b"layer");
        std::fs::write(folder.path().join("blobs").join(layer.hex()), b"forged").unwrap();
        assert!(store.blob(&layer).await.is_none());
        assert!(store.parcel(&name).await.is_none());
    }

    #[tokio::test]
    async fn a_repository_has_its_own_signatures_and_nothing_that_it_did_not_hand_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = ContentStore::open(folder.path()).await.unwrap();
        let (ours, theirs) = (name("a.example/orders"), name("a.example/mirror"));
        store.put(&ours, &parcel(b"layer", b"ours")).await.unwrap();
        assert!(store.parcel(&theirs).await.is_none());
        assert!(store.listing(&theirs).is_none());

        let other = parcel(b"layer", b"theirs");
        store.put(&theirs, &other).await.unwrap();
        assert_eq!(store.parcel(&theirs).await.unwrap(), other);
        let ours = store.parcel(&ours).await.unwrap();
        assert_eq!(ours.bundles, [Bytes::from_static(b"ours")]);
    }
}
