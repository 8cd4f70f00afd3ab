//! Work that waits for a disk: never on the executor, and only so much at once.
//!
//! A component that could take all blocking threads of the process would stop everybody's
//! files. What waits for its turn waits in a task, not on a thread.

use rustix::io::{Errno, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};

/// Operations of one component that may wait for a disk at the same time.
const AT_ONCE: usize = 8;

/// The turns of one component.
#[derive(Debug, Clone)]
pub(super) struct Blocking(Arc<Semaphore>);

/// Work that has been handed over. Dropped before it began, it never does.
#[derive(Debug)]
pub(super) struct Job<T> {
    state: State<T>,
    detached: bool,
}

#[derive(Debug)]
enum State<T> {
    Done(Option<Result<T>>),
    Running(JoinHandle<Result<T>>),
}

impl Blocking {
    pub(super) fn new() -> Blocking {
        Blocking(Arc::new(Semaphore::new(AT_ONCE)))
    }

    /// Starts `work`, or does it at once where nothing can make it wait.
    pub(super) fn start<T: Send + 'static>(
        &self,
        at_once: bool,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Job<T> {
        let state = match at_once {
            true => State::Done(Some(work())),
            false => State::Running(self.hand_over(work)),
        };
        Job {
            state,
            detached: false,
        }
    }

    fn hand_over<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> JoinHandle<Result<T>> {
        let turns = Arc::clone(&self.0);
        if let Ok(turn) = Arc::clone(&turns).try_acquire_owned() {
            return spawn_blocking(move || {
                let _turn = turn;
                work()
            });
        }
        tokio::spawn(async move {
            // The semaphore is never closed.
            let turn = turns.acquire_owned().await.map_err(|_| Errno::IO)?;
            let work = spawn_blocking(move || {
                let _turn = turn;
                work()
            });
            work.await.unwrap_or(Err(Errno::IO))
        })
    }
}

impl<T> Job<T> {
    /// Lets it go on to its end.
    pub(super) fn detach(mut self) {
        self.detached = true;
    }
}

impl<T> Future for Job<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        Poll::Ready(match &mut self.state {
            // Nobody polls it again after its end.
            State::Done(result) => result.take().unwrap_or(Err(Errno::IO)),
            State::Running(task) => ready!(Pin::new(task).poll(context)).unwrap_or(Err(Errno::IO)),
        })
    }
}

impl<T> Unpin for Job<T> {}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        if let State::Running(task) = &self.state
            && !self.detached
        {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Mutex, PoisonError};

    fn wait(end: &Mutex<Receiver<()>>) {
        let _ = end.lock().unwrap_or_else(PoisonError::into_inner).recv();
    }

    #[tokio::test]
    async fn only_so_many_run_at_once_and_all_have_their_turn() {
        let blocking = Blocking::new();
        let running = Arc::new(AtomicUsize::new(0));
        let (go, end) = channel();
        let end = Arc::new(Mutex::new(end));
        let jobs: Vec<Job<()>> = (0..3 * AT_ONCE)
            .map(|_| {
                let (running, end) = (Arc::clone(&running), Arc::clone(&end));
                blocking.start(false, move || {
                    let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                    wait(&end);
                    running.fetch_sub(1, Ordering::SeqCst);
                    if now > AT_ONCE {
                        Err(Errno::BUSY)
                    } else {
                        Ok(())
                    }
                })
            })
            .collect();
        while running.load(Ordering::SeqCst) < AT_ONCE {
            tokio::task::yield_now().await;
        }
        drop(go);
        for job in jobs {
            job.await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_panics_is_an_ordinary_error() {
        let job = Blocking::new().start(false, || -> Result<()> {
            std::panic::resume_unwind(Box::new("a bug"));
        });
        assert_eq!(job.await, Err(Errno::IO));
    }
}
