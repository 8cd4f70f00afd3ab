//! The file system of a guest: a host of our own for wasi:filesystem 0.2 and 0.3.
//!
//! wasmtime-wasi's knows one right per directory; here every path is judged by globs, at
//! every use. A path is read as text and judged (`rights`), then resolved from the root of
//! its volume by one system call that follows nothing (`volume`), on a thread that may wait
//! (`blocking`), with what is written charged to the volume's limit (`meter`). `descriptor`
//! and `listing` are what a guest holds, `p2` and `p3` translate. A component without mounts
//! pays for none of it. Linked by `link`.

mod blocking;
mod descriptor;
mod listing;
mod meter;
mod p2;
mod p3;
mod rights;
mod volume;
mod words;

use self::blocking::Blocking;
use self::descriptor::{Descriptor, Directory};
use self::meter::Identity;
use self::rights::Asker;
use self::volume::Volume;
use crate::call::Call;
use crate::capability::audit::Audit;
use crate::error::LoadError;
use crate::guest::Guest;
use crate::workload::Mount;
use capability::{Effective, Right};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tokio::sync::Semaphore;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable, ResourceTableError};

/// Handles of the host that the calls of one component hold at once, for files and listings
/// in progress.
const COMPONENT_HANDLES: usize = 512;
/// Handles of the host that all components hold at once: a quarter of what a process may have
/// open, because connections need theirs.
const NODE_HANDLES: usize = 4096;

/// What the file systems of all components share.
#[derive(Debug)]
pub(crate) struct NodeFiles {
    meters: meter::Meters,
    handles: Arc<Semaphore>,
}

/// What the calls of one component share, until it is handed other volumes or rights.
#[derive(Debug)]
pub(crate) struct Files {
    node: Arc<NodeFiles>,
    effective: Arc<Effective>,
    audit: Arc<Audit>,
    volumes: Vec<Arc<Volume>>,
    blocking: Blocking,
    handles: Arc<Semaphore>,
}

/// The file system of one store, while it is asked something.
pub(crate) struct FilesView<'a> {
    pub(crate) files: &'a Arc<Files>,
    pub(crate) call: &'a Arc<Call>,
    pub(crate) table: &'a mut ResourceTable,
    pub(crate) salt: &'a mut Salt,
}

/// What makes the hashes of one store say nothing to another. Made when first asked for.
#[derive(Debug, Default)]
pub(crate) struct Salt(Option<(RandomState, RandomState)>);

/// wasmtime's name for what is linked here.
struct Filesystem;

impl HasData for Filesystem {
    type Data<'a> = FilesView<'a>;
}

/// Links both versions' host functions over those of wasmtime-wasi.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    p2::link(linker)
}

/// The same for WASI 0.3.
pub(crate) fn link_p3(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    p3::link(linker)
}

impl NodeFiles {
    pub(crate) fn new() -> Arc<NodeFiles> {
        Arc::new(NodeFiles {
            meters: meter::Meters::default(),
            handles: Arc::new(Semaphore::new(NODE_HANDLES)),
        })
    }
}

impl Files {
    /// The file system of a component.
    ///
    /// # Errors
    /// When one of the directories can not be used.
    pub(crate) fn new(
        node: &Arc<NodeFiles>,
        effective: &Arc<Effective>,
        audit: &Arc<Audit>,
        mounts: Vec<Mount>,
    ) -> Result<Arc<Files>, LoadError> {
        Ok(Arc::new(Files {
            volumes: volumes(node, effective, mounts)?,
            node: Arc::clone(node),
            effective: Arc::clone(effective),
            audit: Arc::clone(audit),
            blocking: Blocking::new(),
            handles: Arc::new(Semaphore::new(COMPONENT_HANDLES)),
        }))
    }

    /// The same component's, with other rights and volumes and under the same limits.
    ///
    /// # Errors
    /// When one of the directories can not be used.
    pub(crate) fn renewed(
        &self,
        effective: &Arc<Effective>,
        mounts: Vec<Mount>,
    ) -> Result<Arc<Files>, LoadError> {
        Ok(Arc::new(Files {
            volumes: volumes(&self.node, effective, mounts)?,
            node: Arc::clone(&self.node),
            effective: Arc::clone(effective),
            audit: Arc::clone(&self.audit),
            blocking: self.blocking.clone(),
            handles: Arc::clone(&self.handles),
        }))
    }
}

fn volumes(
    node: &NodeFiles,
    effective: &Effective,
    mounts: Vec<Mount>,
) -> Result<Vec<Arc<Volume>>, LoadError> {
    let volume = |mount: Mount| {
        let name = mount.volume.clone();
        let wanted = rights::wanted(effective, &mount.path);
        Volume::new(mount, &node.meters, wanted)
            .map(Arc::new)
            .map_err(|error| LoadError::Volume {
                volume: name,
                source: error.into(),
            })
    };
    mounts.into_iter().map(volume).collect()
}

impl Salt {
    fn hash(&mut self, identity: Identity) -> (u64, u64) {
        let (lower, upper) = self
            .0
            .get_or_insert_with(|| (RandomState::new(), RandomState::new()));
        (lower.hash_one(identity), upper.hash_one(identity))
    }
}

/// wasmtime-wasi's name for a descriptor. Only the name: what is in the table is ours.
type Handle = Resource<wasmtime_wasi::p2::bindings::filesystem::types::Descriptor>;

impl<'a> FilesView<'a> {
    fn asker(&self) -> Asker<'a> {
        Asker {
            files: self.files,
            call: self.call,
        }
    }

    fn descriptor(&self, handle: &Handle) -> Result<&Descriptor, ResourceTableError> {
        self.table
            .get(&Resource::<Descriptor>::new_borrow(handle.rep()))
    }

    fn hand_out(&mut self, descriptor: Descriptor) -> Result<Handle, ResourceTableError> {
        let handle = self.table.push(descriptor)?;
        Ok(Resource::new_own(handle.rep()))
    }

    fn take_back(&mut self, handle: &Handle) -> Result<Descriptor, ResourceTableError> {
        self.table
            .delete(Resource::<Descriptor>::new_own(handle.rep()))
    }

    /// The volumes that it may do anything in, as directories, with where they are.
    fn preopens(&mut self) -> Result<Vec<(Handle, String)>, ResourceTableError> {
        let mut preopens = Vec::new();
        for volume in &self.files.volumes {
            if !self.files.effective.path(&volume.path).any() {
                // The guest hears nothing of it, so the platform must.
                let _ = self.asker().deny(&volume.path, volume, Right::Traverse);
                continue;
            }
            let directory = Directory {
                volume: Arc::clone(volume),
                path: volume.path.clone(),
            };
            let handle = self.hand_out(Descriptor::Directory(Arc::new(directory)))?;
            preopens.push((handle, volume.path.to_string()));
        }
        Ok(preopens)
    }
}
