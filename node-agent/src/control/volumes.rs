//! The directories of this node that components see as volumes: scratch space below the state
//! directory, content of ConfigMaps and Secrets in memory, directories of the node itself. Opened
//! here, handed to the worker as descriptors, removed when nobody holds them any more. Blocking:
//! call it from `spawn_blocking`. Knows nothing of what a component may do in them.
//!
//! The worker runs as another user and reaches a volume only by the descriptor it was given: the
//! two directories above all volumes are open to control alone, and what is in them is open to
//! whoever holds a descriptor. Each of these holds a shared lock (`flock(2)`), which ends with
//! the last instance that uses the volume or with the worker, whatever way it ends.

mod content;
mod host_path;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::cache::make_directory;
use host_path::Prefix;

/// The volumes of a node.
#[derive(Debug)]
pub struct Volumes {
    scratch: PathBuf,
    contents: PathBuf,
    prefixes: Vec<Prefix>,
    /// Held while a directory is made and opened, or looked through for removal: between the
    /// two nobody has a lock on it yet.
    turn: Mutex<()>,
}

/// A directory above volumes, for the confinement of the worker.
#[derive(Debug)]
pub struct Above {
    /// The directory.
    pub directory: OwnedFd,
    /// Whether volumes in it may be written.
    pub write: bool,
}

/// Why a volume cannot be provided.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A name that is none.
    #[error("\"{0}\" is not a name for a volume")]
    InvalidName(String),
    /// A file of a ConfigMap or Secret that would lie outside its volume, or twice.
    #[error("\"{0}\" is not a path for a file of a volume: write a relative path without . and ..")]
    InvalidFile(String),
    /// A directory of the node that the agent was not told to open.
    #[error(
        "the agent of this node does not open {0}: start it with --host-path for a directory above it, or ask for another one"
    )]
    NotAllowed(String),
    /// Not there, not a directory, or reached by a link.
    #[error(
        "{path} is not a directory of this node that can be opened without following links: {source}"
    )]
    NoDirectory {
        /// As the component names it.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// On a file system that is not for files of components.
    #[error("{0} is on a file system that is not opened to components: put it on a local disk")]
    ForeignFileSystem(String),
    /// The files of ConfigMaps and Secrets fill their place.
    #[error(
        "no room for {bytes} bytes of ConfigMaps and Secrets: those of all components of a node lie in its agent's memory"
    )]
    NoSpace {
        /// What was to be added.
        bytes: u64,
    },
    /// The state directory or the place of secrets.
    #[error("a volume cannot be made: {0}")]
    Io(#[from] io::Error),
}

impl Volumes {
    /// Scratch space below `state_dir`, content in `contents`, which has to be in memory, and
    /// directories of the node below `host_paths`. One of these that is not there opens nothing.
    ///
    /// # Errors
    /// When the first two cannot be made.
    pub fn open(state_dir: &Path, contents: &Path, host_paths: &[PathBuf]) -> io::Result<Self> {
        let scratch = state_dir.join("volumes");
        make_directory(&scratch)?;
        make_directory(contents)?;
        let prefixes = host_paths.iter().filter_map(|path| match Prefix::open(path) {
            Ok(prefix) => Some(prefix),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a directory of --host-path cannot be opened");
                None
            }
        });
        Ok(Self {
            scratch,
            contents: contents.to_owned(),
            prefixes: prefixes.collect(),
            turn: Mutex::new(()),
        })
    }

    /// What lies above all volumes there may ever be.
    pub fn above(&self) -> io::Result<Vec<Above>> {
        let own = [(&self.scratch, true), (&self.contents, false)];
        let own = own.into_iter().map(|(path, write)| {
            let directory = open_directory(path)?;
            Ok(Above { directory, write })
        });
        let of_node = self.prefixes.iter().map(|prefix| {
            let directory = prefix.directory()?;
            let write = true;
            Ok(Above { directory, write })
        });
        own.chain(of_node).collect()
    }

    /// Scratch space of a component. The same for all of its revisions on this node.
    pub fn scratch(&self, owner: &str, volume: &str) -> Result<OwnedFd, VolumeError> {
        let _turn = self.turn();
        let directory = named(&self.scratch, owner)?;
        make_directory(&directory)?;
        let directory = named(&directory, volume)?;
        make_directory(&directory)?;
        let opened = open_directory(&directory)?;
        rustix::fs::fchmod(&opened, OPEN).map_err(io::Error::from)?;
        held(opened)
    }

    /// A directory with exactly these files, by their relative paths. The same content gives
    /// the same directory; another one never changes a directory that is in use.
    pub fn content(
        &self,
        owner: &str,
        volume: &str,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<OwnedFd, VolumeError> {
        let _turn = self.turn();
        let directory = named(&self.contents, owner)?;
        make_directory(&directory)?;
        let directory = named(&directory, volume)?;
        make_directory(&directory)?;
        let made = content::make(&self.contents, &directory, files)?;
        let opened = held(open_directory(&made)?)?;
        remove_all_but(&directory, |name| made.ends_with(name));
        Ok(opened)
    }

    /// A directory of the node, if the agent may open it.
    pub fn of_node(&self, path: &str) -> Result<OwnedFd, VolumeError> {
        let mut prefixes = self.prefixes.iter();
        let prefix = prefixes.find(|prefix| prefix.holds(path));
        let prefix = prefix.ok_or_else(|| VolumeError::NotAllowed(path.to_owned()))?;
        prefix.open_below(path)
    }

    /// Removes the scratch space of every component that is not among `owners`, and all content
    /// that is not in use, for it is made again from values. What is in use goes with a later
    /// sweep; says whether something of nobody is.
    pub fn sweep(&self, owners: &BTreeSet<String>) -> bool {
        let _turn = self.turn();
        let of_nobody = names(&self.scratch);
        for owner in of_nobody.into_iter().filter(|name| !owners.contains(name)) {
            let directory = self.scratch.join(owner);
            remove_all_but(&directory, |_| false);
            remove_empty(&directory);
        }
        for owner in names(&self.contents) {
            let directory = self.contents.join(owner);
            for volume in names(&directory) {
                let volume = directory.join(volume);
                remove_all_but(&volume, |_| false);
                remove_empty(&volume);
            }
            remove_empty(&directory);
        }
        let left = names(&self.scratch)
            .into_iter()
            .chain(names(&self.contents));
        left.into_iter().any(|name| !owners.contains(&name))
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is below directories that only control can walk through: everything.
const OPEN: Mode = Mode::RWXU.union(Mode::RWXG).union(Mode::RWXO);

/// A uid or the name of a volume: one plain segment, so that none leads elsewhere.
fn named(directory: &Path, name: &str) -> Result<PathBuf, VolumeError> {
    /// Longer than a uid and than the name of a volume.
    const LENGTH_MAX: usize = 64;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !name.is_empty() && name.len() <= LENGTH_MAX && name.bytes().all(plain) {
        Ok(directory.join(name))
    } else {
        Err(VolumeError::InvalidName(name.to_owned()))
    }
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// With the lock by which `remove_all_but` sees that it is in use.
fn held(directory: OwnedFd) -> Result<OwnedFd, VolumeError> {
    rustix::fs::flock(&directory, FlockOperation::NonBlockingLockShared)
        .map_err(io::Error::from)?;
    Ok(directory)
}

/// Removes the directories in `directory` that nobody holds.
fn remove_all_but(directory: &Path, keep: impl Fn(&str) -> bool) {
    for name in names(directory).into_iter().filter(|name| !keep(name)) {
        let path = directory.join(&name);
        let removed = open_directory(&path).and_then(|opened| {
            match rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) => Ok(()),
                Err(error) => Err(error.into()),
                Ok(()) => std::fs::remove_dir_all(&path),
            }
        });
        if let Err(error) = removed {
            tracing::warn!(path = %path.display(), %error, "a volume cannot be removed");
        }
    }
}

/// Not empty while something in it is in use.
fn remove_empty(directory: &Path) {
    let _ = std::fs::remove_dir(directory);
}

/// Of the directories in a directory; none when it is not there.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
mod tests;
