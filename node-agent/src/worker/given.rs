//! What a revision is given, from the words of control to those of the runtime. Judges nothing:
//! control has, and the runtime does at every use.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use capability::{Effective, Values};
use crds::Reason;
use runtime::{Credential, Mount};
use tokio::sync::mpsc;

use super::load::refused;
use super::slot::Slot;
use crate::message::{CredentialOrder, MountOrder, Provision, Refused};

/// What the instances of a revision are given.
pub(super) struct Given {
    pub(super) values: Values,
    pub(super) effective: Arc<Effective>,
    pub(super) mounts: Vec<Mount>,
    pub(super) credentials: Vec<Credential>,
}

/// Refreshes that may wait: control asks for few at once.
pub(super) const REFRESHES: usize = 64;

/// Something else for the next instances of a revision.
pub(super) struct Refresh {
    pub(super) slot: Arc<Slot>,
    pub(super) revision: String,
    pub(super) provision: Provision,
    pub(super) fds: Vec<OwnedFd>,
}

/// Carries refreshes out one after the other, so that what was said last holds.
pub(super) async fn refresh_all(mut refreshes: mpsc::Receiver<Refresh>) {
    while let Some(refresh) = refreshes.recv().await {
        // Directories are looked through: not on a thread that serves.
        let refreshed = tokio::task::spawn_blocking(move || refresh.carry_out());
        // One that panicked has changed nothing.
        let _ = refreshed.await;
    }
}

impl Refresh {
    fn carry_out(self) {
        let refreshed = Given::read(self.provision, self.fds)
            .map_err(|refused| refused.message)
            .and_then(|given| {
                let refreshed = self.slot.refresh(&self.revision, given);
                refreshed.map_err(|error| error.to_string())
            });
        if let Err(error) = refreshed {
            tracing::error!(
                revision = self.revision,
                error,
                "it goes on with what it has"
            );
        }
    }
}

impl Given {
    /// With the directory of each mount, in their order.
    pub(super) fn read(provision: Provision, directories: Vec<OwnedFd>) -> Result<Self, Refused> {
        let Provision {
            values,
            effective,
            mounts,
            credentials,
        } = provision;
        if directories.len() != mounts.len() {
            return Err(refused(
                Reason::VolumeUnavailable,
                "the revision came with other directories than mounts".to_owned(),
            ));
        }
        let mounts = mounts.into_iter().zip(directories);
        let credentials = credentials.into_iter().map(credential);
        Ok(Self {
            values,
            effective: Arc::new(effective),
            mounts: mounts.map(|(order, root)| mount(order, root)).collect(),
            credentials: credentials.collect::<Result<_, _>>()?,
        })
    }
}

fn mount(order: MountOrder, root: OwnedFd) -> Mount {
    let MountOrder {
        volume,
        path,
        size_limit,
        read_only,
    } = order;
    Mount {
        volume,
        path,
        root: Arc::new(root),
        size_limit,
        read_only,
    }
}

fn credential(order: CredentialOrder) -> Result<Credential, Refused> {
    let CredentialOrder {
        host,
        port,
        header,
        format,
        secret,
        methods,
        paths,
    } = order;
    Credential::new(host, port, &header, &format, &secret)
        .and_then(|credential| credential.with_methods(&methods))
        .map(|credential| credential.with_paths(paths))
        .map_err(|invalid| refused(Reason::InvalidValue, invalid.to_string()))
}
