//! Directories with the content of a ConfigMap or a Secret. Each content has a directory of its
//! own, complete before it has its name, and never changed after: an instance sees all of one
//! content or all of another. Called by `volumes`.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use super::VolumeError;

/// Files of one volume: more keys than fit a ConfigMap of 1 MiB with any sense.
const FILES_MAX: usize = 1_024;
/// Readable by whoever has a descriptor of a directory above, and by nobody for writing.
const FILE_MODE: u32 = 0o444;
const DIRECTORY_MODE: u32 = 0o755;
/// The name of a directory while it is written. One that stays behind is removed like any
/// content that nobody uses.
const INCOMPLETE: &str = "incomplete";

/// Bytes of all contents on the node: they lie in control's memory.
const CONTENTS_BYTES: u64 = 48 * 1024 * 1024;

/// The directory with these files below `above`, made if it is not there and all contents
/// together leave room for it.
pub(super) fn make(
    all: &Path,
    above: &Path,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<PathBuf, VolumeError> {
    let made = above.join(name_of(files));
    if made.is_dir() {
        return Ok(made);
    }
    if files.len() > FILES_MAX {
        return Err(VolumeError::InvalidFile(format!(
            "{} files in one volume; the most is {FILES_MAX}",
            files.len()
        )));
    }
    let bytes: usize = files.values().map(Vec::len).sum();
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    if bytes.saturating_add(bytes_below(all)) > CONTENTS_BYTES {
        return Err(VolumeError::NoSpace { bytes });
    }
    let incomplete = above.join(INCOMPLETE);
    match std::fs::remove_dir_all(&incomplete) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    directory(&incomplete)?;
    for (path, content) in files {
        if !is_plain(path) {
            return Err(VolumeError::InvalidFile(path.clone()));
        }
        let path = incomplete.join(path);
        if let Some(parent) = path.parent() {
            directory(parent)?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(path)?;
        file.write_all(content)?;
    }
    std::fs::rename(&incomplete, &made)?;
    Ok(made)
}

/// Few files that are small: they are looked at whenever one is to be added.
fn bytes_below(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, found)| match found.is_dir() {
            true => bytes_below(&path),
            false => found.len(),
        })
        .fold(0, u64::saturating_add)
}

fn directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
}

/// Relative, and without any segment that leads elsewhere.
fn is_plain(path: &str) -> bool {
    let mut segments = Path::new(path).components();
    !path.is_empty() && segments.all(|segment| matches!(segment, Component::Normal(_)))
}

/// Stands for the content. Names and contents go in with their lengths, so that no two
/// contents are written the same.
fn name_of(files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (path, content) in files {
        for part in [path.as_bytes(), content] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    hasher.finalize().to_hex().to_string()
}
