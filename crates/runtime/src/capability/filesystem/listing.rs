//! The entries of a directory, as far as a guest may know them.
//!
//! Read in chunks when the guest asks: a listing that nobody reads holds neither a thread nor
//! a handle of the host. Entries that are neither regular files nor directories, and those
//! the guest has no right to, are left out.

use super::Files;
use super::descriptor::{Directory, Handle};
use super::rights::Asker;
use crate::call::Call;
use crate::limits::HostBytes;
use capability::Right;
use rustix::fs::{AtFlags, Dir, DirEntry, FileType};
use rustix::io::{Errno, Result};
use std::collections::VecDeque;
use std::sync::Arc;

/// Entries that are read ahead.
const CHUNK: usize = 64;
/// Entries that are looked at for a chunk: most of a directory may be invisible.
const LOOK_MAX: usize = 1024;
/// What the host holds for a listing that is being read: what the kernel gave, and a chunk.
const BUFFERS: usize = 64 * 1024;

/// A listing in progress.
#[derive(Debug)]
pub(super) struct Listing {
    directory: Arc<Directory>,
    files: Arc<Files>,
    call: Arc<Call>,
    progress: Progress,
    entries: VecDeque<Entry>,
}

/// A file or directory in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) directory: bool,
}

/// What a listing in progress takes of the host.
#[derive(Debug)]
struct Held {
    _handle: Handle,
    _bytes: HostBytes,
}

#[derive(Debug)]
enum Progress {
    Unread,
    Reading(Dir, Held),
    Ended,
}

impl Listing {
    /// A listing of a directory that the guest may list.
    pub(super) fn new(asker: &Asker<'_>, directory: &Arc<Directory>) -> Result<Listing> {
        let place = asker.place(directory, ".", Right::Traverse)?;
        asker.used(&place, Right::Read);
        Ok(Listing {
            directory: Arc::clone(directory),
            files: Arc::clone(asker.files),
            call: Arc::clone(asker.call),
            progress: Progress::Unread,
            entries: VecDeque::new(),
        })
    }

    /// The next entry; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Entry>> {
        while self.entries.is_empty() && !matches!(self.progress, Progress::Ended) {
            self.fill().await?;
        }
        Ok(self.entries.pop_front())
    }

    /// Several entries, as they were read; none at the end.
    pub(super) async fn next_chunk(&mut self) -> Result<Vec<Entry>> {
        let first = self.next().await?;
        Ok(first.into_iter().chain(self.entries.drain(..)).collect())
    }

    async fn fill(&mut self) -> Result<()> {
        // What fails is not tried again.
        let progress = std::mem::replace(&mut self.progress, Progress::Ended);
        let held = match &progress {
            Progress::Unread => Some(self.hold()?),
            Progress::Reading(..) | Progress::Ended => None,
        };
        let directory = Arc::clone(&self.directory);
        let files = Arc::clone(&self.files);
        let at_once = directory.volume.in_memory;
        let read = self.files.blocking.start(at_once, move || {
            let (mut stream, held) = match (progress, held) {
                (Progress::Reading(stream, held), _) => (stream, held),
                (_, Some(held)) => (open(&directory)?, held),
                (_, None) => return Ok((Progress::Ended, Vec::new())),
            };
            let (entries, ended) = chunk(&mut stream, &directory, &files)?;
            let progress = match ended {
                true => Progress::Ended,
                false => Progress::Reading(stream, held),
            };
            Ok((progress, entries))
        });
        let (progress, entries) = match read.await {
            Ok(read) => read,
            Err(error) => {
                return Err(self
                    .asker()
                    .refused(&self.directory.path, Right::Read, error));
            }
        };
        self.progress = progress;
        self.entries.extend(entries);
        Ok(())
    }

    fn hold(&self) -> Result<Held> {
        let (asker, path) = (self.asker(), &self.directory.path);
        Ok(Held {
            _handle: asker.handle(path, Right::Read)?,
            _bytes: asker.hold(path, Right::Read, BUFFERS)?,
        })
    }

    fn asker(&self) -> Asker<'_> {
        Asker {
            files: &self.files,
            call: &self.call,
        }
    }
}

fn open(directory: &Directory) -> Result<Dir> {
    let relative = directory.path.relative_to(&directory.volume.path);
    Dir::new(
        directory
            .volume
            .open_directory(relative.ok_or(Errno::NOENT)?)?,
    )
}

/// Reads until there are enough entries to give, or enough were looked at, or all were.
fn chunk(stream: &mut Dir, directory: &Directory, files: &Files) -> Result<(Vec<Entry>, bool)> {
    let mut entries = Vec::new();
    for _ in 0..LOOK_MAX {
        if entries.len() == CHUNK {
            break;
        }
        let Some(entry) = stream.read() else {
            return Ok((entries, true));
        };
        entries.extend(visible(stream, &entry?, directory, files));
    }
    Ok((entries, false))
}

/// An entry, if the guest may know of it.
fn visible(stream: &Dir, entry: &DirEntry, directory: &Directory, files: &Files) -> Option<Entry> {
    // What is no text can not be named by a guest.
    let name = entry.file_name().to_str().ok()?;
    if matches!(name, "." | "..") {
        return None;
    }
    let path = directory.path.join(name).ok()?;
    let rights = files.effective.path(&path);
    let kind = match entry.file_type() {
        FileType::Unknown => {
            let at = stream.fd().ok()?;
            let stat = rustix::fs::statat(at, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
            FileType::from_raw_mode(stat.st_mode)
        }
        kind => kind,
    };
    let directory = kind == FileType::Directory;
    let allowed = match directory {
        true => rights.any(),
        false => rights.read || rights.write,
    };
    let known = directory || kind == FileType::RegularFile;
    (known && allowed).then(|| Entry {
        name: name.to_owned(),
        directory,
    })
}
