//! A child as a guest holds it: its outputs, its end, and the way to signal it.
//!
//! Dropping it drops the sender of its signals, by which whoever started it knows to kill it:
//! so no child outlives its store. Nothing it writes is kept here: it stays in the pipe until
//! the guest reads it, and the child waits.

use super::order::{Exit, Ordered, Signal};
use crate::capability::network::Place;
use bytes::Bytes;
use capability::GuestPath;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use wasmtime_wasi::p2::{InputStream, Pollable, StreamError, StreamResult};

/// The most of one piece that is read for a guest.
const READ_MAX: usize = 64 * 1024;
/// The most that a guest reads of one output of a child, so that a flood ends.
pub(super) const OUTPUT_MAX: u64 = 64 * 1024 * 1024;

/// What was started.
#[allow(unreachable_pub, reason = "the bindings name it again, as public")]
pub struct Child {
    executable: GuestPath,
    stdout: Option<Output>,
    stderr: Option<Output>,
    signals: mpsc::Sender<Signal>,
    end: End,
    _place: Place,
}

enum End {
    Awaited(oneshot::Receiver<Exit>),
    Known(Exit),
}

/// One output of a child.
pub(super) struct Output {
    /// None once it has ended.
    pipe: Option<pipe::Receiver>,
    left: u64,
}

impl Child {
    pub(super) fn new(
        executable: GuestPath,
        ordered: Ordered,
        stdout: Output,
        stderr: Output,
        place: Place,
    ) -> Child {
        Child {
            executable,
            stdout: Some(stdout),
            stderr: Some(stderr),
            signals: ordered.signals,
            end: End::Awaited(ordered.ended),
            _place: place,
        }
    }

    pub(super) fn executable(&self) -> &GuestPath {
        &self.executable
    }

    pub(super) fn stdout(&mut self) -> Option<Output> {
        self.stdout.take()
    }

    pub(super) fn stderr(&mut self) -> Option<Output> {
        self.stderr.take()
    }

    /// How it ended, if it has.
    pub(super) fn try_wait(&mut self) -> Option<Exit> {
        if let End::Awaited(ended) = &mut self.end {
            let exit = match ended.try_recv() {
                Ok(exit) => exit,
                Err(oneshot::error::TryRecvError::Empty) => return None,
                Err(oneshot::error::TryRecvError::Closed) => Exit::Lost,
            };
            self.end = End::Known(exit);
        }
        match self.end {
            End::Awaited(_) => None,
            End::Known(exit) => Some(exit),
        }
    }

    pub(super) async fn wait(&mut self) -> Exit {
        match &mut self.end {
            End::Known(exit) => *exit,
            End::Awaited(ended) => {
                let exit = ended.await.unwrap_or(Exit::Lost);
                self.end = End::Known(exit);
                exit
            }
        }
    }

    /// Whether the signal is on its way.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        self.signals.try_send(signal).is_ok()
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Child {
    async fn ready(&mut self) {
        self.wait().await;
    }
}

impl Output {
    /// The reading end of a pipe.
    pub(super) fn new(reader: OwnedFd) -> std::io::Result<Output> {
        Ok(Output {
            pipe: Some(pipe::Receiver::from_owned_fd(reader)?),
            left: OUTPUT_MAX,
        })
    }
}

#[wasmtime_wasi::async_trait]
impl InputStream for Output {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let Some(pipe) = &self.pipe else {
            return Err(StreamError::Closed);
        };
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        if left == 0 {
            // The child gets SIGPIPE at its next write.
            self.pipe = None;
            let error = wasmtime::format_err!("the child has written more than {OUTPUT_MAX} bytes");
            return Err(StreamError::LastOperationFailed(error));
        }
        let size = size.min(READ_MAX).min(left);
        if size == 0 {
            return Ok(Bytes::new());
        }
        let mut piece = vec![0; size];
        match pipe.try_read(&mut piece) {
            Ok(0) => {
                self.pipe = None;
                Err(StreamError::Closed)
            }
            Ok(count) => {
                self.left = self.left.saturating_sub(count as u64);
                piece.truncate(count);
                Ok(piece.into())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Bytes::new()),
            Err(error) => {
                self.pipe = None;
                Err(StreamError::LastOperationFailed(error.into()))
            }
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        if let Some(pipe) = &self.pipe {
            // What went wrong the next read finds again, and says.
            let _ = pipe.readable().await;
        }
    }
}
