//! System calls on one directory of the host, from which no path leads out.
//!
//! Every path is resolved whole, from the root of the volume, by one `openat2` that follows
//! no link and crosses no mount: what was judged as text is what is opened, whatever is
//! renamed meanwhile. Knows no rights; `rights` has judged before. All of it may wait for a
//! disk, so it is called through `blocking`.

use super::meter::{Books, INODE, Identity, Meter, Meters, NAME, size};
use crate::workload::Mount;
use capability::GuestPath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timestamps};
use rustix::io::{Errno, IoSlice, ReadWriteFlags, Result, retry_on_intr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, MutexGuard, OnceLock};

/// Nothing but real names below the root: no link of any kind, no other file system.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);
/// Neither a pipe nor a terminal can hold up or take over the process.
const HARMLESS: OFlags = OFlags::NONBLOCK
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
/// The parent of what is to be changed: only walked through.
const WALK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIRECTORY_MODE: Mode = Mode::RWXU;
/// In scratch space, which nobody reaches but by a descriptor of its root: whoever removes it may
/// be another user than this process.
const SCRATCH_MODE: Mode = Mode::RWXU.union(Mode::RWXG).union(Mode::RWXO);
/// How often a file that comes and goes is tried.
const ATTEMPTS: usize = 4;
/// File systems in memory: nothing in them waits.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// A directory of the host, as a component sees it.
#[derive(Debug)]
pub(crate) struct Volume {
    /// Where the guest sees it.
    pub(super) path: GuestPath,
    /// Whether nothing can be written.
    pub(super) read_only: bool,
    /// Whether nothing in it makes a thread wait.
    pub(super) in_memory: bool,
    root: Arc<OwnedFd>,
    limit: Option<u64>,
    meter: Arc<Meter>,
    /// Directories that are made when it is used first.
    wanted: Vec<GuestPath>,
    ready: OnceLock<()>,
}

/// How a path is to be opened. Only what rights allow may be set.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Opening {
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) directory: bool,
    pub(super) create: bool,
    /// With `create`: it must not be there yet.
    pub(super) exclusive: bool,
    pub(super) truncate: bool,
    pub(super) sync: bool,
    pub(super) data_sync: bool,
}

/// Where bytes go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Position {
    At(u64),
    End,
}

impl Opening {
    fn flags(self) -> OFlags {
        let access = match (self.read, self.write || self.create || self.truncate) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            (true, false) => OFlags::RDONLY,
            // To look at it: even a device does nothing of it. The kernel takes no other
            // flags with it.
            (false, false) if self.directory => return WALK,
            (false, false) => return OFlags::PATH.union(OFlags::CLOEXEC),
        };
        let mut flags = access | HARMLESS;
        flags.set(OFlags::DIRECTORY, self.directory);
        flags.set(OFlags::SYNC, self.sync);
        flags.set(OFlags::DSYNC, self.data_sync);
        flags
    }
}

impl Volume {
    /// `wanted` are directories that the component may write to and expects to be there;
    /// they are made in a volume that is the component's own.
    pub(super) fn new(mount: Mount, meters: &Meters, wanted: Vec<GuestPath>) -> Result<Volume> {
        let kind = rustix::fs::fstatfs(&mount.root)?.f_type;
        Ok(Volume {
            meter: meters.of(&mount.root)?,
            in_memory: u64::try_from(kind).is_ok_and(|kind| IN_MEMORY.contains(&kind)),
            path: mount.path,
            read_only: mount.read_only,
            root: mount.root,
            wanted: match mount.size_limit {
                Some(_) => wanted,
                None => Vec::new(),
            },
            limit: mount.size_limit,
            ready: OnceLock::new(),
        })
    }

    /// Opens a regular file or a directory. Nothing else comes out of it.
    pub(super) fn open(&self, relative: &str, how: Opening) -> Result<(OwnedFd, Stat)> {
        let Some((limit, mut books)) = self.books()? else {
            let mut flags = how.flags();
            flags.set(OFlags::CREATE, how.create);
            flags.set(OFlags::EXCL, how.create && how.exclusive);
            let (file, mut stat) = self.open_checked(relative, flags)?;
            if how.truncate {
                rustix::fs::ftruncate(&file, 0)?;
                stat.st_size = 0;
            }
            return Ok((file, stat));
        };
        let (file, mut stat) = self.open_metered(relative, how, limit, &mut books)?;
        if how.truncate {
            rustix::fs::ftruncate(&file, 0)?;
            books.refund(size(&stat));
            stat.st_size = 0;
        }
        if is_file(&stat) {
            books.opened(Identity::of(&stat));
        }
        Ok((file, stat))
    }

    /// Opens, and charges for the file if it had to be made.
    fn open_metered(
        &self,
        relative: &str,
        how: Opening,
        limit: u64,
        books: &mut Books,
    ) -> Result<(OwnedFd, Stat)> {
        for _ in 0..ATTEMPTS {
            if !(how.create && how.exclusive) {
                match self.open_checked(relative, how.flags()) {
                    Err(Errno::NOENT) if how.create => {}
                    opened => return opened,
                }
            }
            books.charge(INODE + NAME, limit)?;
            let flags = how.flags() | OFlags::CREATE | OFlags::EXCL;
            let made = self.open_checked(relative, flags);
            if made.is_err() {
                books.refund(INODE + NAME);
            }
            match made {
                // Somebody outside was faster.
                Err(Errno::EXIST) if !how.exclusive => {}
                made => return made,
            }
        }
        Err(Errno::BUSY)
    }

    fn open_checked(&self, relative: &str, flags: OFlags) -> Result<(OwnedFd, Stat)> {
        let file = self.resolve(relative, flags)?;
        let stat = rustix::fs::fstat(&file)?;
        if is_file(&stat) || is_directory(&stat) {
            Ok((file, stat))
        } else {
            // What a socket, too, answers to who opens it.
            Err(Errno::NXIO)
        }
    }

    /// The one way from a path to something of the host.
    fn resolve(&self, relative: &str, flags: OFlags) -> Result<OwnedFd> {
        self.ready.get_or_init(|| self.make_ready());
        let relative = match relative {
            "" => ".",
            relative => relative,
        };
        let mode = match flags.contains(OFlags::CREATE) {
            true => FILE_MODE,
            false => Mode::empty(),
        };
        rustix::fs::openat2(&self.root, relative, flags, mode, BENEATH)
    }

    /// The directory that something is in, and its name there.
    fn parent<'a>(&self, relative: &'a str) -> Result<(OwnedFd, &'a str)> {
        let (parent, name) = relative.rsplit_once('/').unwrap_or(("", relative));
        if name.is_empty() {
            // The volume itself.
            return Err(Errno::BUSY);
        }
        Ok((self.resolve(parent, WALK)?, name))
    }

    pub(super) fn stat(&self, relative: &str, directory: bool) -> Result<Stat> {
        let how = Opening {
            directory,
            ..Opening::default()
        };
        self.open_checked(relative, how.flags())
            .map(|(_, stat)| stat)
    }

    /// A directory whose entries can be read.
    pub(super) fn open_directory(&self, relative: &str) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | HARMLESS;
        self.resolve(relative, flags)
    }

    pub(super) fn sync_directory(&self, relative: &str) -> Result<()> {
        rustix::fs::fsync(self.open_directory(relative)?)
    }

    pub(super) fn make_directory(&self, relative: &str) -> Result<()> {
        let (parent, name) = match self.parent(relative) {
            Err(Errno::BUSY) => return Err(Errno::EXIST),
            found => found?,
        };
        // Under the lock even without a limit: see `rename`.
        let mut books = self.locked()?;
        if let Some(limit) = self.limit {
            books.charge(INODE + NAME, limit)?;
        }
        let made = rustix::fs::mkdirat(&parent, name, self.directory_mode());
        if made.is_err() && self.limit.is_some() {
            books.refund(INODE + NAME);
        }
        made
    }

    pub(super) fn remove_directory(&self, relative: &str) -> Result<()> {
        self.remove(relative, AtFlags::REMOVEDIR)
    }

    pub(super) fn remove_file(&self, relative: &str) -> Result<()> {
        self.remove(relative, AtFlags::empty())
    }

    fn remove(&self, relative: &str, flags: AtFlags) -> Result<()> {
        let (parent, name) = self.parent(relative)?;
        let Some((_, mut books)) = self.books()? else {
            return rustix::fs::unlinkat(&parent, name, flags);
        };
        let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        rustix::fs::unlinkat(&parent, name, flags)?;
        books.removed(&stat);
        Ok(())
    }

    /// Moves within the volume. With `files_only` a directory is refused with `PERM`; no guest
    /// can put one in the file's place meanwhile, because what makes or moves a directory
    /// takes the same lock.
    pub(super) fn rename(&self, old: &str, new: &str, files_only: bool) -> Result<()> {
        let (old_parent, old_name) = self.parent(old)?;
        let (new_parent, new_name) = self.parent(new)?;
        let mut books = self.locked()?;
        let look = |parent: &OwnedFd, name: &str| {
            rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        };
        let moved = look(&old_parent, old_name)?;
        if !is_file(&moved) && !is_directory(&moved) {
            return Err(Errno::NXIO);
        }
        if files_only && is_directory(&moved) {
            return Err(Errno::PERM);
        }
        let replaced = look(&new_parent, new_name).ok();
        rustix::fs::renameat(&old_parent, old_name, &new_parent, new_name)?;
        if let Some(replaced) = replaced
            && self.limit.is_some()
            && Identity::of(&replaced) != Identity::of(&moved)
        {
            books.removed(&replaced);
        }
        Ok(())
    }

    pub(super) fn set_times(&self, relative: &str, times: &Timestamps) -> Result<()> {
        match self.parent(relative) {
            // The volume itself.
            Err(Errno::BUSY) => rustix::fs::futimens(self.open_directory("")?, times),
            found => {
                let (parent, name) = found?;
                rustix::fs::utimensat(&parent, name, times, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }

    /// Writes all of `bytes`, or as much as fits when the host's disk is full.
    pub(super) fn write(&self, file: BorrowedFd<'_>, to: Position, bytes: &[u8]) -> Result<usize> {
        let Some((limit, mut books)) = self.books()? else {
            return write_all(file, to, bytes);
        };
        let before = size(&rustix::fs::fstat(file)?);
        let start = match to {
            Position::At(start) => start,
            Position::End => before,
        };
        let length = u64::try_from(bytes.len()).map_err(|_| Errno::FBIG)?;
        let end = start.checked_add(length).ok_or(Errno::FBIG)?;
        let growth = match length {
            0 => 0,
            _ => end.saturating_sub(before),
        };
        books.charge(growth, limit)?;
        let written = write_all(file, Position::At(start), bytes);
        let after = size(&rustix::fs::fstat(file)?);
        books.refund(growth.saturating_sub(after.saturating_sub(before)));
        written
    }

    pub(super) fn set_size(&self, file: BorrowedFd<'_>, new: u64) -> Result<()> {
        let Some((limit, mut books)) = self.books()? else {
            return rustix::fs::ftruncate(file, new);
        };
        let before = size(&rustix::fs::fstat(file)?);
        let growth = new.saturating_sub(before);
        books.charge(growth, limit)?;
        match rustix::fs::ftruncate(file, new) {
            Ok(()) => books.refund(before.saturating_sub(new)),
            Err(error) => {
                books.refund(growth);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether to close a file would wait for what others do.
    pub(super) fn closing_waits(&self) -> bool {
        self.limit.is_some() && self.meter.is_busy()
    }

    /// A file is about to be closed.
    pub(super) fn closing(&self, file: BorrowedFd<'_>, identity: Identity) {
        if self.limit.is_some() {
            let size = || rustix::fs::fstat(file).map_or(0, |stat| size(&stat));
            self.meter.lock().closed(identity, size);
        }
    }

    /// The books, if there is a limit to hold.
    fn books(&self) -> Result<Option<(u64, MutexGuard<'_, Books>)>> {
        match self.limit {
            Some(limit) => Ok(Some((limit, self.locked()?))),
            None => Ok(None),
        }
    }

    fn locked(&self) -> Result<MutexGuard<'_, Books>> {
        self.ready.get_or_init(|| self.make_ready());
        let mut books = self.meter.lock();
        if self.limit.is_some() {
            books.count(&self.root)?;
        }
        Ok(books)
    }

    /// Makes the wanted directories. What can not be made is missed when it is used.
    fn make_ready(&self) {
        for wanted in &self.wanted {
            let Some(relative) = wanted.relative_to(&self.path) else {
                continue;
            };
            if let Err(error) = self.make_path(relative) {
                tracing::debug!(%error, path = %wanted, "a directory could not be made");
            }
        }
    }

    fn directory_mode(&self) -> Mode {
        match self.limit {
            Some(_) => SCRATCH_MODE,
            None => DIRECTORY_MODE,
        }
    }

    fn make_path(&self, relative: &str) -> Result<()> {
        let mut books = self.meter.lock();
        let limit = self.limit.unwrap_or(u64::MAX);
        books.count(&self.root)?;
        let mut at = rustix::fs::openat2(&self.root, ".", WALK, Mode::empty(), BENEATH)?;
        for name in relative.split('/').filter(|name| !name.is_empty()) {
            books.charge(INODE + NAME, limit)?;
            match rustix::fs::mkdirat(&at, name, self.directory_mode()) {
                Ok(()) => {}
                Err(error) => {
                    books.refund(INODE + NAME);
                    if error != Errno::EXIST {
                        return Err(error);
                    }
                }
            }
            at = rustix::fs::openat2(&at, name, WALK, Mode::empty(), BENEATH)?;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.meter.lock().used()
    }
}

pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Names that it has. The kernel's number is 32 or 64 bits wide, by machine.
pub(super) fn links(stat: &Stat) -> u64 {
    fn wide(number: impl Into<u64>) -> u64 {
        number.into()
    }
    wide(stat.st_nlink)
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Fills `buffer` from `offset` as far as the file goes, by one read.
pub(super) fn read_at(file: impl AsFd, buffer: &mut [u8], offset: u64) -> Result<usize> {
    retry_on_intr(|| rustix::io::pread(&file, &mut *buffer, offset))
}

fn write_all(file: BorrowedFd<'_>, to: Position, bytes: &[u8]) -> Result<usize> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..)
        && !rest.is_empty()
    {
        let done = retry_on_intr(|| match to {
            Position::At(start) => {
                let offset = u64::try_from(written)
                    .ok()
                    .and_then(|done| start.checked_add(done));
                rustix::io::pwrite(file, rest, offset.ok_or(Errno::FBIG)?)
            }
            Position::End => {
                rustix::io::pwritev2(file, &[IoSlice::new(rest)], 0, ReadWriteFlags::APPEND)
            }
        });
        match done {
            Ok(0) => return Err(Errno::IO),
            Ok(done) => written += done,
            // The guest hears of the failure when it goes on from there.
            Err(_) if written > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests;
