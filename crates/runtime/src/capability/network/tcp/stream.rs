//! The bytes of one connection, as the streams that a guest reads and writes.

use bytes::{Buf, Bytes, BytesMut};
use rustix::net::{Shutdown, shutdown};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::sockets::tcp::ShutdownType;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};

/// Bytes that are read or written at once: what the host holds of a connection at most.
const CHUNK: usize = 64 << 10;
/// How long what a guest has written and let go may take to be read by the other end.
const LINGER: Duration = Duration::from_secs(30);

/// A connection. It ends when the guest has dropped the socket and both streams.
pub(super) struct Connection {
    pub(super) stream: Arc<TcpStream>,
    /// Its ends, as the guest is told.
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    is_read_out: AtomicBool,
    writing: Mutex<Writing>,
    /// The places that it takes, among the component's sockets or the connections of its port.
    _held: Box<dyn Send + Sync>,
}

/// What becomes of the bytes that were written.
enum Writing {
    /// They are all with the system.
    Done,
    /// Some wait until the other end has read.
    Waiting {
        task: AbortOnDropJoinHandle<io::Result<()>>,
        /// Whether nothing follows them.
        is_last: bool,
    },
    Failed(io::Error),
    Closed,
}

struct Reader(Arc<Connection>);

struct Writer(Arc<Connection>);

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        (local, remote): (SocketAddr, SocketAddr),
        held: Box<dyn Send + Sync>,
    ) -> Arc<Connection> {
        Arc::new(Connection {
            stream: Arc::new(stream),
            local,
            remote,
            is_read_out: AtomicBool::new(false),
            writing: Mutex::new(Writing::Done),
            _held: held,
        })
    }

    /// What reads it and what writes it: each once.
    pub(super) fn streams(self: &Arc<Self>) -> (DynInputStream, DynOutputStream) {
        (
            Box::new(Reader(Arc::clone(self))),
            Box::new(Writer(Arc::clone(self))),
        )
    }

    pub(super) fn shut_down(&self, how: ShutdownType) {
        if matches!(how, ShutdownType::Receive | ShutdownType::Both) {
            self.read_out();
        }
        if matches!(how, ShutdownType::Send | ShutdownType::Both) {
            self.write_last();
        }
    }

    fn read_out(&self) {
        if !self.is_read_out.swap(true, Ordering::Relaxed) {
            // It fails when the other end is gone.
            let _ = shutdown(&self.stream, Shutdown::Read);
        }
    }

    /// Nothing is written any more behind what waits.
    fn write_last(&self) {
        let mut writing = self.writing();
        *writing = match std::mem::replace(&mut *writing, Writing::Closed) {
            Writing::Done => {
                // It fails when the other end is gone.
                let _ = shutdown(&self.stream, Shutdown::Write);
                Writing::Closed
            }
            Writing::Waiting {
                task,
                is_last: false,
            } => {
                let stream = Arc::clone(&self.stream);
                let last = async move {
                    task.await?;
                    shutdown(&stream, Shutdown::Write)?;
                    Ok(())
                };
                Writing::Waiting {
                    task: spawn(last),
                    is_last: true,
                }
            }
            other => other,
        };
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether more can be written, or is known to be in vain.
    fn poll_written(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut writing = self.writing();
        if let Writing::Waiting { task, is_last } = &mut *writing {
            let Poll::Ready(written) = Pin::new(task).poll(context) else {
                return Poll::Pending;
            };
            *writing = match written {
                Ok(()) if *is_last => Writing::Closed,
                Ok(()) => Writing::Done,
                Err(error) => Writing::Failed(error),
            };
        }
        match &*writing {
            // What is wrong with it, the next write says.
            Writing::Done => self.stream.poll_write_ready(context).map(drop),
            _ => Poll::Ready(()),
        }
    }
}

#[async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {
        if !self.0.is_read_out.load(Ordering::Relaxed) {
            // What is wrong with it, reading says.
            let _ = self.0.stream.readable().await;
        }
    }
}

#[async_trait]
impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let connection = &self.0;
        if connection.is_read_out.load(Ordering::Relaxed) {
            return Err(StreamError::Closed);
        }
        if size == 0 {
            return Ok(Bytes::new());
        }
        let mut buffer = BytesMut::zeroed(size.min(CHUNK));
        match connection.stream.try_read(&mut buffer) {
            Ok(0) => {
                connection.read_out();
                Err(StreamError::Closed)
            }
            Ok(read) => {
                buffer.truncate(read);
                Ok(buffer.freeze())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Bytes::new()),
            Err(error) => {
                connection.read_out();
                Err(StreamError::LastOperationFailed(error.into()))
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.read_out();
    }
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        poll_fn(|context| self.0.poll_written(context)).await;
    }
}

#[async_trait]
impl OutputStream for Writer {
    fn check_write(&mut self) -> StreamResult<usize> {
        let mut now = Context::from_waker(Waker::noop());
        let is_ready = self.0.poll_written(&mut now).is_ready();
        self.flush()?;
        Ok(if is_ready { CHUNK } else { 0 })
    }

    fn write(&mut self, mut bytes: Bytes) -> StreamResult<()> {
        self.flush()?;
        let connection = &self.0;
        let mut writing = connection.writing();
        if bytes.len() > CHUNK || matches!(*writing, Writing::Waiting { .. }) {
            let message = "written without asking whether there is room";
            return Err(StreamError::Trap(wasmtime::format_err!("{message}")));
        }
        while !bytes.is_empty() {
            match connection.stream.try_write(&bytes) {
                Ok(written) => bytes.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    *writing = Writing::Waiting {
                        task: spawn(write_all(Arc::clone(&connection.stream), bytes)),
                        is_last: false,
                    };
                    break;
                }
                Err(error) => {
                    *writing = Writing::Closed;
                    return Err(failure(error));
                }
            }
        }
        Ok(())
    }

    /// All is on its way as soon as it is written; says what became of what was before.
    fn flush(&mut self) -> StreamResult<()> {
        let mut writing = self.0.writing();
        match &*writing {
            Writing::Done | Writing::Waiting { is_last: false, .. } => return Ok(()),
            Writing::Closed | Writing::Waiting { is_last: true, .. } => {
                return Err(StreamError::Closed);
            }
            Writing::Failed(_) => {}
        }
        match std::mem::replace(&mut *writing, Writing::Closed) {
            Writing::Failed(error) => Err(failure(error)),
            _ => Err(StreamError::Closed),
        }
    }
}

impl Drop for Writer {
    /// What was written gets there, if the other end takes it in time: a guest must not have to
    /// wait for one that does not.
    fn drop(&mut self) {
        self.0.write_last();
        let waiting = std::mem::replace(&mut *self.0.writing(), Writing::Closed);
        if let (Writing::Waiting { task, .. }, Ok(tokio)) = (waiting, Handle::try_current()) {
            let connection = Arc::clone(&self.0);
            tokio.spawn(async move {
                let _ = timeout(LINGER, task).await;
                drop(connection);
            });
        }
    }
}

/// Writes the rest.
async fn write_all(stream: Arc<TcpStream>, mut bytes: Bytes) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(&bytes) {
            Ok(written) => bytes.advance(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn failure(error: io::Error) -> StreamError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => StreamError::Closed,
        _ => StreamError::LastOperationFailed(error.into()),
    }
}
