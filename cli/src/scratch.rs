//! A directory for one run, readable by its owner only, gone when the run ends.
//!
//! Used by the commands that run components.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The directory; dropping it removes it.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one below the system's directory for such.
    pub(crate) fn make() -> Result<Scratch, Failure> {
        let path = std::env::temp_dir().join(format!("lighterman-{}", std::process::id()));
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        // Not recursive: a directory that somebody else has put there is an error.
        builder
            .create(&path)
            .map_err(|error| Failure::file(&path, "make", &error))?;
        Ok(Scratch(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What remains is in the system's temporary directory, which is cleared by others.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
