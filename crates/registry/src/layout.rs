//! A component and its signatures as an OCI image layout: a directory that can
//! be carried where no registry is, and that other tools read. Blocking file
//! work for the command line. It checks digests and sizes, not signatures.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use artifact::limits;
use artifact::{Digest, Parcel};
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use crate::document::{Descriptor, EMPTY_JSON, Index, Manifest, OCI_MANIFEST};
use crate::image::Image;
use crate::push::{predicate_type, signature_manifest};

/// The annotation that names an entry of a layout (OCI image layout).
const REFERENCE_NAME: &str = "org.opencontainers.image.ref.name";
/// An index of more than this is not one component with its signatures.
const INDEX_MAX: usize = 1024 * 1024;
/// A container image's layer is a program: a debug build of one has half of this.
const IMAGE_BLOB_MAX: usize = 512 * 1024 * 1024;

/// Why a layout cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The file system.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// JSON that is not what it should be.
    #[error("{path} is not what an OCI image layout has there: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A file is too large.
    #[error("{path} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: usize,
    },
    /// A blob is not what its name says.
    #[error("{path} holds bytes with digest {actual}; save the component again")]
    DigestMismatch {
        /// The file.
        path: PathBuf,
        /// The digest of what it holds.
        actual: Digest,
    },
    /// There is not exactly one component in it.
    #[error("{path} lists {found} images, not one; name the one you mean")]
    NotOneImage {
        /// The index.
        path: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// A part is not acceptable.
    #[error(transparent)]
    Part(#[from] crate::Error),
    /// What it holds is not a component.
    #[error(transparent)]
    Refused(#[from] artifact::Refusal),
}

/// Writes a component with its signatures to `folder`, which is made. A layout
/// that is there is replaced; its blobs stay.
///
/// # Errors
/// See [`LayoutError`].
pub fn write(folder: &Path, name: &str, parcel: &Parcel) -> Result<(), LayoutError> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(|source| LayoutError::Io {
        path: blobs,
        source,
    })?;
    for blob in [&parcel.manifest, &parcel.config, &parcel.layer] {
        write_blob(folder, blob)?;
    }
    let subject = Descriptor::of(OCI_MANIFEST, &parcel.manifest);
    let mut image = subject.clone();
    image.annotations = BTreeMap::from([(REFERENCE_NAME.to_owned(), name.to_owned())]);
    let mut entries = vec![image];
    if !parcel.bundles.is_empty() {
        write_blob(folder, EMPTY_JSON)?;
    }
    for bundle in &parcel.bundles {
        write_blob(folder, bundle)?;
        let layer = Descriptor::of(crate::document::BUNDLE, bundle);
        // No creation time: the same parcel is the same layout.
        let manifest = signature_manifest(subject.clone(), layer, predicate_type(bundle)?, None);
        let body = to_json(folder, &manifest)?;
        write_blob(folder, &body)?;
        let mut entry = Descriptor::of(OCI_MANIFEST, &body);
        entry.artifact_type = manifest.artifact_type;
        entries.push(entry);
    }
    write_index(folder, &entries)
}

/// Writes images that are no components to `folder`, each under its name;
/// attachments have none. A layout that is there is replaced; its blobs stay.
///
/// # Errors
/// See [`LayoutError`].
pub fn write_images(folder: &Path, images: &[(Option<&str>, &Image)]) -> Result<(), LayoutError> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(|source| LayoutError::Io {
        path: blobs,
        source,
    })?;
    let mut entries = Vec::new();
    for (name, image) in images {
        for blob in image.blobs.iter().chain([&image.manifest]) {
            write_blob(folder, blob)?;
        }
        let (mut entry, _) = image
            .descriptor()
            .map_err(|source| malformed(folder, source))?;
        if let Some(name) = name {
            entry.annotations = BTreeMap::from([(REFERENCE_NAME.to_owned(), (*name).to_owned())]);
        }
        entries.push(entry);
    }
    write_index(folder, &entries)
}

/// Reads all that [`write_images`] wrote: images with their names, and attachments.
/// What they hold is only as large as the one who wrote the folder made it.
///
/// # Errors
/// See [`LayoutError`].
pub fn read_images(folder: &Path) -> Result<Vec<(Option<String>, Image)>, LayoutError> {
    let path = folder.join("index.json");
    let index: Index = serde_json::from_slice(&read_file(&path, INDEX_MAX)?)
        .map_err(|source| malformed(&path, source))?;
    let mut images = Vec::new();
    for entry in index.descriptors() {
        let body = read_blob(folder, &entry.digest, limits::MANIFEST_MAX)?;
        let manifest: Manifest =
            serde_json::from_slice(&body).map_err(|source| malformed(&path, source))?;
        let blobs = manifest
            .layers
            .iter()
            .chain([&manifest.config])
            .map(|blob| read_blob(folder, &blob.digest, IMAGE_BLOB_MAX))
            .collect::<Result<_, _>>()?;
        let name = entry.annotations.get(REFERENCE_NAME).cloned();
        images.push((
            name,
            Image {
                manifest: body,
                blobs,
            },
        ));
    }
    Ok(images)
}

fn write_index(folder: &Path, entries: &[Descriptor]) -> Result<(), LayoutError> {
    let mut index = Index::new();
    for entry in entries {
        index
            .add(entry)
            .map_err(|source| malformed(folder, source))?;
    }
    write_file(&folder.join("index.json"), &to_json(folder, &index)?)?;
    // Last: its presence says that the layout is whole.
    let marker = to_json(folder, &json!({"imageLayoutVersion": "1.0.0"}))?;
    write_file(&folder.join("oci-layout"), &marker)
}

/// Reads the one component in `folder`, or the one called `name`, with its
/// signatures.
///
/// # Errors
/// See [`LayoutError`].
pub fn read(folder: &Path, name: Option<&str>) -> Result<Parcel, LayoutError> {
    let path = folder.join("index.json");
    let index: Index = serde_json::from_slice(&read_file(&path, INDEX_MAX)?)
        .map_err(|source| malformed(&path, source))?;
    let mut images = Vec::new();
    let mut referrers = Vec::new();
    for entry in index.descriptors() {
        let body = read_blob(folder, &entry.digest, limits::MANIFEST_MAX)?;
        let subject = serde_json::from_slice::<Manifest>(&body)
            .ok()
            .and_then(|manifest| {
                let subject = manifest.subject.clone()?;
                Some((subject.digest, manifest))
            });
        match subject {
            Some(referrer) => referrers.push(referrer),
            None if name.is_none_or(|name| is_called(&entry, name)) => {
                images.push((entry.digest, body))
            }
            None => {}
        }
    }
    let found = images.len();
    let Ok([(digest, manifest)]) = <[(Digest, Bytes); 1]>::try_from(images) else {
        return Err(LayoutError::NotOneImage { path, found });
    };
    let parts = artifact::manifest::read(&manifest)?;
    let config = read_blob(folder, &parts.config.digest, limits::CONFIG_MAX)?;
    let layer = read_blob(folder, &parts.layer.digest, limits::WASM_MAX)?;
    let bundles = referrers
        .iter()
        .filter(|(subject, _)| *subject == digest)
        .flat_map(|(_, manifest)| manifest.bundles())
        .take(limits::BUNDLES_MAX)
        .map(|bundle| read_blob(folder, &bundle.digest, limits::BUNDLE_MAX))
        .collect::<Result<_, _>>()?;
    Ok(Parcel {
        manifest,
        config,
        layer,
        bundles,
    })
}

fn is_called(entry: &Descriptor, name: &str) -> bool {
    entry
        .annotations
        .get(REFERENCE_NAME)
        .is_some_and(|found| found == name)
}

fn blob_path(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join("blobs/sha256").join(digest.hex())
}

fn write_blob(folder: &Path, content: &[u8]) -> Result<(), LayoutError> {
    write_file(&blob_path(folder, &Digest::of(content)), content)
}

fn read_blob(folder: &Path, digest: &Digest, limit: usize) -> Result<Bytes, LayoutError> {
    let path = blob_path(folder, digest);
    let content = read_file(&path, limit)?;
    let actual = Digest::of(&content);
    if actual != *digest {
        return Err(LayoutError::DigestMismatch { path, actual });
    }
    Ok(content)
}

fn write_file(path: &Path, content: &[u8]) -> Result<(), LayoutError> {
    fs::write(path, content).map_err(|source| LayoutError::Io {
        path: path.to_owned(),
        source,
    })
}

fn read_file(path: &Path, limit: usize) -> Result<Bytes, LayoutError> {
    let failed = |source| LayoutError::Io {
        path: path.to_owned(),
        source,
    };
    let mut content = Vec::new();
    File::open(path)
        .map_err(failed)?
        .take(limit as u64 + 1)
        .read_to_end(&mut content)
        .map_err(failed)?;
    if content.len() > limit {
        return Err(LayoutError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(content.into())
}

fn to_json(folder: &Path, value: &impl Serialize) -> Result<Bytes, LayoutError> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|source| malformed(folder, source))
}

fn malformed(path: &Path, source: serde_json::Error) -> LayoutError {
    LayoutError::Malformed {
        path: path.to_owned(),
        source,
    }
}
