//! The ports of a component that runs: sockets of whoever runs it, from which it accepts.
//!
//! The host listens, and goes on doing so when a run ends: connections wait in the backlog for
//! whoever accepts next, another replica or a successor. A run that is asked to end takes no
//! more of them. Knows nothing of what a guest calls; `network::tcp` asks here for it.

use super::Stop;
use rustix::net::{SocketFlags, acceptfrom_with};
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

/// A socket that listens. Clones accept from the same one.
#[derive(Debug, Clone)]
pub struct Listener {
    /// What tokio takes for a stream, it watches like any other socket, and accepts nothing of
    /// before somebody wants it; its own listener does.
    socket: Arc<TcpStream>,
    /// What a guest's connection takes a place of, besides its own replica's.
    bounds: Arc<[Arc<Semaphore>]>,
}

/// What one run may listen on. Clones are of the same run.
#[derive(Debug, Clone)]
pub struct Ports(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    listeners: BTreeMap<u16, Listener>,
    /// Connections that it may have at once.
    most: u32,
    places: Arc<Semaphore>,
    /// The ports that it does not listen on.
    silent: watch::Sender<BTreeSet<u16>>,
}

/// That a run listens on one of its ports, until it is dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    port: u16,
    listener: Listener,
    ports: Ports,
    stop: Stop,
}

/// A connection that was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) places: Vec<OwnedSemaphorePermit>,
}

impl Listener {
    /// Takes a socket that listens.
    ///
    /// # Errors
    /// When the system can not watch it.
    pub fn new(socket: OwnedFd) -> io::Result<Listener> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Listener {
            socket: Arc::new(TcpStream::from_std(socket.into())?),
            bounds: Arc::from([]),
        })
    }

    /// The same socket for a guest: each of its connections takes a place of every one of
    /// these, and none is accepted without.
    #[must_use]
    pub fn bounded(&self, bounds: impl IntoIterator<Item = Arc<Semaphore>>) -> Listener {
        Listener {
            socket: Arc::clone(&self.socket),
            bounds: bounds.into_iter().collect(),
        }
    }

    /// The next connection. Dropped before it is ready, it has taken none.
    ///
    /// # Errors
    /// What the system said.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            self.socket.readable().await?;
            if let Some(accepted) = self.try_accept()? {
                return Ok(accepted);
            }
        }
    }

    /// A connection that waits already, if one does.
    fn try_accept(&self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        let accepted = self
            .socket
            .try_io(Interest::READABLE, || accept(&self.socket));
        match accepted {
            Ok((stream, peer)) => Ok(Some((TcpStream::from_std(stream)?, peer))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns when a connection may be waiting: somebody else may take it.
    async fn ready(&self) {
        // What is wrong with it, accepting says.
        let _ = self.socket.readable().await;
    }
}

fn accept(socket: &TcpStream) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (stream, peer) = acceptfrom_with(socket, flags)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    // It was gone before it was looked at.
    let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((stream.into(), peer))
}

impl Default for Ports {
    fn default() -> Ports {
        Ports::new(BTreeMap::new(), 1)
    }
}

impl Ports {
    /// Those that the guest knows by these numbers, and so many connections on all of them at
    /// once: at least 1.
    #[must_use]
    pub fn new(listeners: BTreeMap<u16, Listener>, connections: u32) -> Ports {
        let most = connections.max(1);
        let silent = listeners.keys().copied().collect();
        Ports(Arc::new(Inner {
            listeners,
            most,
            places: Arc::new(Semaphore::new(most as usize)),
            silent: watch::Sender::new(silent),
        }))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.listeners.is_empty()
    }

    /// The ports that it does not listen on, as that changes.
    #[must_use]
    pub fn silent(&self) -> watch::Receiver<BTreeSet<u16>> {
        self.0.silent.subscribe()
    }

    /// Returns when it has listened on less than all of them for so long, with one that is
    /// missing.
    pub async fn silence(&self, longest: Duration) -> u16 {
        let mut silent = self.silent();
        loop {
            let is_missing = silent.wait_for(|silent| !silent.is_empty()).await.is_ok();
            let heard = silent.wait_for(BTreeSet::is_empty);
            if is_missing && timeout(longest, heard).await.is_ok() {
                continue;
            }
            let missing = self.0.silent.borrow().first().copied();
            if let Some(port) = missing {
                return port;
            }
        }
    }

    /// Returns when none of its connections is open any more. From the call on none is accepted.
    pub async fn idle(&self) {
        // Places are given in the order in which they were asked for, and this asks for all.
        // It fails only when the semaphore is closed, which nobody does.
        let _ = self.0.places.acquire_many(self.0.most).await;
    }

    /// Whether a guest may bind this port.
    pub(crate) fn has(&self, port: u16) -> bool {
        self.0.listeners.contains_key(&port)
    }

    /// Listens on one of them, unless it does already.
    pub(crate) fn listen(&self, port: u16, stop: &Stop) -> Option<Listening> {
        let listener = self.0.listeners.get(&port)?;
        let was_silent = self
            .0
            .silent
            .send_if_modified(|silent| silent.remove(&port));
        was_silent.then(|| Listening {
            port,
            listener: listener.clone(),
            ports: self.clone(),
            stop: stop.clone(),
        })
    }
}

impl Listening {
    /// The number by which the guest knows it.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A connection that waits, if one does that may be taken.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn try_accept(&self) -> io::Result<Option<Accepted>> {
        let places = self
            .places()
            .map(|places| Arc::clone(places).try_acquire_owned());
        let Ok(places) = places.collect::<Result<Vec<_>, _>>() else {
            return Ok(None);
        };
        // Behind the place: whoever has asked it to end waits for all of them.
        if self.stop.is_asked() {
            return Ok(None);
        }
        let accepted = self.listener.try_accept()?;
        Ok(accepted.map(|(stream, peer)| Accepted {
            stream,
            peer,
            places,
        }))
    }

    /// Returns when it makes sense to try.
    pub(crate) async fn ready(&self) {
        let waits = async {
            for places in self.places() {
                // Taken again when it is accepted; it is never closed.
                drop(places.acquire().await);
            }
            self.listener.ready().await;
        };
        tokio::select! {
            biased;
            () = self.stop.asked() => pending().await,
            () = waits => {}
        }
    }

    fn places(&self) -> impl Iterator<Item = &Arc<Semaphore>> {
        let Inner { places, .. } = &*self.ports.0;
        std::iter::once(places).chain(self.listener.bounds.iter())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let Listening { port, ports, .. } = self;
        ports
            .0
            .silent
            .send_if_modified(|silent| silent.insert(*port));
    }
}
