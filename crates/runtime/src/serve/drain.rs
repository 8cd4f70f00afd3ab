//! Ends a set of connections gently: first no new requests, then, in time, no connections.
//!
//! The embedder has one per listener and says when; every connection listens to it.

use std::sync::Arc;
use tokio::sync::watch;

/// Ends connections gently. Clones speak for the same set of connections.
#[derive(Debug, Clone)]
pub struct Drain {
    phase: Arc<watch::Sender<Phase>>,
    open: Arc<watch::Sender<usize>>,
}

/// How far a drain has come. It never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    Draining,
    Cut,
}

/// One connection of the set.
#[derive(Debug)]
pub(super) struct Entered {
    phase: watch::Receiver<Phase>,
    open: Arc<watch::Sender<usize>>,
}

impl Default for Drain {
    fn default() -> Self {
        Drain {
            phase: Arc::new(watch::Sender::new(Phase::Serving)),
            open: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl Drain {
    /// A drain that has not started.
    #[must_use]
    pub fn new() -> Drain {
        Drain::default()
    }

    /// From now on answers say `Connection: close` (HTTP/1) or GOAWAY (HTTP/2), and idle
    /// connections are closed. New HTTP/1 connections are still served, one request each.
    pub fn start(&self) {
        self.advance(Phase::Draining);
    }

    /// Drops what is still open. Its calls are counted as cancelled.
    pub fn cut(&self) {
        self.advance(Phase::Cut);
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        *self.open.borrow()
    }

    /// Waits until no connection is open.
    pub async fn finished(&self) {
        // It fails only when the sender is gone, and that is ours.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let further = phase > *current;
            *current = phase.max(*current);
            further
        });
    }

    pub(super) fn enter(&self) -> Entered {
        self.open.send_modify(|open| *open += 1);
        Entered {
            phase: self.phase.subscribe(),
            open: Arc::clone(&self.open),
        }
    }
}

impl Entered {
    pub(super) fn has_started(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    /// Returns when the drain has come as far as `phase`, or has been dropped at that.
    pub(super) async fn reaches(&mut self, phase: Phase) {
        if self
            .phase
            .wait_for(|current| *current >= phase)
            .await
            .is_err()
        {
            // Nobody can drain any more, so serve on.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.open.send_modify(|open| *open -= 1);
    }
}
