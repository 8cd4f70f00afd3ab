//! What the development registry holds: blobs, manifests and tags of each
//! repository, and uploads under way. It knows no HTTP and no faults.

use std::collections::BTreeMap;

use artifact::Digest;
use bytes::Bytes;

use crate::document::{Descriptor, Index, Manifest};

/// Bytes held in all; a laptop's share. Beyond, uploads are refused.
const BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Uploads under way at once.
const UPLOADS_MAX: usize = 256;

/// All that is held.
#[derive(Debug, Default)]
pub(super) struct Store {
    repositories: BTreeMap<String, Repository>,
    uploads: BTreeMap<String, Vec<u8>>,
    next_upload: u64,
    bytes: usize,
}

/// The store is full.
#[derive(Debug)]
pub(super) struct Full;

/// A manifest with the media type it was pushed as.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) media_type: String,
    pub(super) body: Bytes,
}

#[derive(Debug, Default)]
struct Repository {
    blobs: BTreeMap<Digest, Bytes>,
    manifests: BTreeMap<Digest, Stored>,
    tags: BTreeMap<String, Digest>,
}

impl Store {
    pub(super) fn blob(&self, repository: &str, digest: &Digest) -> Option<Bytes> {
        self.repositories
            .get(repository)?
            .blobs
            .get(digest)
            .cloned()
    }

    pub(super) fn put_blob(&mut self, repository: &str, content: Bytes) -> Result<(), Full> {
        self.reserve(content.len())?;
        let digest = Digest::of(&content);
        self.repository(repository).blobs.insert(digest, content);
        Ok(())
    }

    /// A manifest by tag or digest.
    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<(Digest, Stored)> {
        let repository = self.repositories.get(repository)?;
        let digest = match reference.parse::<Digest>() {
            Ok(digest) => digest,
            Err(_) => *repository.tags.get(reference)?,
        };
        let stored = repository.manifests.get(&digest)?.clone();
        Some((digest, stored))
    }

    pub(super) fn put_manifest(
        &mut self,
        repository: &str,
        tag: Option<&str>,
        manifest: Stored,
    ) -> Result<Digest, Full> {
        self.reserve(manifest.body.len())?;
        let digest = Digest::of(&manifest.body);
        let repository = self.repository(repository);
        repository.manifests.insert(digest, manifest);
        if let Some(tag) = tag {
            repository.tags.insert(tag.to_owned(), digest);
        }
        Ok(digest)
    }

    /// Removes a tag, or a manifest with all its tags. Says whether it was there.
    pub(super) fn delete_manifest(&mut self, repository: &str, reference: &str) -> bool {
        let Some(repository) = self.repositories.get_mut(repository) else {
            return false;
        };
        match reference.parse::<Digest>() {
            Ok(digest) => {
                repository.tags.retain(|_, tagged| *tagged != digest);
                repository.manifests.remove(&digest).is_some()
            }
            Err(_) => repository.tags.remove(reference).is_some(),
        }
    }

    pub(super) fn tags(&self, repository: &str) -> Option<Vec<&str>> {
        let repository = self.repositories.get(repository)?;
        Some(repository.tags.keys().map(String::as_str).collect())
    }

    /// What refers to `subject`, as the referrers API lists it.
    pub(super) fn referrers(&self, repository: &str, subject: &Digest) -> Index {
        let mut index = Index::new();
        let manifests = self
            .repositories
            .get(repository)
            .map(|repository| &repository.manifests);
        for stored in manifests.into_iter().flat_map(BTreeMap::values) {
            let Ok(manifest) = serde_json::from_slice::<Manifest>(&stored.body) else {
                continue;
            };
            if manifest
                .subject
                .is_none_or(|found| found.digest != *subject)
            {
                continue;
            }
            let mut entry = Descriptor::of(&stored.media_type, &stored.body);
            entry.artifact_type =
                Some(manifest.artifact_type.unwrap_or(manifest.config.media_type));
            entry.annotations = manifest.annotations;
            // A descriptor is plain JSON: this cannot fail.
            let _ = index.add(&entry);
        }
        index
    }

    /// Begins an upload; none when too many are under way.
    pub(super) fn begin_upload(&mut self) -> Option<String> {
        if self.uploads.len() >= UPLOADS_MAX {
            return None;
        }
        self.next_upload += 1;
        let id = format!("{:08x}", self.next_upload);
        self.uploads.insert(id.clone(), Vec::new());
        Some(id)
    }

    /// Appends to an upload and returns its length; none when there is no such.
    pub(super) fn append(&mut self, id: &str, chunk: &[u8]) -> Option<Result<usize, Full>> {
        let total: usize = self.uploads.values().map(Vec::len).sum();
        let upload = self.uploads.get_mut(id)?;
        if self.bytes + total + chunk.len() > BYTES_MAX {
            return Some(Err(Full));
        }
        upload.extend_from_slice(chunk);
        Some(Ok(upload.len()))
    }

    /// Ends an upload and returns what came.
    pub(super) fn finish_upload(&mut self, id: &str) -> Option<Bytes> {
        self.uploads.remove(id).map(Bytes::from)
    }

    fn reserve(&mut self, more: usize) -> Result<(), Full> {
        let bytes = self.bytes.saturating_add(more);
        if bytes > BYTES_MAX {
            return Err(Full);
        }
        self.bytes = bytes;
        Ok(())
    }

    fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }
}
