//! What a revision is given on this node: its values, what it may do, the directories of its
//! volumes, its credentials. Made when it is prepared, and again when something of it may have
//! changed. Called by preparations and by the reconcile loop's refreshes.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use artifact::Digest;
use capability::{Effective, Grant, MountPoint};
use crds::component::Volume;
use crds::handover::Values;
use crds::revision::RevisionDocument;

use super::{PrepareError, Preparer, blocking};
use crate::control::validate::{self, Files};
use crate::control::volumes::Volumes;
use crate::message::{MountOrder, Provision};
use crate::source::Source;

/// What a revision is given.
#[derive(Debug)]
pub struct Provided {
    /// All but the directories.
    pub provision: Provision,
    /// The directory of each mount.
    pub directories: Vec<OwnedFd>,
    /// Stands for all of it: what is given anew under the same digest is the same.
    pub given: Digest,
}

impl<S: Source + ?Sized> Preparer<S> {
    /// What a revision is given now; nothing if that is what it was given `before`. Asks for
    /// values only if the revision names any.
    ///
    /// # Errors
    /// When values or volumes are not to be had, or are not those that the revision names.
    pub async fn provide(
        &self,
        document: &Arc<RevisionDocument>,
        effective: Effective,
        before: Option<&Digest>,
    ) -> Result<Option<Provided>, PrepareError> {
        let handed_over = if validate::needs_values(document) {
            self.source.values(document).await?
        } else {
            Values::default()
        };
        let given = fingerprint(&handed_over, &effective)?;
        if before == Some(&given) {
            return Ok(None);
        }
        let (document, volumes) = (Arc::clone(document), Arc::clone(&self.volumes));
        // Directories and files are made: not on a thread of the loop.
        blocking(move || provide(&document, effective, handed_over, &volumes, given))
            .await
            .map(Some)
    }
}

fn provide(
    document: &RevisionDocument,
    effective: Effective,
    handed_over: Values,
    volumes: &Volumes,
    given: Digest,
) -> Result<Provided, PrepareError> {
    let files = validate::files(document, &handed_over.files)?;
    let credentials = validate::credentials(document, &handed_over.credentials)?;
    let values = validate::values(document, handed_over)?;
    let (mut mounts, mut directories) = (Vec::new(), Vec::new());
    for point in mount_points(&effective.grant) {
        let mut named = document.volumes.iter();
        let Some(volume) = named.find(|volume| volume.name == point.volume) else {
            continue;
        };
        directories.push(open(&document.component.uid, volume, &files, volumes)?);
        mounts.push(MountOrder {
            volume: volume.name.clone(),
            path: point.path.clone(),
            size_limit: volume
                .empty_dir
                .as_ref()
                .map(|scratch| scratch.size_limit.0),
            read_only: !volume.is_writable(),
        });
    }
    Ok(Provided {
        provision: Provision {
            values,
            effective,
            mounts,
            credentials,
        },
        directories,
        given,
    })
}

fn open(
    owner: &str,
    volume: &Volume,
    files: &Files,
    volumes: &Volumes,
) -> Result<OwnedFd, PrepareError> {
    let opened = match (&volume.empty_dir, &volume.host_path) {
        (Some(_), _) => volumes.scratch(owner, &volume.name),
        (None, Some(of_node)) => volumes.of_node(&of_node.path),
        (None, None) => {
            let nothing = Default::default();
            let content = files.get(&volume.name).unwrap_or(&nothing);
            volumes.content(owner, &volume.name, content)
        }
    };
    Ok(opened?)
}

fn mount_points(grant: &Grant) -> Vec<&MountPoint> {
    match grant {
        Grant::Listed { filesystem, .. } => filesystem.iter().map(|one| &one.mount).collect(),
        Grant::Requested { mounts } => mounts.iter().collect(),
    }
}

/// Kept instead of what it is of: control holds no secret longer than it takes to hand it on.
fn fingerprint(handed_over: &Values, effective: &Effective) -> Result<Digest, PrepareError> {
    let whole = serde_json::to_vec(&(handed_over, effective));
    Ok(Digest::of(&whole.map_err(|_| PrepareError::Interrupted)?))
}
