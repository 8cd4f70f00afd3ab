//! Streams of the component model over a file or a directory. At most one piece is under way
//! per stream, and no stream holds a thread while nobody reads it.

use super::{End, code, kind};
use crate::capability::filesystem::blocking::Job;
use crate::capability::filesystem::descriptor::{OpenFile, Piece, READ_MAX};
use crate::capability::filesystem::listing::{Entry, Listing};
use crate::capability::filesystem::volume::Position;
use bytes::Bytes;
use rustix::io::Errno;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Destination, Source, StreamConsumer, StreamProducer, StreamResult, VecBuffer,
};
use wasmtime_wasi::p3::bindings::filesystem::types::DirectoryEntry;

/// What is read for a reader that does not say how much it wants.
const READ_AHEAD: usize = 16 * 1024;

/// Tells the guest how a stream ended: well, when nobody said otherwise.
struct Ending(Option<oneshot::Sender<End>>);

/// Reads a file from a position on.
pub(super) struct ReadProducer {
    file: Arc<OpenFile>,
    offset: u64,
    job: Option<Job<Piece>>,
    end: Ending,
}

/// Writes a file from a position on, or to its end.
pub(super) struct WriteConsumer {
    file: Arc<OpenFile>,
    position: Position,
    job: Option<Job<usize>>,
    end: Ending,
}

/// Gives the entries of a directory.
pub(super) struct ListingProducer {
    state: Progress,
    end: Ending,
}

enum Progress {
    Idle(Listing),
    Reading(Chunk),
    Ended,
}

type Chunk = Pin<Box<dyn Future<Output = (Listing, Result<Vec<Entry>, Errno>)> + Send>>;

impl Ending {
    fn new(end: oneshot::Sender<End>) -> Ending {
        Ending(Some(end))
    }

    fn with(&mut self, end: Result<(), Errno>) -> Poll<wasmtime::Result<StreamResult>> {
        if let Some(sender) = self.0.take() {
            // The guest may not want to know.
            let _ = sender.send(end.map_err(code));
        }
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.with(Ok(()));
    }
}

impl ReadProducer {
    pub(super) fn new(file: Arc<OpenFile>, offset: u64, end: oneshot::Sender<End>) -> ReadProducer {
        ReadProducer {
            file,
            offset,
            job: None,
            end: Ending::new(end),
        }
    }
}

impl<D> StreamProducer<D> for ReadProducer {
    type Item = u8;
    type Buffer = Bytes;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, u8, Bytes>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let wanted = destination.remaining(&mut store).unwrap_or(READ_AHEAD);
        if wanted == 0 {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let this = &mut *self;
        let job = match &mut this.job {
            Some(job) => job,
            None => match this.file.read(wanted, this.offset) {
                Ok(job) => this.job.insert(job),
                Err(error) => return this.end.with(Err(error)),
            },
        };
        let read = match Pin::new(job).poll(context) {
            Poll::Pending if finish => {
                // Nothing is lost: the offset has not moved.
                this.job = None;
                return Poll::Ready(Ok(StreamResult::Cancelled));
            }
            read => ready!(read),
        };
        this.job = None;
        match read {
            Ok(piece) if piece.bytes.is_empty() => this.end.with(Ok(())),
            // No more was read than the guest asked for, so it has it now.
            Ok(Piece { bytes, .. }) => {
                this.offset = this.offset.saturating_add(bytes.len() as u64);
                destination.set_buffer(bytes.into());
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Err(error) => this.end.with(Err(error)),
        }
    }
}

impl WriteConsumer {
    pub(super) fn new(
        file: Arc<OpenFile>,
        position: Position,
        end: oneshot::Sender<End>,
    ) -> WriteConsumer {
        WriteConsumer {
            file,
            position,
            job: None,
            end: Ending::new(end),
        }
    }
}

impl<D> StreamConsumer<D> for WriteConsumer {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let this = &mut *self;
        let mut source = source.as_direct(store);
        let job = match &mut this.job {
            Some(job) => job,
            None => {
                let waiting = source.remaining();
                let piece = waiting.get(..READ_MAX).unwrap_or(waiting);
                if piece.is_empty() {
                    return Poll::Ready(Ok(StreamResult::Completed));
                }
                match this.file.write(piece.to_vec(), this.position) {
                    Ok(job) => this.job.insert(job),
                    Err(error) => return this.end.with(Err(error)),
                }
            }
        };
        // What is being written can not be taken back, so a guest that gives up waits for it.
        let written = ready!(Pin::new(job).poll(context));
        this.job = None;
        match written {
            Ok(written) => {
                source.mark_read(written);
                if let Position::At(offset) = &mut this.position {
                    *offset = offset.saturating_add(written as u64);
                }
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Err(error) => this.end.with(Err(error)),
        }
    }
}

impl ListingProducer {
    pub(super) fn new(listing: Listing, end: oneshot::Sender<End>) -> ListingProducer {
        ListingProducer {
            state: Progress::Idle(listing),
            end: Ending::new(end),
        }
    }
}

impl<D> StreamProducer<D> for ListingProducer {
    type Item = DirectoryEntry;
    type Buffer = VecBuffer<DirectoryEntry>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, DirectoryEntry, VecBuffer<DirectoryEntry>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let this = &mut *self;
        let mut chunk = match std::mem::replace(&mut this.state, Progress::Ended) {
            Progress::Idle(mut listing) => Box::pin(async move {
                let entries = listing.next_chunk().await;
                (listing, entries)
            }),
            Progress::Reading(chunk) => chunk,
            Progress::Ended => return this.end.with(Ok(())),
        };
        let Poll::Ready((listing, entries)) = chunk.as_mut().poll(context) else {
            this.state = Progress::Reading(chunk);
            return match finish {
                // What was read meanwhile is for the next who asks.
                true => Poll::Ready(Ok(StreamResult::Cancelled)),
                false => Poll::Pending,
            };
        };
        match entries {
            Ok(entries) if entries.is_empty() => this.end.with(Ok(())),
            Ok(entries) => {
                let entries: Vec<_> = entries.into_iter().map(entry).collect();
                destination.set_buffer(entries.into());
                this.state = Progress::Idle(listing);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Err(error) => this.end.with(Err(error)),
        }
    }
}

fn entry(entry: Entry) -> DirectoryEntry {
    DirectoryEntry {
        type_: kind(entry.directory),
        name: entry.name,
    }
}
