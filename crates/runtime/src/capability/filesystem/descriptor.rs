//! What a guest holds of a volume: a directory, which is a name, or a file, which is a handle.
//!
//! A directory keeps no handle of the host: whatever is done in it is judged by the path that
//! the guest knows and resolved from the volume's root. A file keeps the rights it was opened
//! with. Called by `p2` and `p3`, which only translate.

use super::Files;
use super::blocking::Job;
use super::meter::Identity;
use super::rights::{Asker, Place, equal_below};
use super::volume::{Opening, Position, Volume, is_directory, read_at};
use crate::call::Call;
use crate::limits::HostBytes;
use capability::{GuestPath, Right};
use rustix::fs::{Stat, Timestamps};
use rustix::io::{Errno, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use tokio::runtime::Handle as Executor;
use tokio::sync::OwnedSemaphorePermit;

/// Bytes that one call reads at most; the guest reads on. Also what one stream holds.
pub(super) const READ_MAX: usize = 64 * 1024;

/// What a handle of a guest stands for.
#[derive(Debug, Clone)]
pub(super) enum Descriptor {
    Directory(Arc<Directory>),
    File(Arc<OpenFile>),
}

/// A directory, by the path that the guest knows.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) volume: Arc<Volume>,
    pub(super) path: GuestPath,
}

/// An open regular file.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: Arc<OwnedFd>,
    identity: Identity,
    place: Place,
    readable: bool,
    writable: bool,
    files: Arc<Files>,
    call: Arc<Call>,
    _handle: Handle,
}

/// Bytes of a file, charged to the guest until it has them.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) held: HostBytes,
}

/// The right to hold one more handle of the host: the component's and the node's.
#[derive(Debug)]
pub(super) struct Handle {
    _component: OwnedSemaphorePermit,
    _node: OwnedSemaphorePermit,
}

/// What a guest wants to open.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wish {
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) create: bool,
    pub(super) directory: bool,
    pub(super) exclusive: bool,
    pub(super) truncate: bool,
    pub(super) sync: bool,
    pub(super) data_sync: bool,
}

/// What is known of a path or handle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes {
    pub(super) directory: bool,
    /// None where the guest may only walk through: then the type is all it learns.
    pub(super) stat: Option<Stat>,
}

impl Descriptor {
    pub(super) fn directory(&self) -> Result<&Arc<Directory>> {
        match self {
            Descriptor::Directory(directory) => Ok(directory),
            Descriptor::File(_) => Err(Errno::NOTDIR),
        }
    }

    pub(super) fn file(&self) -> Result<&Arc<OpenFile>> {
        match self {
            Descriptor::File(file) => Ok(file),
            Descriptor::Directory(_) => Err(Errno::ISDIR),
        }
    }
}

impl OpenFile {
    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    pub(super) fn is_writable(&self) -> bool {
        self.writable
    }

    fn handle(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn asker(&self) -> Asker<'_> {
        Asker {
            files: &self.files,
            call: &self.call,
        }
    }

    /// Starts work on the file.
    fn start<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&OpenFile) -> Result<T> + Send + 'static,
    ) -> Job<T> {
        let file = Arc::clone(self);
        let at_once = self.place.volume.in_memory;
        self.files.blocking.start(at_once, move || work(&file))
    }

    /// Reads at most `length` bytes, and at most [`READ_MAX`]; none at the end of the file.
    pub(super) fn read(self: &Arc<Self>, length: usize, offset: u64) -> Result<Job<Piece>> {
        if !self.readable {
            return Err(Errno::BADF);
        }
        let length = length.min(READ_MAX);
        let held = self.asker().hold(&self.place.path, Right::Read, length)?;
        Ok(self.start(move |file| {
            let mut bytes = vec![0; length];
            let read = read_at(file.handle(), &mut bytes, offset)?;
            bytes.truncate(read);
            file.pay(read)?;
            Ok(Piece { bytes, held })
        }))
    }

    /// Writes, and says how many bytes were.
    pub(super) fn write(
        self: &Arc<Self>,
        bytes: impl AsRef<[u8]> + Send + 'static,
        to: Position,
    ) -> Result<Job<usize>> {
        if !self.writable {
            return Err(Errno::BADF);
        }
        let length = bytes.as_ref().len();
        self.pay(length)?;
        let held = self.asker().hold(&self.place.path, Right::Write, length)?;
        Ok(self.start(move |file| {
            let _held = held;
            let volume = &file.place.volume;
            volume
                .write(file.handle(), to, bytes.as_ref())
                .map_err(|error| file.refused(error))
        }))
    }

    /// Counts bytes that move. When they are too many the call has ended, whatever its guest
    /// makes of the error.
    fn pay(&self, bytes: usize) -> Result<()> {
        match self.call.transfer(bytes) {
            true => Ok(()),
            false => Err(Errno::IO),
        }
    }

    pub(super) fn set_size(self: &Arc<Self>, size: u64) -> Result<Job<()>> {
        if !self.writable {
            return Err(Errno::BADF);
        }
        Ok(self.start(move |file| {
            let volume = &file.place.volume;
            volume
                .set_size(file.handle(), size)
                .map_err(|error| file.refused(error))
        }))
    }

    fn refused(&self, error: Errno) -> Errno {
        self.asker().refused(&self.place.path, Right::Write, error)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let volume = &self.place.volume;
        // A store may be dropped on the executor, which must not wait; and outside of one
        // there is nobody to hold up.
        if !volume.closing_waits() || Executor::try_current().is_err() {
            return volume.closing(self.file.as_fd(), self.identity);
        }
        let (volume, file, identity) = (Arc::clone(volume), Arc::clone(&self.file), self.identity);
        let closed = self.files.blocking.start(false, move || {
            volume.closing(file.as_fd(), identity);
            Ok(())
        });
        closed.detach();
    }
}

impl Asker<'_> {
    fn start<T: Send + 'static>(
        self,
        volume: &Volume,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Job<T> {
        self.files.blocking.start(volume.in_memory, work)
    }

    /// Opens what is at a path, as far as rights go.
    pub(super) async fn open(self, from: &Directory, path: &str, wish: Wish) -> Result<Descriptor> {
        let changes = wish.write || wish.create || wish.truncate;
        let want = match changes {
            true => Right::Write,
            false => Right::Traverse,
        };
        let place = self.place(from, path, want)?;
        if wish.create && (wish.directory || place.directory) {
            return Err(Errno::ISDIR);
        }
        // Without the right to read, only directories may be opened to be looked at; and
        // without one to write, only they may be opened at all.
        let blind = wish.read && !place.rights.read;
        if blind && changes {
            return Err(self.deny(&place.path, &place.volume, Right::Read));
        }
        let only_directory = !changes && (blind || !(place.rights.read || place.rights.write));
        let how = Opening {
            read: wish.read && !blind,
            write: wish.write,
            directory: wish.directory || place.directory || only_directory,
            create: wish.create,
            exclusive: wish.exclusive,
            truncate: wish.truncate,
            sync: wish.sync,
            data_sync: wish.data_sync,
        };
        let handle = self.handle(&place.path, want)?;
        let files = Arc::clone(self.files);
        let call = Arc::clone(self.call);
        let target = place.clone();
        let opened = self.start(&place.volume, move || {
            let (file, stat) = target.volume.open(target.relative(), how)?;
            if is_directory(&stat) {
                return Ok(Descriptor::Directory(Arc::new(Directory {
                    volume: target.volume,
                    path: target.path,
                })));
            }
            Ok(Descriptor::File(Arc::new(OpenFile {
                file: Arc::new(file),
                identity: Identity::of(&stat),
                place: target,
                readable: how.read,
                writable: how.write,
                files,
                call,
                _handle: handle,
            })))
        });
        let right = match changes {
            true => Right::Write,
            false => Right::Read,
        };
        match opened.await {
            Ok(descriptor) => {
                self.used(&place, right);
                if changes && how.read {
                    self.used(&place, Right::Read);
                }
                Ok(descriptor)
            }
            // There is a file, which the guest may not know.
            Err(Errno::NOTDIR) if only_directory && !wish.directory && !place.directory => {
                Err(self.deny(&place.path, &place.volume, Right::Read))
            }
            Err(error) => Err(self.refused(&place.path, right, error)),
        }
    }

    /// The right to one more handle of the host.
    pub(super) fn handle(self, path: &GuestPath, want: Right) -> Result<Handle> {
        let component = Arc::clone(&self.files.handles).try_acquire_owned();
        let node = Arc::clone(&self.files.node.handles).try_acquire_owned();
        match (component, node) {
            (Ok(component), Ok(node)) => Ok(Handle {
                _component: component,
                _node: node,
            }),
            _ => Err(self.refused(path, want, Errno::MFILE)),
        }
    }

    /// Charges what the host is about to hold for the guest.
    pub(super) fn hold(self, path: &GuestPath, want: Right, bytes: usize) -> Result<HostBytes> {
        HostBytes::hold(self.call, bytes).map_err(|_| self.refused(path, want, Errno::NOMEM))
    }

    pub(super) async fn attributes_at(self, from: &Directory, path: &str) -> Result<Attributes> {
        let place = self.place(from, path, Right::Traverse)?;
        let attributes = self.attributes(&place).await;
        attributes.inspect(|_| self.used(&place, Right::Read))
    }

    async fn attributes(self, place: &Place) -> Result<Attributes> {
        let target = place.clone();
        let stat = self.start(&place.volume, move || {
            target.volume.stat(target.relative(), target.directory)
        });
        let stat = stat
            .await
            .map_err(|error| self.refused(&place.path, Right::Read, error))?;
        let directory = is_directory(&stat);
        let open = place.rights.read || place.rights.write;
        if !directory && !open {
            return Err(self.deny(&place.path, &place.volume, Right::Read));
        }
        Ok(Attributes {
            directory,
            stat: open.then_some(stat),
        })
    }

    pub(super) async fn attributes_of(self, descriptor: &Descriptor) -> Result<Attributes> {
        match descriptor {
            Descriptor::Directory(directory) => self.attributes_at(directory, ".").await,
            Descriptor::File(file) => Ok(Attributes {
                directory: false,
                stat: Some(file.start(|file| rustix::fs::fstat(file.handle())).await?),
            }),
        }
    }

    /// What tells the object apart from others, for whoever may know it.
    pub(super) async fn identity_at(self, from: &Directory, path: &str) -> Result<Identity> {
        let place = self.place(from, path, Right::Traverse)?;
        let target = place.clone();
        let stat = self.start(&place.volume, move || {
            target.volume.stat(target.relative(), target.directory)
        });
        match stat.await {
            Ok(stat) if is_directory(&stat) || place.rights.read || place.rights.write => {
                Ok(Identity::of(&stat))
            }
            Ok(_) => Err(self.deny(&place.path, &place.volume, Right::Read)),
            Err(error) => Err(self.refused(&place.path, Right::Read, error)),
        }
    }

    pub(super) async fn identity_of(self, descriptor: &Descriptor) -> Result<Identity> {
        match descriptor {
            Descriptor::Directory(directory) => self.identity_at(directory, ".").await,
            Descriptor::File(file) => Ok(file.identity),
        }
    }

    pub(super) async fn make_directory(self, from: &Directory, path: &str) -> Result<()> {
        let place = self.place(from, path, Right::Write)?;
        self.change(place, |place| place.volume.make_directory(place.relative()))
            .await
    }

    pub(super) async fn remove_directory(self, from: &Directory, path: &str) -> Result<()> {
        let place = self.place(from, path, Right::Write)?;
        self.change(place, |place| {
            place.volume.remove_directory(place.relative())
        })
        .await
    }

    pub(super) async fn remove_file(self, from: &Directory, path: &str) -> Result<()> {
        let place = self.place(from, path, Right::Write)?;
        if place.directory {
            return Err(Errno::ISDIR);
        }
        self.change(place, |place| place.volume.remove_file(place.relative()))
            .await
    }

    pub(super) async fn set_times_at(
        self,
        from: &Directory,
        path: &str,
        times: Timestamps,
    ) -> Result<()> {
        let place = self.place(from, path, Right::Write)?;
        self.change(place, move |place| {
            place.volume.set_times(place.relative(), &times)
        })
        .await
    }

    pub(super) async fn set_times(self, descriptor: &Descriptor, times: Timestamps) -> Result<()> {
        match descriptor {
            Descriptor::Directory(directory) => self.set_times_at(directory, ".", times).await,
            Descriptor::File(file) => {
                self.require(&file.place, Right::Write)?;
                if !(file.readable || file.writable) {
                    return Err(Errno::BADF);
                }
                file.start(move |file| rustix::fs::futimens(file.handle(), &times))
                    .await
            }
        }
    }

    /// Moves a file to where it has the same rights, or a directory to where all that is
    /// below has: a guest must not gain a right by moving what it lacks one for.
    pub(super) async fn rename(
        self,
        from: &Directory,
        old: &str,
        to: &Directory,
        new: &str,
    ) -> Result<()> {
        let old = self.place(from, old, Right::Write)?;
        let new = self.place(to, new, Right::Write)?;
        if !Arc::ptr_eq(&old.volume, &new.volume) {
            return Err(Errno::XDEV);
        }
        if old.rights != new.rights {
            return Err(self.unequal(&new.path));
        }
        let files_only = !equal_below(&self.files.effective, &old.path, &new.path);
        let directory = old.directory || new.directory;
        let target = new.clone();
        let path = new.path.clone();
        let moved = self.start(&target.volume, move || {
            if directory && !is_directory(&old.volume.stat(old.relative(), false)?) {
                return Err(Errno::NOTDIR);
            }
            old.volume
                .rename(old.relative(), new.relative(), files_only)
        });
        match moved.await {
            Ok(()) => {
                self.used(&target, Right::Write);
                Ok(())
            }
            Err(Errno::PERM) if files_only => Err(self.unequal(&path)),
            Err(error) => Err(self.refused(&path, Right::Write, error)),
        }
    }

    /// Changes what is at a place that may be written to.
    async fn change(
        self,
        place: Place,
        work: impl FnOnce(&Place) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let target = place.clone();
        let changed = self.start(&place.volume, move || work(&target)).await;
        match changed {
            Ok(()) => {
                self.used(&place, Right::Write);
                Ok(())
            }
            Err(error) => Err(self.refused(&place.path, Right::Write, error)),
        }
    }

    pub(super) async fn sync(self, descriptor: &Descriptor, data_only: bool) -> Result<()> {
        match descriptor {
            Descriptor::Directory(directory) => {
                let place = self.place(directory, ".", Right::Traverse)?;
                let volume = Arc::clone(&place.volume);
                self.start(&volume, move || {
                    place.volume.sync_directory(place.relative())
                })
                .await
            }
            Descriptor::File(file) if file.readable || file.writable => {
                file.start(move |file| match data_only {
                    true => rustix::fs::fdatasync(file.handle()),
                    false => rustix::fs::fsync(file.handle()),
                })
                .await
            }
            Descriptor::File(_) => Err(Errno::BADF),
        }
    }
}
