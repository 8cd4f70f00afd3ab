//! A connection's bytes, and the clocks on them: slow heads, idle callers, stalled readers.
//!
//! One timer per connection, set when the connection waits and looked at when it fires, is
//! cheaper than hyper's own, one per request. Knows of HTTP only when a request begins and
//! when its answer has been sent.

use super::Settings;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// What happens on a connection. Times are milliseconds since `origin`, 0 is never.
#[derive(Debug)]
pub(crate) struct Activity {
    origin: Instant,
    head: Duration,
    keep_alive: Duration,
    stalled: Duration,
    /// Requests that are being answered.
    busy: AtomicU32,
    /// When the last request began or ended.
    turned: AtomicU64,
    /// When the first byte of the next head came.
    head_began: AtomicU64,
}

/// A request that is being answered, until its body has been sent or dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Activity>);

/// A connection with its first bytes put back.
pub(super) struct Watched<I> {
    io: I,
    start: Vec<u8>,
    start_read: usize,
    activity: Arc<Activity>,
    reading: Alarm,
    writing: Alarm,
    /// When the caller stopped taking bytes.
    write_stopped: Option<Instant>,
}

/// A timer that is armed late and rarely.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Activity {
    pub(super) fn new(settings: &Settings) -> Activity {
        Activity {
            origin: Instant::now(),
            head: settings.head,
            keep_alive: settings.keep_alive,
            stalled: settings.stalled,
            busy: AtomicU32::new(0),
            turned: AtomicU64::new(0),
            head_began: AtomicU64::new(0),
        }
    }

    pub(super) fn begin(self: &Arc<Activity>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.head_began.store(0, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    fn received(&self) {
        if self.busy.load(Ordering::Relaxed) == 0 && self.head_began.load(Ordering::Relaxed) == 0 {
            self.head_began.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Until when the caller has to send something. While it is our turn there is no such
    /// time, but the alarm has to go on: hyper need not read again when our turn is over.
    fn read_deadline(&self) -> Instant {
        if self.busy.load(Ordering::Relaxed) > 0 {
            return Instant::now() + self.keep_alive;
        }
        let since = |millis: u64| self.origin + Duration::from_millis(millis);
        match self.head_began.load(Ordering::Relaxed) {
            0 => since(self.turned.load(Ordering::Relaxed)) + self.keep_alive,
            began => since(began) + self.head,
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.turned.store(self.0.now(), Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Alarm {
    /// Whether `deadline` has passed. If not, the task is woken at it or earlier.
    fn is_due(&mut self, deadline: Instant, context: &mut Context<'_>) -> bool {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        if sleep.deadline() > deadline.into() {
            sleep.as_mut().reset(deadline.into());
        }
        while sleep.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            // It was set for an earlier wait.
            sleep.as_mut().reset(deadline.into());
        }
        false
    }
}

impl<I> Watched<I> {
    pub(super) fn new(io: I, start: Vec<u8>, activity: Arc<Activity>) -> Watched<I> {
        activity.received();
        Watched {
            io,
            start,
            start_read: 0,
            activity,
            reading: Alarm::default(),
            writing: Alarm::default(),
            write_stopped: None,
        }
    }

    /// Bytes moved to the caller, or have to within a while.
    fn wrote<T>(
        &mut self,
        poll: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.write_stopped = None;
            return poll;
        }
        let stopped = *self.write_stopped.get_or_insert_with(Instant::now);
        if self
            .writing
            .is_due(stopped + self.activity.stalled, context)
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(rest) = this
            .start
            .get(this.start_read..)
            .filter(|rest| !rest.is_empty())
        {
            let size = rest.len().min(buffer.remaining());
            buffer.put_slice(rest.get(..size).unwrap_or_default());
            this.start_read += size;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.io).poll_read(context, buffer) {
            Poll::Ready(result) => {
                if buffer.filled().len() > before {
                    this.activity.received();
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                if this.reading.is_due(this.activity.read_deadline(), context) {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending
            }
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(context, bytes);
        self.wrote(poll, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.wrote(poll, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_flush(context);
        self.wrote(poll, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.io).poll_shutdown(context));
        Poll::Ready(result)
    }
}
