//! What the agent of this machine writes down about its components, kept when the run ends.
//!
//! Follows the agent's audit log, which goes with the scratch directory, over its rotations.
//! Knows files only; the loop calls it at every turn, and once after the agent has ended.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A log that is followed, and its copy.
#[derive(Debug)]
pub(super) struct Recording {
    log: PathBuf,
    following: Option<File>,
    copy: File,
    path: PathBuf,
}

impl Recording {
    /// Starts an empty copy. Nothing that exists is written over.
    pub(super) fn start(log: PathBuf, path: &Path) -> Result<Recording, Failure> {
        let copy = OpenOptions::new()
            .write(true)
            .create_new(true)
            // What components do may be told to fewer people than may run them.
            .mode(0o600)
            .open(path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Failure::unavailable(
                    format!("{} exists already", path.display()),
                    "remove it, or name another file with --observe",
                ),
                _ => Failure::file(path, "make", &error),
            })?;
        Ok(Recording {
            log,
            following: None,
            copy,
            path: path.to_owned(),
        })
    }

    /// Copies what came since the last time.
    pub(super) fn catch_up(&mut self) -> Result<(), Failure> {
        self.follow()
            .map_err(|error| Failure::file(&self.path, "write", &error))
    }

    fn follow(&mut self) -> io::Result<()> {
        loop {
            if let Some(file) = &mut self.following {
                io::copy(file, &mut self.copy)?;
            }
            // What was written before the log was moved away has been read just now.
            let current = match File::open(&self.log) {
                Ok(current) => current,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            };
            let inode = current.metadata()?.ino();
            let followed = self.following.as_ref().map(File::metadata).transpose()?;
            if followed.is_some_and(|followed| followed.ino() == inode) {
                return Ok(());
            }
            self.following = Some(current);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_copy_follows_the_log_over_its_rotation_and_repeats_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (log, copy) = (
            folder.path().join("audit.jsonl"),
            folder.path().join("copy"),
        );
        let mut recording = Recording::start(log.clone(), &copy).unwrap();
        recording.catch_up().unwrap();

        let mut first = File::create(&log).unwrap();
        first.write_all(b"one\n").unwrap();
        recording.catch_up().unwrap();
        first.write_all(b"two\n").unwrap();
        std::fs::rename(&log, folder.path().join("audit.jsonl.1")).unwrap();
        std::fs::write(&log, "three\n").unwrap();
        recording.catch_up().unwrap();
        recording.catch_up().unwrap();
        assert_eq!(std::fs::read_to_string(&copy).unwrap(), "one\ntwo\nthree\n");
    }

    #[test]
    fn a_copy_that_exists_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        std::fs::write(&copy, "kept").unwrap();
        let failure = Recording::start(folder.path().join("log"), &copy).unwrap_err();
        assert!(failure.to_string().contains("exists already"), "{failure}");
    }
}
