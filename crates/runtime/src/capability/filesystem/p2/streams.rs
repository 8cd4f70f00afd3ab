//! Streams of wasi:io over a file. At most one piece is under way per stream.
//!
//! A piece is at most 64 KiB, which is what a stream can make the host hold.

use crate::capability::filesystem::blocking::Job;
use crate::capability::filesystem::descriptor::{OpenFile, Piece, READ_MAX};
use crate::capability::filesystem::volume::Position;
use crate::limits::HostBytes;
use bytes::Bytes;
use rustix::io::{Errno, Result};
use std::sync::Arc;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

/// What is read for a guest that waits without saying how much it wants.
const READ_AHEAD: usize = 16 * 1024;

/// Reads a file from a position on.
pub(super) struct ReadStream {
    file: Arc<OpenFile>,
    /// Where the next piece begins.
    offset: u64,
    state: Reading,
}

enum Reading {
    Idle,
    Waiting(Job<Piece>),
    Data {
        bytes: Bytes,
        /// Charged until the guest has all of it.
        _held: HostBytes,
    },
    Failed(Errno),
    Ended,
}

/// Writes a file from a position on, or to its end.
pub(super) struct WriteStream {
    file: Arc<OpenFile>,
    position: Position,
    state: Writing,
}

enum Writing {
    Idle,
    Waiting(Unwritten),
    Failed(Errno),
    Ended,
}

/// A piece that is being written: a write of the host may stop short.
struct Unwritten {
    rest: Bytes,
    job: Job<usize>,
}

impl ReadStream {
    pub(super) fn new(file: Arc<OpenFile>, offset: u64) -> ReadStream {
        ReadStream {
            file,
            offset,
            state: Reading::Idle,
        }
    }

    fn start(&mut self, size: usize) {
        self.state = match self.file.read(size, self.offset) {
            Ok(job) => Reading::Waiting(job),
            Err(error) => Reading::Failed(error),
        };
    }

    async fn wait(&mut self) {
        if let Reading::Waiting(job) = &mut self.state {
            self.state = match job.await {
                Ok(piece) if piece.bytes.is_empty() => Reading::Ended,
                Ok(Piece { bytes, held }) => {
                    self.offset = self.offset.saturating_add(bytes.len() as u64);
                    Reading::Data {
                        bytes: bytes.into(),
                        _held: held,
                    }
                }
                Err(error) => Reading::Failed(error),
            };
        }
    }
}

#[wasmtime_wasi::async_trait]
impl InputStream for ReadStream {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        match &mut self.state {
            Reading::Idle if size > 0 => {
                self.start(size);
                Ok(Bytes::new())
            }
            Reading::Idle | Reading::Waiting(_) => Ok(Bytes::new()),
            Reading::Data { bytes, .. } => {
                let piece = bytes.split_to(size.min(bytes.len()));
                if bytes.is_empty() {
                    self.state = Reading::Idle;
                }
                Ok(piece)
            }
            Reading::Failed(error) => {
                let error = failed(*error);
                self.state = Reading::Ended;
                Err(error)
            }
            Reading::Ended => Err(StreamError::Closed),
        }
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        if matches!(self.state, Reading::Idle) && size > 0 {
            self.start(size);
        }
        self.wait().await;
        self.read(size)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for ReadStream {
    async fn ready(&mut self) {
        if matches!(self.state, Reading::Idle) {
            self.start(READ_AHEAD);
        }
        self.wait().await;
    }
}

impl WriteStream {
    pub(super) fn new(file: Arc<OpenFile>, position: Position) -> WriteStream {
        WriteStream {
            file,
            position,
            state: Writing::Idle,
        }
    }

    fn start(&mut self, bytes: Bytes) {
        self.state = match begin(&self.file, bytes, self.position) {
            Ok(unwritten) => Writing::Waiting(unwritten),
            Err(error) => Writing::Failed(error),
        };
    }

    async fn wait(&mut self) {
        while let Writing::Waiting(piece) = &mut self.state {
            let written = (&mut piece.job).await;
            let rest = std::mem::take(&mut piece.rest);
            match written {
                Ok(written) => {
                    if let Position::At(offset) = &mut self.position {
                        *offset = offset.saturating_add(written as u64);
                    }
                    match rest.len().checked_sub(written) {
                        None | Some(0) => self.state = Writing::Idle,
                        Some(_) => self.start(rest.slice(written..)),
                    }
                }
                Err(error) => self.state = Writing::Failed(error),
            }
        }
    }

    /// What stands in the way of the next piece.
    fn error(&mut self) -> Option<StreamError> {
        match self.state {
            Writing::Idle | Writing::Waiting(_) => None,
            Writing::Ended => Some(StreamError::Closed),
            Writing::Failed(error) => {
                self.state = Writing::Ended;
                Some(failed(error))
            }
        }
    }
}

fn begin(file: &Arc<OpenFile>, bytes: Bytes, position: Position) -> Result<Unwritten> {
    let job = file.write(bytes.clone(), position)?;
    Ok(Unwritten { rest: bytes, job })
}

#[wasmtime_wasi::async_trait]
impl OutputStream for WriteStream {
    fn check_write(&mut self) -> StreamResult<usize> {
        match (self.error(), &self.state) {
            (Some(error), _) => Err(error),
            (None, Writing::Waiting(_)) => Ok(0),
            (None, _) => Ok(READ_MAX),
        }
    }

    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if let Some(error) = self.error() {
            return Err(error);
        }
        if matches!(self.state, Writing::Waiting(_)) || bytes.len() > READ_MAX {
            return Err(StreamError::trap(
                "more was written than check-write allows",
            ));
        }
        if !bytes.is_empty() {
            self.start(bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.error().map_or(Ok(()), Err)
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.wait().await;
        self.write(bytes)?;
        self.wait().await;
        self.flush()
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for WriteStream {
    async fn ready(&mut self) {
        self.wait().await;
    }
}

/// An error that `filesystem-error-code` can name.
fn failed(error: Errno) -> StreamError {
    StreamError::LastOperationFailed(error.into())
}
