//! The files of this node that survive a restart: content by digest, machine code, the last
//! desired state. Every file carries a keyed BLAKE3 over its name and content, so that one
//! written by another hand is deleted instead of believed; the total is bounded, and the
//! least recently used go first. Blocking: call it from `spawn_blocking`. Knows nothing of
//! what is inside the files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};

use crate::memfd::{Draft, Sealed};

/// The secret that makes a file of this node a file of this node.
#[derive(Clone)]
pub struct Key([u8; KEY_LENGTH]);

/// A name in the cache. Only letters, digits, `-`, `_` and `.`, and never a leading dot,
/// so that no name can leave the directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry(String);

/// A directory of authenticated files.
#[derive(Debug)]
pub struct Cache {
    directory: OwnedFd,
    key: Key,
    most: u64,
    index: Mutex<Index>,
    forged: AtomicU64,
    evicted: AtomicU64,
}

/// Why the cache could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The disk, or the bound of the cache, has no room.
    #[error("no space left for {bytes} bytes in the state directory")]
    NoSpace {
        /// What was to be written.
        bytes: u64,
    },
    /// A name that could leave the directory.
    #[error("\"{0}\" is not a name for a file of the cache")]
    InvalidName(String),
    /// The key file exists and is not ours.
    #[error(
        "{0} is not a key of this agent: it has to be a file of 32 bytes that only its owner may read"
    )]
    InvalidKey(String),
    /// The file system.
    #[error("the state directory cannot be used: {0}")]
    Io(#[from] io::Error),
}

#[derive(Debug, Default)]
struct Index {
    entries: BTreeMap<Entry, Known>,
    total: u64,
    clock: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    size: u64,
    used: u64,
}

const KEY_LENGTH: usize = 32;
/// Identifies the format; another one is deleted like a forgery.
const MAGIC: &[u8; 8] = b"LIGHTR01";
const MAC_LENGTH: usize = 32;
const HEAD: u64 = (MAGIC.len() + MAC_LENGTH) as u64;
/// What is hashed and copied at a time.
const CHUNK: usize = 64 * 1024;
/// The largest file: machine code is bounded to 128 MiB.
const ENTRY_MAX: u64 = 129 * 1024 * 1024;
/// Files of an earlier process that died while writing.
const TEMPORARY: &str = "incoming.";

impl Key {
    /// The key in `directory`, made at the first start. Readable by nobody else.
    pub fn of_node(directory: &Path) -> Result<Self, CacheError> {
        let path = directory.join("cache.key");
        let directory = open_directory(directory)?;
        match read_owned(&directory, "cache.key", KEY_LENGTH as u64)? {
            Some(mut file) => {
                let mut key = [0; KEY_LENGTH];
                file.read_exact(&mut key)
                    .map_err(|_| CacheError::InvalidKey(path.display().to_string()))?;
                Ok(Self(key))
            }
            None => {
                let mut key = [0; KEY_LENGTH];
                aws_lc_rs::rand::fill(&mut key)
                    .map_err(|_| io::Error::other("the kernel gave no randomness"))?;
                write_new(&directory, "cache.key", &[&key])?;
                Ok(Self(key))
            }
        }
    }

    fn authenticate(&self, entry: &Entry, length: u64) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        // Lengths first, so that no name and content can be read as another name and content.
        hasher.update(&(entry.0.len() as u64).to_le_bytes());
        hasher.update(entry.0.as_bytes());
        hasher.update(&length.to_le_bytes());
        hasher
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(redacted)")
    }
}

impl Entry {
    /// A name that stays inside the directory.
    pub fn new(name: impl Into<String>) -> Result<Self, CacheError> {
        let name = name.into();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let inside = !name.is_empty() && name.len() <= 250 && !name.starts_with('.');
        if inside && name.chars().all(plain) && !name.starts_with(TEMPORARY) {
            Ok(Self(name))
        } else {
            Err(CacheError::InvalidName(name))
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Cache {
    /// Opens, and makes if need be, a directory of at most `most` bytes.
    pub fn open(directory: &Path, key: Key, most: u64) -> Result<Self, CacheError> {
        make_directory(directory)?;
        let directory = open_directory(directory)?;
        let index = scan(&directory)?;
        let cache = Self {
            directory,
            key,
            most,
            index: Mutex::new(index),
            forged: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        };
        cache.make_room(0)?;
        Ok(cache)
    }

    /// The content of an entry in a sealed memory file, if it is there and authentic. It is
    /// copied while it is authenticated, so that a later change of the file changes nothing.
    pub fn get(&self, entry: &Entry) -> Result<Option<Sealed>, CacheError> {
        let Some(mut file) = read_owned(&self.directory, &entry.0, ENTRY_MAX)? else {
            self.forget(entry);
            return Ok(None);
        };
        let Some(sealed) = self.copy_authentic(entry, &mut file)? else {
            self.forged.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                entry = entry.0,
                "a file of the cache was not ours; it is deleted"
            );
            self.remove(entry)?;
            return Ok(None);
        };
        self.touch(entry, &file);
        Ok(Some(sealed))
    }

    /// Stores content under a name, replacing what was there. Older entries make room.
    pub fn put(&self, entry: &Entry, content: &[u8]) -> Result<(), CacheError> {
        let length = content.len() as u64;
        let size = length.saturating_add(HEAD);
        if size > self.most || size > ENTRY_MAX {
            return Err(CacheError::NoSpace { bytes: size });
        }
        self.make_room(size)?;
        let mut hasher = self.key.authenticate(entry, length);
        hasher.update(content);
        let mac = hasher.finalize();
        loop {
            match self.write(entry, &[MAGIC, mac.as_bytes(), content]) {
                Ok(()) => break,
                // The disk is fuller than our own count: others write to it too.
                Err(error) if is_full(&error) && self.evict_one()? => {}
                Err(error) if is_full(&error) => {
                    return Err(CacheError::NoSpace { bytes: size });
                }
                Err(error) => return Err(error.into()),
            }
        }
        let mut index = self.lock();
        index.clock += 1;
        let known = Known {
            size,
            used: index.clock,
        };
        let before = index
            .entries
            .insert(entry.clone(), known)
            .map_or(0, |known| known.size);
        index.total = index.total.saturating_sub(before).saturating_add(size);
        Ok(())
    }

    /// Deletes an entry; one that is not there is no error.
    pub fn remove(&self, entry: &Entry) -> Result<(), CacheError> {
        match rustix::fs::unlinkat(&self.directory, &entry.0, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        self.forget(entry);
        Ok(())
    }

    /// The names that start with `prefix`, for who wants to drop what is not needed any more.
    pub fn names(&self, prefix: &str) -> Vec<Entry> {
        let index = self.lock();
        index
            .entries
            .keys()
            .filter(|entry| entry.0.starts_with(prefix))
            .cloned()
            .collect()
    }

    /// Bytes on disk, files found forged and files given up for room, since the start.
    pub fn figures(&self) -> (u64, u64, u64) {
        let total = self.lock().total;
        (
            total,
            self.forged.load(Ordering::Relaxed),
            self.evicted.load(Ordering::Relaxed),
        )
    }

    fn copy_authentic(&self, entry: &Entry, file: &mut File) -> io::Result<Option<Sealed>> {
        let size = file.metadata()?.len();
        let Some(length) = size.checked_sub(HEAD) else {
            return Ok(None);
        };
        let mut magic = [0; MAGIC.len()];
        let mut mac = [0; MAC_LENGTH];
        file.read_exact(&mut magic)?;
        file.read_exact(&mut mac)?;
        if magic != *MAGIC {
            return Ok(None);
        }
        let mut hasher = self.key.authenticate(entry, length);
        let mut draft = Draft::new("lighterman")?;
        let mut chunk = vec![0; CHUNK];
        let mut left = length;
        while left > 0 {
            let step = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let Some(part) = chunk.get_mut(..step) else {
                break;
            };
            // A file that shrank meanwhile ends here, as a forgery.
            if file.read_exact(part).is_err() {
                return Ok(None);
            }
            hasher.update(part);
            draft.write_all(part)?;
            left -= step as u64;
        }
        // blake3::Hash compares in constant time.
        if hasher.finalize() == blake3::Hash::from_bytes(mac) {
            draft.seal().map(Some)
        } else {
            Ok(None)
        }
    }

    fn write(&self, entry: &Entry, parts: &[&[u8]]) -> io::Result<()> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let temporary = format!("{TEMPORARY}{}.{serial}", std::process::id());
        let written = write_new(&self.directory, &temporary, parts).and_then(|()| {
            rustix::fs::renameat(&self.directory, &temporary, &self.directory, &entry.0)?;
            rustix::fs::fsync(&self.directory)?;
            Ok(())
        });
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&self.directory, &temporary, AtFlags::empty());
        }
        written
    }

    fn make_room(&self, size: u64) -> Result<(), CacheError> {
        while self.lock().total.saturating_add(size) > self.most {
            if !self.evict_one()? {
                break;
            }
        }
        Ok(())
    }

    fn evict_one(&self) -> Result<bool, CacheError> {
        let oldest = {
            let index = self.lock();
            let oldest = index.entries.iter().min_by_key(|(_, known)| known.used);
            oldest.map(|(entry, _)| entry.clone())
        };
        let Some(entry) = oldest else {
            return Ok(false);
        };
        self.remove(&entry)?;
        self.evicted.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    fn touch(&self, entry: &Entry, file: &File) {
        let mut index = self.lock();
        index.clock += 1;
        let used = index.clock;
        if let Some(known) = index.entries.get_mut(entry) {
            known.used = used;
        }
        // The order survives a restart in the modification times.
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        let _ = rustix::fs::futimens(file, &times);
    }

    fn forget(&self, entry: &Entry) {
        let mut index = self.lock();
        if let Some(known) = index.entries.remove(entry) {
            index.total = index.total.saturating_sub(known.size);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Index> {
        // The index is counts only; a thread that died while it held them left them usable.
        self.index
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Makes a directory that only this user may enter.
pub fn make_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Opens a regular file that is ours alone. A symlink, a second hard link, another owner or a
/// wider mode is somebody else's doing: the file counts as not there and is unlinked.
fn read_owned(directory: &OwnedFd, name: &str, most: u64) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => {
            rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let facts = rustix::fs::fstat(&fd)?;
    let ours = FileType::from_raw_mode(facts.st_mode) == FileType::RegularFile
        && facts.st_uid == rustix::process::geteuid().as_raw()
        && facts.st_nlink == 1
        && facts.st_mode & 0o077 == 0
        && u64::try_from(facts.st_size).is_ok_and(|size| size <= most);
    if ours {
        Ok(Some(File::from(fd)))
    } else {
        rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
        Ok(None)
    }
}

fn write_new(directory: &OwnedFd, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(directory, name, flags, Mode::RUSR)?;
    let mut file = File::from(fd);
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

/// Finds what an earlier process left, in the order it was last used.
fn scan(directory: &OwnedFd) -> io::Result<Index> {
    let mut found = Vec::new();
    for item in rustix::fs::Dir::read_from(directory)? {
        let item = item?;
        let name = item.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." {
            continue;
        }
        if name.starts_with(TEMPORARY) {
            rustix::fs::unlinkat(directory, &name, AtFlags::empty())?;
            continue;
        }
        if let (Ok(entry), Some(file)) =
            (Entry::new(&name), read_owned(directory, &name, ENTRY_MAX)?)
        {
            let facts = file.metadata()?;
            let modified = facts
                .modified()?
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            found.push((modified, entry, facts.len()));
        }
    }
    found.sort();
    let mut index = Index::default();
    for (_, entry, size) in found {
        index.clock += 1;
        index.total += size;
        index.entries.insert(
            entry,
            Known {
                size,
                used: index.clock,
            },
        );
    }
    Ok(index)
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
