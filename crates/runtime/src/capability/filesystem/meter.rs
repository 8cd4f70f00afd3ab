//! How much a volume holds, so that its size limit holds without a quota of the kernel.
//!
//! Counts what files claim to be long, not what they occupy: a sparse file costs its length.
//! Inodes and names cost a constant. What is removed while it is open is given back when it
//! is closed. One meter per directory of the host, shared by all that mount it. Must not do
//! system calls of its own but to count; `volume` calls it under its lock.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, Result};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

/// Bytes that an inode costs: a block, which the smallest file takes on most file systems.
pub(super) const INODE: u64 = 4096;
/// Bytes that a name costs: the longest.
pub(super) const NAME: u64 = 256;
/// Directories deep a volume is counted. A path of a guest is no deeper.
const DEPTH_MAX: usize = 4096;

/// What tells one object of the host's file systems from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

/// The meters of all volumes that are mounted. Two revisions of a component that mount one
/// directory draw on one meter.
#[derive(Debug, Default)]
pub(crate) struct Meters(Mutex<HashMap<Identity, Weak<Meter>>>);

/// The meter of one directory.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Books>);

/// What a directory holds.
#[derive(Debug, Default)]
pub(super) struct Books {
    counted: bool,
    used: u64,
    open: HashMap<Identity, Handles>,
}

#[derive(Debug, Default)]
struct Handles {
    count: u32,
    /// It has no name any more: its bytes are given back with the last handle.
    removed: bool,
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Identity {
        Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

/// Bytes that a file claims to be long.
pub(super) fn size(stat: &Stat) -> u64 {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => u64::try_from(stat.st_size).unwrap_or(0),
        _ => 0,
    }
}

impl Meters {
    pub(super) fn of(&self, root: &OwnedFd) -> Result<Arc<Meter>> {
        let identity = Identity::of(&rustix::fs::fstat(root)?);
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = meters.get(&identity).and_then(Weak::upgrade) {
            return Ok(meter);
        }
        meters.retain(|_, meter| meter.strong_count() > 0);
        let meter = Arc::new(Meter::default());
        meters.insert(identity, Arc::downgrade(&meter));
        Ok(meter)
    }
}

impl Meter {
    pub(super) fn lock(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody holds the lock, who may be waiting for a disk.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.0.try_lock(), Err(TryLockError::WouldBlock))
    }
}

impl Books {
    /// Counts what is there, once: after a restart nobody remembers.
    pub(super) fn count(&mut self, root: &OwnedFd) -> Result<()> {
        if !self.counted {
            self.used = usage(root)?;
            self.counted = true;
        }
        Ok(())
    }

    /// Takes `bytes`, if that keeps within the limit.
    pub(super) fn charge(&mut self, bytes: u64, limit: u64) -> Result<()> {
        let used = self.used.saturating_add(bytes);
        // What only shrinks is let through even where too much is there already.
        if used > limit && bytes > 0 {
            return Err(Errno::DQUOT);
        }
        self.used = used;
        Ok(())
    }

    pub(super) fn refund(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }

    pub(super) fn opened(&mut self, file: Identity) {
        self.open.entry(file).or_default().count += 1;
    }

    /// `size` is asked for only if the file has no name any more.
    pub(super) fn closed(&mut self, file: Identity, size: impl FnOnce() -> u64) {
        let Some(handles) = self.open.get_mut(&file) else {
            return;
        };
        handles.count = handles.count.saturating_sub(1);
        if handles.count == 0 {
            let removed = handles.removed;
            self.open.remove(&file);
            if removed {
                self.refund(INODE.saturating_add(size()));
            }
        }
    }

    /// A name of it was taken away.
    pub(super) fn removed(&mut self, stat: &Stat) {
        self.refund(NAME);
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if stat.st_nlink > 1 && !directory {
            return;
        }
        match self.open.get_mut(&Identity::of(stat)) {
            Some(handles) => handles.removed = true,
            None => self.refund(INODE.saturating_add(size(stat))),
        }
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.used
    }
}

/// Walks a directory, never through a link and never into another file system.
fn usage(root: &OwnedFd) -> Result<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open =
        |at: &OwnedFd, name: &std::ffi::CStr| rustix::fs::openat(at, name, flags, Mode::empty());
    let device = rustix::fs::fstat(root)?.st_dev;
    let mut used: u64 = 0;
    let mut walk = vec![Dir::new(open(root, c".")?)?];
    loop {
        let depth = walk.len();
        let Some(directory) = walk.last_mut() else {
            return Ok(used);
        };
        let Some(entry) = directory.read() else {
            walk.pop();
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let at = directory.fd()?;
        // It may have been removed meanwhile.
        let Ok(stat) = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        used = used
            .saturating_add(INODE + NAME)
            .saturating_add(size(&stat));
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory && stat.st_dev == device && depth < DEPTH_MAX {
            let below = rustix::fs::openat(at, name, flags, Mode::empty());
            if let Ok(below) = below {
                walk.push(Dir::new(below)?);
            }
        }
    }
}

#[cfg(test)]
mod tests;
