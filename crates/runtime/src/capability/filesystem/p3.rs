//! wasi:filesystem 0.3: translates what a guest asks, and what it is answered.
//!
//! What `p2` says of rights and limits holds here, too: both ask the same `descriptor`.

mod streams;

use self::streams::{ListingProducer, ReadProducer, WriteConsumer};
use super::descriptor::{Attributes, Descriptor, Directory, OpenFile, Wish};
use super::listing::Listing;
use super::rights::Asker;
use super::volume::Position;
use super::words::words;
use super::{Files, FilesView, Filesystem, Handle};
use crate::call::Call;
use crate::guest::Guest;
use capability::Right;
use rustix::io::Errno;
use std::iter;
use std::sync::Arc;
use tokio::sync::oneshot;
use wasmtime::component::{Access, Accessor, FutureReader, Linker, StreamReader};
use wasmtime_wasi::p3::bindings::clocks::system_clock::Instant;
use wasmtime_wasi::p3::bindings::filesystem::types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, Filesize,
    Host, HostDescriptor, HostDescriptorWithStore, MetadataHashValue, NewTimestamp, OpenFlags,
    PathFlags,
};
use wasmtime_wasi::p3::bindings::filesystem::{preopens, types};
use wasmtime_wasi::p3::filesystem::{FilesystemError, FilesystemResult};

/// How a stream ended.
type End = Result<(), ErrorCode>;

/// What a call needs of its store while it waits.
struct Caller {
    files: Arc<Files>,
    call: Arc<Call>,
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    types::add_to_linker::<Guest, Filesystem>(linker, Guest::files)?;
    preopens::add_to_linker::<Guest, Filesystem>(linker, Guest::files)
}

impl Caller {
    fn asker(&self) -> Asker<'_> {
        Asker {
            files: &self.files,
            call: &self.call,
        }
    }
}

impl FilesView<'_> {
    fn caller(&self) -> Caller {
        Caller {
            files: Arc::clone(self.files),
            call: Arc::clone(self.call),
        }
    }
}

/// The descriptor, and who asks.
fn ask<U>(
    store: &Accessor<U, Filesystem>,
    handle: &Handle,
) -> FilesystemResult<(Caller, Descriptor)> {
    store.with(|mut store| {
        let view = store.get();
        Ok((view.caller(), view.descriptor(handle)?.clone()))
    })
}

/// The same, of a directory.
fn ask_directory<U>(
    store: &Accessor<U, Filesystem>,
    handle: &Handle,
) -> FilesystemResult<(Caller, Arc<Directory>)> {
    let (caller, descriptor) = ask(store, handle)?;
    let directory = descriptor.directory().map_err(code)?;
    Ok((caller, Arc::clone(directory)))
}

impl preopens::Host for FilesView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Handle, String)>> {
        Ok(self.preopens()?)
    }
}

impl Host for FilesView<'_> {
    fn convert_error_code(&mut self, error: FilesystemError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }
}

impl HostDescriptor for FilesView<'_> {
    fn drop(&mut self, handle: Handle) -> wasmtime::Result<()> {
        self.take_back(&handle)?;
        Ok(())
    }
}

impl<U> HostDescriptorWithStore<U> for Filesystem {
    fn read_via_stream(
        mut store: Access<'_, U, Self>,
        handle: Handle,
        offset: Filesize,
    ) -> wasmtime::Result<(StreamReader<u8>, FutureReader<End>)> {
        let file = open_file(&store.get(), &handle)?;
        let (end, ended) = oneshot::channel();
        let stream = match file.and_then(readable) {
            Ok(file) => StreamReader::new(&mut store, ReadProducer::new(file, offset, end))?,
            Err(error) => {
                let _ = end.send(Err(code(error)));
                StreamReader::new(&mut store, iter::empty())?
            }
        };
        Ok((stream, FutureReader::new(&mut store, ended)?))
    }

    fn write_via_stream(
        store: Access<'_, U, Self>,
        handle: Handle,
        bytes: StreamReader<u8>,
        offset: Filesize,
    ) -> wasmtime::Result<FutureReader<End>> {
        write_stream(store, &handle, bytes, Position::At(offset))
    }

    fn append_via_stream(
        store: Access<'_, U, Self>,
        handle: Handle,
        bytes: StreamReader<u8>,
    ) -> wasmtime::Result<FutureReader<End>> {
        write_stream(store, &handle, bytes, Position::End)
    }

    async fn advise(
        store: &Accessor<U, Self>,
        handle: Handle,
        _offset: Filesize,
        _length: Filesize,
        _advice: Advice,
    ) -> FilesystemResult<()> {
        // The host reads ahead as it thinks best.
        ask(store, &handle)?.1.file().map_err(code)?;
        Ok(())
    }

    async fn sync_data(store: &Accessor<U, Self>, handle: Handle) -> FilesystemResult<()> {
        let (caller, descriptor) = ask(store, &handle)?;
        let synced = caller.asker().sync(&descriptor, true).await;
        Ok(synced.map_err(code)?)
    }

    async fn sync(store: &Accessor<U, Self>, handle: Handle) -> FilesystemResult<()> {
        let (caller, descriptor) = ask(store, &handle)?;
        let synced = caller.asker().sync(&descriptor, false).await;
        Ok(synced.map_err(code)?)
    }

    async fn get_flags(
        store: &Accessor<U, Self>,
        handle: Handle,
    ) -> FilesystemResult<DescriptorFlags> {
        let (caller, descriptor) = ask(store, &handle)?;
        Ok(match descriptor {
            Descriptor::Directory(directory) => {
                let rights = caller.asker().rights(&directory.volume, &directory.path);
                DescriptorFlags::READ | flag(DescriptorFlags::MUTATE_DIRECTORY, rights.write)
            }
            Descriptor::File(file) => {
                flag(DescriptorFlags::READ, file.is_readable())
                    | flag(DescriptorFlags::WRITE, file.is_writable())
            }
        })
    }

    async fn get_type(
        store: &Accessor<U, Self>,
        handle: Handle,
    ) -> FilesystemResult<DescriptorType> {
        Ok(match ask(store, &handle)?.1 {
            Descriptor::Directory(_) => DescriptorType::Directory,
            Descriptor::File(_) => DescriptorType::RegularFile,
        })
    }

    async fn set_size(
        store: &Accessor<U, Self>,
        handle: Handle,
        size: Filesize,
    ) -> FilesystemResult<()> {
        let (_, descriptor) = ask(store, &handle)?;
        let job = descriptor.file().and_then(|file| file.set_size(size));
        Ok(job.map_err(code)?.await.map_err(code)?)
    }

    async fn set_times(
        store: &Accessor<U, Self>,
        handle: Handle,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FilesystemResult<()> {
        let times = timestamps(accessed, modified)?;
        let (caller, descriptor) = ask(store, &handle)?;
        let set = caller.asker().set_times(&descriptor, times).await;
        Ok(set.map_err(code)?)
    }

    fn read_directory(
        mut store: Access<'_, U, Self>,
        handle: Handle,
    ) -> wasmtime::Result<(StreamReader<DirectoryEntry>, FutureReader<End>)> {
        let view = store.get();
        let listing = view
            .descriptor(&handle)?
            .directory()
            .and_then(|directory| Listing::new(&view.asker(), directory));
        let (end, ended) = oneshot::channel();
        let stream = match listing {
            Ok(listing) => StreamReader::new(&mut store, ListingProducer::new(listing, end))?,
            Err(error) => {
                let _ = end.send(Err(code(error)));
                StreamReader::new(&mut store, iter::empty())?
            }
        };
        Ok((stream, FutureReader::new(&mut store, ended)?))
    }

    async fn create_directory_at(
        store: &Accessor<U, Self>,
        handle: Handle,
        path: String,
    ) -> FilesystemResult<()> {
        let (caller, directory) = ask_directory(store, &handle)?;
        let made = caller.asker().make_directory(&directory, &path).await;
        Ok(made.map_err(code)?)
    }

    async fn stat(store: &Accessor<U, Self>, handle: Handle) -> FilesystemResult<DescriptorStat> {
        let (caller, descriptor) = ask(store, &handle)?;
        let attributes = caller.asker().attributes_of(&descriptor).await;
        Ok(stat(attributes.map_err(code)?))
    }

    async fn stat_at(
        store: &Accessor<U, Self>,
        handle: Handle,
        _flags: PathFlags,
        path: String,
    ) -> FilesystemResult<DescriptorStat> {
        let (caller, directory) = ask_directory(store, &handle)?;
        let attributes = caller.asker().attributes_at(&directory, &path).await;
        Ok(stat(attributes.map_err(code)?))
    }

    async fn set_times_at(
        store: &Accessor<U, Self>,
        handle: Handle,
        _flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FilesystemResult<()> {
        let times = timestamps(accessed, modified)?;
        let (caller, directory) = ask_directory(store, &handle)?;
        let set = caller.asker().set_times_at(&directory, &path, times).await;
        Ok(set.map_err(code)?)
    }

    async fn link_at(
        store: &Accessor<U, Self>,
        handle: Handle,
        _flags: PathFlags,
        path: String,
        _new_handle: Handle,
        _new_path: String,
    ) -> FilesystemResult<()> {
        refuse_link(store, &handle, &path, Right::Write)
    }

    async fn open_at(
        store: &Accessor<U, Self>,
        handle: Handle,
        _flags: PathFlags,
        path: String,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> FilesystemResult<Handle> {
        let wish = Wish {
            read: flags.contains(DescriptorFlags::READ),
            write: flags.contains(DescriptorFlags::WRITE),
            create: open.contains(OpenFlags::CREATE),
            directory: open.contains(OpenFlags::DIRECTORY),
            exclusive: open.contains(OpenFlags::EXCLUSIVE),
            truncate: open.contains(OpenFlags::TRUNCATE),
            sync: flags.contains(DescriptorFlags::FILE_INTEGRITY_SYNC),
            data_sync: flags.contains(DescriptorFlags::DATA_INTEGRITY_SYNC),
        };
        let (caller, directory) = ask_directory(store, &handle)?;
        let opened = caller.asker().open(&directory, &path, wish).await;
        let opened = opened.map_err(code)?;
        Ok(store.with(|mut store| store.get().hand_out(opened))?)
    }

    async fn readlink_at(
        store: &Accessor<U, Self>,
        handle: Handle,
        path: String,
    ) -> FilesystemResult<String> {
        refuse_link(store, &handle, &path, Right::Read)
    }

    async fn remove_directory_at(
        store: &Accessor<U, Self>,
        handle: Handle,
        path: String,
    ) -> FilesystemResult<()> {
        let (caller, directory) = ask_directory(store, &handle)?;
        let removed = caller.asker().remove_directory(&directory, &path).await;
        Ok(removed.map_err(code)?)
    }

    async fn rename_at(
        store: &Accessor<U, Self>,
        handle: Handle,
        old: String,
        new_handle: Handle,
        new: String,
    ) -> FilesystemResult<()> {
        let (caller, from) = ask_directory(store, &handle)?;
        let (_, to) = ask_directory(store, &new_handle)?;
        let renamed = caller.asker().rename(&from, &old, &to, &new).await;
        Ok(renamed.map_err(code)?)
    }

    async fn symlink_at(
        store: &Accessor<U, Self>,
        handle: Handle,
        _target: String,
        path: String,
    ) -> FilesystemResult<()> {
        refuse_link(store, &handle, &path, Right::Write)
    }

    async fn unlink_file_at(
        store: &Accessor<U, Self>,
        handle: Handle,
        path: String,
    ) -> FilesystemResult<()> {
        let (caller, directory) = ask_directory(store, &handle)?;
        let removed = caller.asker().remove_file(&directory, &path).await;
        Ok(removed.map_err(code)?)
    }

    async fn is_same_object(
        store: &Accessor<U, Self>,
        handle: Handle,
        other: Handle,
    ) -> wasmtime::Result<bool> {
        let (caller, one) = ask(store, &handle)?;
        let (_, other) = ask(store, &other)?;
        let one = caller.asker().identity_of(&one).await;
        let other = caller.asker().identity_of(&other).await;
        Ok(matches!((one, other), (Ok(one), Ok(other)) if one == other))
    }

    async fn metadata_hash(
        store: &Accessor<U, Self>,
        handle: Handle,
    ) -> FilesystemResult<MetadataHashValue> {
        let (caller, descriptor) = ask(store, &handle)?;
        let identity = caller.asker().identity_of(&descriptor).await;
        let identity = identity.map_err(code)?;
        let (lower, upper) = store.with(|mut store| store.get().salt.hash(identity));
        Ok(MetadataHashValue { lower, upper })
    }

    async fn metadata_hash_at(
        store: &Accessor<U, Self>,
        handle: Handle,
        _flags: PathFlags,
        path: String,
    ) -> FilesystemResult<MetadataHashValue> {
        let (caller, directory) = ask_directory(store, &handle)?;
        let identity = caller.asker().identity_at(&directory, &path).await;
        let identity = identity.map_err(code)?;
        let (lower, upper) = store.with(|mut store| store.get().salt.hash(identity));
        Ok(MetadataHashValue { lower, upper })
    }
}

fn open_file(
    view: &FilesView<'_>,
    handle: &Handle,
) -> wasmtime::Result<Result<Arc<OpenFile>, Errno>> {
    Ok(view.descriptor(handle)?.file().cloned())
}

fn readable(file: Arc<OpenFile>) -> Result<Arc<OpenFile>, Errno> {
    match file.is_readable() {
        true => Ok(file),
        false => Err(Errno::BADF),
    }
}

fn writable(file: Arc<OpenFile>) -> Result<Arc<OpenFile>, Errno> {
    match file.is_writable() {
        true => Ok(file),
        false => Err(Errno::BADF),
    }
}

fn write_stream<U>(
    mut store: Access<'_, U, Filesystem>,
    handle: &Handle,
    mut bytes: StreamReader<u8>,
    position: Position,
) -> wasmtime::Result<FutureReader<End>> {
    let file = open_file(&store.get(), handle)?;
    let (end, ended) = oneshot::channel();
    match file.and_then(writable) {
        Ok(file) => bytes.pipe(&mut store, WriteConsumer::new(file, position, end))?,
        Err(error) => {
            bytes.close(&mut store)?;
            let _ = end.send(Err(code(error)));
        }
    }
    FutureReader::new(&mut store, ended)
}

fn refuse_link<U, T>(
    store: &Accessor<U, Filesystem>,
    handle: &Handle,
    path: &str,
    want: Right,
) -> FilesystemResult<T> {
    let (caller, directory) = ask_directory(store, handle)?;
    Err(code(caller.asker().refuse_link(&directory, path, want)).into())
}

words!(Instant);
