//! Directories of the node that components may be given: below prefixes that the agent was
//! started with, and never by way of a link, which somebody else could turn elsewhere. Called
//! by `volumes`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat2};

use super::VolumeError;

/// `statfs(2)` of file systems that are for files: no `proc`, `sysfs` or `cgroup`, whose files
/// do things, and none behind a network, where one read may hold a thread for minutes.
const FILE_SYSTEMS: [i128; 7] = [
    libc::EXT4_SUPER_MAGIC as i128,
    libc::XFS_SUPER_MAGIC as i128,
    libc::BTRFS_SUPER_MAGIC as i128,
    libc::F2FS_SUPER_MAGIC as i128,
    libc::TMPFS_MAGIC as i128,
    libc::OVERLAYFS_SUPER_MAGIC as i128,
    // ZFS, which libc does not name.
    0x2fc1_2fc1,
];
/// Nothing on the way is a link, and nothing leads out.
const REAL: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::NO_MAGICLINKS);
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// A directory that volumes may lie below.
#[derive(Debug)]
pub(super) struct Prefix {
    path: PathBuf,
    directory: OwnedFd,
}

impl Prefix {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if !path.is_absolute() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is not an absolute path",
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            directory: openat2(CWD, path, DIRECTORY, Mode::empty(), REAL)?,
        })
    }

    /// Another descriptor of the directory.
    pub(super) fn directory(&self) -> io::Result<OwnedFd> {
        self.directory.try_clone()
    }

    /// Whether a path is this one or below it.
    pub(super) fn holds(&self, path: &str) -> bool {
        Path::new(path).starts_with(&self.path)
    }

    pub(super) fn open_below(&self, path: &str) -> Result<OwnedFd, VolumeError> {
        let below = Path::new(path).strip_prefix(&self.path);
        let below = below.map_err(|_| VolumeError::NotAllowed(path.to_owned()))?;
        let below = if below.as_os_str().is_empty() {
            Path::new(".")
        } else {
            below
        };
        let resolve = REAL.union(ResolveFlags::BENEATH);
        let no_directory = |error: rustix::io::Errno| VolumeError::NoDirectory {
            path: path.to_owned(),
            source: error.into(),
        };
        let opened = openat2(
            self.directory.as_fd(),
            below,
            DIRECTORY,
            Mode::empty(),
            resolve,
        )
        .map_err(no_directory)?;
        // The width and the sign of the field differ between machines.
        let kind = i128::from(fstatfs(&opened).map_err(no_directory)?.f_type);
        if FILE_SYSTEMS.contains(&kind) {
            Ok(opened)
        } else {
            Err(VolumeError::ForeignFileSystem(path.to_owned()))
        }
    }
}
