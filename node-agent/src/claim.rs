//! Gives a directory of the node to the user that control runs as. Kubelet makes such
//! directories as root's; an init container runs this and ends, so that nothing that lives
//! longer has to be root. Needs CAP_CHOWN and no other capability. Called by `main`.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Readable for its owner alone: there is a key in it.
const MODE: u32 = 0o700;
const ROOT: u32 = 0;

/// Why a directory cannot be given away.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It is somebody's.
    #[error(
        "{} belongs to user {owner}: remove it from the node, or name another directory in the chart's agent.storage",
        path.display()
    )]
    Taken {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// A file, or a link that could lead anywhere.
    #[error("{} is no directory: remove it from the node", .0.display())]
    NoDirectory(PathBuf),
    /// The system refuses.
    #[error("{} cannot be given to user {user}: {source}", path.display())]
    Refused {
        /// The directory.
        path: PathBuf,
        /// To whom.
        user: u32,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes `directory` that user's alone. What is in it stays as it is.
///
/// # Errors
/// `ClaimError`; the directory of another user is never taken.
pub fn claim(user: u32, directory: &Path) -> Result<(), ClaimError> {
    let path = || directory.to_owned();
    let refused = |source| ClaimError::Refused {
        path: path(),
        user,
        source,
    };
    let found = std::fs::symlink_metadata(directory).map_err(refused)?;
    if !found.is_dir() {
        return Err(ClaimError::NoDirectory(path()));
    }
    match found.uid() {
        owner if owner == user => Ok(()),
        ROOT => {
            // In this order: without CAP_FOWNER only the owner may do the first.
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(MODE))
                .map_err(refused)?;
            std::os::unix::fs::lchown(directory, Some(user), Some(user)).map_err(refused)
        }
        owner => Err(ClaimError::Taken {
            path: path(),
            owner,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn a_directory_that_is_the_users_already_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        claim(me(), directory.path()).unwrap();
        assert_eq!(directory.path().metadata().unwrap().uid(), me());
    }

    #[test]
    fn a_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/etc", &link).unwrap();
        assert!(matches!(
            claim(me(), &link),
            Err(ClaimError::NoDirectory(_))
        ));
    }

    #[test]
    fn the_directory_of_another_user_is_never_taken() {
        let directory = tempfile::tempdir().unwrap();
        if me() == ROOT {
            std::os::unix::fs::lchown(directory.path(), Some(4_711), None).unwrap();
            let refused = claim(4_712, directory.path()).unwrap_err();
            assert!(matches!(refused, ClaimError::Taken { owner: 4_711, .. }));
        } else {
            let refused = claim(me().wrapping_add(1), directory.path()).unwrap_err();
            assert!(matches!(refused, ClaimError::Taken { owner, .. } if owner == me()));
        }
    }

    #[test]
    fn what_is_roots_becomes_the_users_alone() {
        let directory = tempfile::tempdir().unwrap();
        match claim(4_711, directory.path()) {
            Ok(()) => {
                let now = directory.path().metadata().unwrap();
                assert_eq!((now.uid(), now.mode() & 0o777), (4_711, MODE));
            }
            // Whoever is not root owns the directory, and it is nobody else's to take.
            Err(error) => assert!(matches!(error, ClaimError::Taken { .. }) && me() != ROOT),
        }
    }
}
