//! The listeners of a slot: accept, count, hand the connection to the runtime. Connections are
//! bounded per listener, per peer and per agent; what is over waits in the kernel's backlog or,
//! for one peer, is closed.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runtime::Listener;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::dispatch::Dispatch;
use super::slot::Slot;

/// Connections of one trigger.
const PER_LISTENER: usize = 1_000;
/// Connections from one address, over all triggers. Behind a proxy or a node that rewrites
/// sources, all callers are one address; it only must not have them all.
const PER_PEER: usize = 4_000;
/// How long accepting pauses when the process is out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// Counts of connections, over all slots.
pub(super) struct Connections {
    all: Arc<Semaphore>,
    peers: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection in the counts; leaves them when dropped.
struct Counted {
    connections: Arc<Connections>,
    peer: IpAddr,
}

impl Connections {
    /// No connections yet, of at most as many as `all` has permits.
    pub(super) fn new(all: Arc<Semaphore>) -> Self {
        Self {
            all,
            peers: Mutex::new(HashMap::new()),
        }
    }

    fn count(self: &Arc<Self>, peer: IpAddr) -> Option<Counted> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.entry(peer).or_default();
        if *count >= PER_PEER {
            return None;
        }
        *count += 1;
        Some(Counted {
            connections: Arc::clone(self),
            peer,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut peers = self
            .connections
            .peers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = peers.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

/// Gives a slot these listeners, instead of those it had. Control holds the same sockets, so
/// nothing that waits in a backlog is lost.
pub(super) fn open(shared: &Shared, slot: &Arc<Slot>, sockets: Vec<(String, OwnedFd)>) {
    let stop = slot.renew_accepting(&shared.end);
    let mut listeners = BTreeMap::new();
    for (trigger, socket) in sockets {
        match Listener::new(socket) {
            Ok(listener) => {
                let own = Arc::new(Semaphore::new(PER_LISTENER));
                let bounds = [Arc::clone(&own), Arc::clone(&shared.connections.all)];
                let listener = listener.bounded(bounds);
                listeners.insert(trigger.clone(), listener.clone());
                let dispatch =
                    Dispatch::new(Arc::clone(slot), trigger.into(), shared.ledger.clone());
                let slot = Arc::clone(slot);
                let accepting = accept_all(
                    shared.clone(),
                    slot,
                    dispatch,
                    (listener, own),
                    stop.clone(),
                );
                shared.tasks.spawn(accepting);
            }
            Err(error) => tracing::error!(%error, "a listening socket cannot be used"),
        }
    }
    slot.listen_on(listeners);
}

async fn accept_all(
    shared: Shared,
    slot: Arc<Slot>,
    dispatch: Dispatch,
    (listener, own): (Listener, Arc<Semaphore>),
    stop: CancellationToken,
) {
    let mut answers = slot.answers();
    loop {
        tokio::select! {
            ready = answers.wait_for(|answers| *answers) => if ready.is_err() { return },
            () = stop.cancelled() => return,
        }
        // Permits first: a connection that cannot be served stays in the backlog. An accept
        // that loses against another has taken no connection.
        let accepted = async {
            let own = Arc::clone(&own).acquire_owned().await.ok()?;
            let all = Arc::clone(&shared.connections.all)
                .acquire_owned()
                .await
                .ok()?;
            Some((listener.accept().await, own, all))
        };
        let (accepted, own_permit, permit) = tokio::select! {
            accepted = accepted => match accepted {
                Some(accepted) => accepted,
                None => return,
            },
            // What serves now accepts by itself.
            _ = answers.wait_for(|answers| !*answers) => continue,
            () = stop.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting pauses");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(counted) = shared.connections.count(peer.ip()) else {
            continue;
        };
        let (dispatch, slot, shared) =
            (dispatch.from(peer.ip()), Arc::clone(&slot), shared.clone());
        shared.tasks.clone().spawn(async move {
            serve(&shared, &slot, stream, &dispatch).await;
            drop((own_permit, permit, counted));
        });
    }
}

async fn serve(shared: &Shared, slot: &Slot, stream: TcpStream, dispatch: &Dispatch) {
    // A response must not wait for a delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    tokio::select! {
        () = runtime::serve::connection(stream, dispatch, &shared.settings, slot.drain()) => {}
        () = shared.end.cancelled() => {}
    }
}
