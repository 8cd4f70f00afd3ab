//! wasi:filesystem 0.2: translates what a guest asks, and what it is answered.

mod streams;

use self::streams::{ReadStream, WriteStream};
use super::descriptor::{Attributes, Descriptor, Wish};
use super::listing::Listing;
use super::volume::Position;
use super::words::words;
use super::{FilesView, Filesystem, Handle};
use crate::guest::Guest;
use capability::Right;
use rustix::io::Errno;
use std::sync::Arc;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream,
    ErrorCode, Filesize, Host, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue,
    NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    types::add_to_linker::<Guest, Filesystem>(linker, Guest::files)?;
    preopens::add_to_linker::<Guest, Filesystem>(linker, Guest::files)
}

impl preopens::Host for FilesView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Handle, String)>> {
        Ok(self.preopens()?)
    }
}

impl Host for FilesView<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        let error = self.table.get(&error)?;
        Ok(error.downcast_ref::<Errno>().map(|errno| code(*errno)))
    }
}

impl HostDescriptor for FilesView<'_> {
    fn read_via_stream(
        &mut self,
        handle: Handle,
        offset: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        let file = self.descriptor(&handle)?.file().map_err(code)?;
        if !file.is_readable() {
            return Err(code(Errno::BADF).into());
        }
        let stream: DynInputStream = Box::new(ReadStream::new(Arc::clone(file), offset));
        Ok(self.table.push(stream)?)
    }

    fn write_via_stream(
        &mut self,
        handle: Handle,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.write_stream(&handle, Position::At(offset))
    }

    fn append_via_stream(&mut self, handle: Handle) -> FsResult<Resource<DynOutputStream>> {
        self.write_stream(&handle, Position::End)
    }

    async fn advise(
        &mut self,
        handle: Handle,
        _offset: Filesize,
        _length: Filesize,
        _advice: Advice,
    ) -> FsResult<()> {
        // The host reads ahead as it thinks best.
        self.descriptor(&handle)?.file().map_err(code)?;
        Ok(())
    }

    async fn sync_data(&mut self, handle: Handle) -> FsResult<()> {
        let descriptor = self.descriptor(&handle)?;
        Ok(self.asker().sync(descriptor, true).await.map_err(code)?)
    }

    async fn sync(&mut self, handle: Handle) -> FsResult<()> {
        let descriptor = self.descriptor(&handle)?;
        Ok(self.asker().sync(descriptor, false).await.map_err(code)?)
    }

    async fn get_flags(&mut self, handle: Handle) -> FsResult<DescriptorFlags> {
        Ok(match self.descriptor(&handle)? {
            Descriptor::Directory(directory) => {
                let rights = self.asker().rights(&directory.volume, &directory.path);
                DescriptorFlags::READ | flag(DescriptorFlags::MUTATE_DIRECTORY, rights.write)
            }
            Descriptor::File(file) => {
                flag(DescriptorFlags::READ, file.is_readable())
                    | flag(DescriptorFlags::WRITE, file.is_writable())
            }
        })
    }

    async fn get_type(&mut self, handle: Handle) -> FsResult<DescriptorType> {
        Ok(match self.descriptor(&handle)? {
            Descriptor::Directory(_) => DescriptorType::Directory,
            Descriptor::File(_) => DescriptorType::RegularFile,
        })
    }

    async fn set_size(&mut self, handle: Handle, size: Filesize) -> FsResult<()> {
        let file = self.descriptor(&handle)?.file().map_err(code)?;
        Ok(file.set_size(size).map_err(code)?.await.map_err(code)?)
    }

    async fn set_times(
        &mut self,
        handle: Handle,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let times = timestamps(accessed, modified)?;
        let descriptor = self.descriptor(&handle)?;
        let set = self.asker().set_times(descriptor, times);
        Ok(set.await.map_err(code)?)
    }

    async fn read(
        &mut self,
        handle: Handle,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        let file = self.descriptor(&handle)?.file().map_err(code)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = file.read(length, offset).map_err(code)?;
        let bytes = bytes.await.map_err(code)?.bytes;
        let ended = bytes.is_empty();
        Ok((bytes, ended))
    }

    async fn write(
        &mut self,
        handle: Handle,
        bytes: Vec<u8>,
        offset: Filesize,
    ) -> FsResult<Filesize> {
        let file = self.descriptor(&handle)?.file().map_err(code)?;
        let written = file.write(bytes, Position::At(offset)).map_err(code)?;
        Ok(written.await.map_err(code)? as Filesize)
    }

    async fn read_directory(&mut self, handle: Handle) -> FsResult<Resource<DirectoryEntryStream>> {
        let directory = self.descriptor(&handle)?.directory().map_err(code)?;
        let listing = Listing::new(&self.asker(), directory).map_err(code)?;
        let stream = self.table.push(listing)?;
        Ok(Resource::new_own(stream.rep()))
    }

    async fn create_directory_at(&mut self, handle: Handle, path: String) -> FsResult<()> {
        let directory = self.descriptor(&handle)?.directory().map_err(code)?;
        let made = self.asker().make_directory(directory, &path);
        Ok(made.await.map_err(code)?)
    }

    async fn stat(&mut self, handle: Handle) -> FsResult<DescriptorStat> {
        let descriptor = self.descriptor(&handle)?;
        let attributes = self.asker().attributes_of(descriptor);
        Ok(stat(attributes.await.map_err(code)?))
    }

    async fn stat_at(
        &mut self,
        handle: Handle,
        _flags: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        let directory = self.descriptor(&handle)?.directory().map_err(code)?;
        let attributes = self.asker().attributes_at(directory, &path);
        Ok(stat(attributes.await.map_err(code)?))
    }

    async fn set_times_at(
        &mut self,
        handle: Handle,
        _flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let times = timestamps(accessed, modified)?;
        let directory = self.descriptor(&handle)?.directory().map_err(code)?;
        let set = self.asker().set_times_at(directory, &path, times);
        Ok(set.await.map_err(code)?)
    }

    async fn link_at(
        &mut self,
        handle: Handle,
        _flags: PathFlags,
        path: String,
        _new_handle: Handle,
        _new_path: String,
    ) -> FsResult<()> {
        self.refuse_link(&handle, &path, Right::Write)
    }

    async fn open_at(
        &mut self,
        handle: Handle,
        _flags: PathFlags,
        path: String,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Handle> {
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
        let directory = self.descriptor(&handle)?.directory().map_err(code)?;
        let opened = self.asker().open(directory, &path, wish).await;
        Ok(self.hand_out(opened.map_err(code)?)?)
    }

    async fn readlink_at(&mut self, handle: Handle, path: String) -> FsResult<String> {
        self.refuse_link(&handle, &path, Right::Read)
    }

    async fn remove_directory_at(&mut self, handle: Handle, path: String) -> FsResult<()> {
        let directory = self.descriptor(&handle)?.directory().map_err(code)?;
        let removed = self.asker().remove_directory(directory, &path);
        Ok(removed.await.map_err(code)?)
    }

    async fn rename_at(
        &mut self,
        handle: Handle,
        old: String,
        new_handle: Handle,
        new: String,
    ) -> FsResult<()> {
        let from = self.descriptor(&handle)?.directory().map_err(code)?;
        let to = self.descriptor(&new_handle)?.directory().map_err(code)?;
        let renamed = self.asker().rename(from, &old, to, &new);
        Ok(renamed.await.map_err(code)?)
    }

    async fn symlink_at(&mut self, handle: Handle, _target: String, path: String) -> FsResult<()> {
        self.refuse_link(&handle, &path, Right::Write)
    }

    async fn unlink_file_at(&mut self, handle: Handle, path: String) -> FsResult<()> {
        let directory = self.descriptor(&handle)?.directory().map_err(code)?;
        let removed = self.asker().remove_file(directory, &path);
        Ok(removed.await.map_err(code)?)
    }

    async fn is_same_object(&mut self, handle: Handle, other: Handle) -> wasmtime::Result<bool> {
        let asker = self.asker();
        let one = asker.identity_of(self.descriptor(&handle)?).await;
        let other = asker.identity_of(self.descriptor(&other)?).await;
        Ok(matches!((one, other), (Ok(one), Ok(other)) if one == other))
    }

    async fn metadata_hash(&mut self, handle: Handle) -> FsResult<MetadataHashValue> {
        let descriptor = self.descriptor(&handle)?;
        let identity = self.asker().identity_of(descriptor).await.map_err(code)?;
        let (lower, upper) = self.salt.hash(identity);
        Ok(MetadataHashValue { lower, upper })
    }

    async fn metadata_hash_at(
        &mut self,
        handle: Handle,
        _flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        let directory = self.descriptor(&handle)?.directory().map_err(code)?;
        let identity = self.asker().identity_at(directory, &path);
        let (lower, upper) = self.salt.hash(identity.await.map_err(code)?);
        Ok(MetadataHashValue { lower, upper })
    }

    fn drop(&mut self, handle: Handle) -> wasmtime::Result<()> {
        self.take_back(&handle)?;
        Ok(())
    }
}

impl HostDirectoryEntryStream for FilesView<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        let listing = Resource::<Listing>::new_borrow(stream.rep());
        let entry = self.table.get_mut(&listing)?.next().await;
        Ok(entry.map_err(code)?.map(|entry| DirectoryEntry {
            type_: kind(entry.directory),
            name: entry.name,
        }))
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.table
            .delete(Resource::<Listing>::new_own(stream.rep()))?;
        Ok(())
    }
}

impl FilesView<'_> {
    fn write_stream(
        &mut self,
        handle: &Handle,
        position: Position,
    ) -> FsResult<Resource<DynOutputStream>> {
        let file = self.descriptor(handle)?.file().map_err(code)?;
        if !file.is_writable() {
            return Err(code(Errno::BADF).into());
        }
        let stream: DynOutputStream = Box::new(WriteStream::new(Arc::clone(file), position));
        Ok(self.table.push(stream)?)
    }

    fn refuse_link<T>(&self, handle: &Handle, path: &str, want: Right) -> FsResult<T> {
        let directory = self.descriptor(handle)?.directory().map_err(code)?;
        Err(code(self.asker().refuse_link(directory, path, want)).into())
    }
}

words!(Datetime);
