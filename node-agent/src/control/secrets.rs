//! Where values of Secrets are kept over a restart of the agent: in memory-backed storage, as
//! kubelet keeps them, so that they end with the node's uptime and no disk ever holds them.
//! Called by `app` at the start; knows nothing of what a value is.

use std::io;
use std::path::{Path, PathBuf};

use super::cache::{Cache, CacheError, Key, make_directory};
use super::state::Store;

/// Values in memory-backed storage, in bytes.
const VALUES_BYTES: u64 = 64 * 1024 * 1024;
/// `statfs(2)` of a ramfs, which libc does not name.
const RAMFS_MAGIC: i128 = 0x8584_58f6;
/// Lists the swap areas of the node under one line of heading.
const SWAPS: &str = "/proc/swaps";

/// Why there is no place for secrets.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// Files there would be on a disk.
    #[error(
        "the run directory {} is not in memory, and values of Secrets must never be on a disk: mount a tmpfs there (an emptyDir with `medium: Memory`), or name another directory with --run-dir",
        .0.display()
    )]
    OnDisk(PathBuf),
    /// The directory cannot be used.
    #[error("the run directory {} cannot be used: {source}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The files in it.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// The store of values below `run_dir`, if that is in memory.
///
/// # Errors
/// `SecretsError`; the agent has to end then: it would have to keep secrets on a disk, or to
/// lose them with every restart.
pub fn open(run_dir: &Path, key: Key) -> Result<Store, SecretsError> {
    let unusable = |source: io::Error| SecretsError::Unusable {
        path: run_dir.to_owned(),
        source,
    };
    make_directory(run_dir).map_err(unusable)?;
    if !is_in_memory(run_dir).map_err(unusable)? {
        return Err(SecretsError::OnDisk(run_dir.to_owned()));
    }
    if swaps(&std::fs::read_to_string(SWAPS).unwrap_or_default()) {
        tracing::warn!(
            "this node swaps: memory of the agent, and values of Secrets in it, may reach its disk"
        );
    }
    let directory = run_dir.join("values");
    Ok(Store::new(Cache::open(&directory, key, VALUES_BYTES)?))
}

/// Where the files of ConfigMaps and Secrets are kept below `run_dir`, which [`open`] has
/// found to be in memory.
pub fn contents(run_dir: &Path) -> PathBuf {
    run_dir.join("contents")
}

fn is_in_memory(path: &Path) -> io::Result<bool> {
    // The width and the sign of the field differ between machines.
    let kind = i128::from(rustix::fs::statfs(path)?.f_type);
    Ok(kind == i128::from(libc::TMPFS_MAGIC) || kind == RAMFS_MAGIC)
}

fn swaps(list: &str) -> bool {
    list.lines().count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_system_in_memory_is_taken_for_one() {
        assert!(is_in_memory(Path::new("/dev/shm")).unwrap());
        assert!(!is_in_memory(Path::new("/proc")).unwrap());
    }

    #[test]
    fn a_directory_on_a_disk_is_refused_with_its_mend() {
        let error = SecretsError::OnDisk("/var/lib/lighterman".into()).to_string();
        assert!(error.contains("/var/lib/lighterman") && error.contains("medium: Memory"));
    }

    #[test]
    fn a_node_without_a_swap_area_does_not_swap() {
        let heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert!(!swaps(heading));
        assert!(swaps(&format!(
            "{heading}/dev/sda2 partition 8388604 0 -2\n"
        )));
    }
}
