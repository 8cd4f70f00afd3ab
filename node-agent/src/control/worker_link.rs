//! Where worker, compiler and spawner come to control: a unix socket each, in the memory-backed
//! directory. One conversation at a time per socket; the next process waits until the one
//! before is gone. Knows nothing of what is said.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::cache::make_directory;
use crate::transport::{Link, socket};

/// Permission of everybody to reach what is in a directory.
const SEARCH: u32 = 0o111;

/// The socket of the worker, below the run directory.
pub fn worker_socket(run_dir: &Path) -> PathBuf {
    run_dir.join("worker").join("control.sock")
}

/// The socket of the compiler. In a directory of its own, so that a container can be given one
/// without the other.
pub fn compiler_socket(run_dir: &Path) -> PathBuf {
    run_dir.join("compiler").join("control.sock")
}

/// The socket of the spawner, likewise.
pub fn spawner_socket(run_dir: &Path) -> PathBuf {
    run_dir.join("spawner").join("control.sock")
}

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Processes of this user: children.
    Own,
    /// Processes of another user: a container of the pod.
    User(u32),
    /// Whoever sees the directory: containers of the pod, under users that nobody told us.
    Pod,
}

/// Listens at `path`.
pub fn bind(path: &Path, peers: Peers) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        make_directory(directory)?;
        // A volume of the pod is open to its containers already, and root's.
        let closed = std::fs::metadata(directory)?.permissions().mode() & SEARCH != SEARCH;
        if peers != Peers::Own && closed {
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))?;
        }
    }
    // Left by a control that was killed.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    let mode = match peers {
        Peers::Own => 0o600,
        Peers::User(_) | Peers::Pod => 0o666,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// A listener that fails (out of descriptors) is tried again after this, and whoever is sent
/// away can come again.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts one process after the other and hands over its link, until nobody takes links.
pub async fn accept<Out, In>(
    listener: UnixListener,
    peers: Peers,
    links: mpsc::Sender<Link<Out, In>>,
) where
    Out: Serialize + Send + Sync + 'static,
    In: DeserializeOwned + Send + 'static,
{
    while let Some(stream) = next(&listener, peers, &links).await {
        let (link, pump) = socket::link(stream);
        if links.send(link).await.is_err() {
            return;
        }
        if let Err(error) = pump.await {
            tracing::warn!(%error, "a process of this agent is gone");
        }
    }
}

/// Accepts one spawner after the other and hands its connection over as it is: who speaks with
/// it is the worker, until nobody takes connections.
pub async fn accept_spawners(
    listener: UnixListener,
    peers: Peers,
    connections: mpsc::Sender<OwnedFd>,
) {
    while let Some(stream) = next(&listener, peers, &connections).await {
        let connection = match stream.into_std() {
            Ok(stream) => stream.into(),
            Err(error) => {
                tracing::warn!(%error, "a spawner could not be accepted");
                continue;
            }
        };
        if connections.send(connection).await.is_err() {
            return;
        }
    }
}

/// The next process that may come; `None` once nobody takes what is accepted.
async fn next<T>(
    listener: &UnixListener,
    peers: Peers,
    taken: &mpsc::Sender<T>,
) -> Option<UnixStream> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = taken.closed() => return None,
        };
        match accepted.and_then(|(stream, _)| peers.admit(stream)) {
            Ok(stream) => return Some(stream),
            Err(error) => {
                tracing::warn!(%error, "a process of this agent could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Peers {
    /// The stream, unless somebody else is at its other end. A compiler that was taken over must
    /// not come as the worker, which is handed the values of Secrets.
    fn admit(self, stream: UnixStream) -> io::Result<UnixStream> {
        let expected = match self {
            Self::Own => rustix::process::geteuid().as_raw(),
            Self::User(user) => user,
            Self::Pod => return Ok(stream),
        };
        let came = stream.peer_cred()?.uid();
        if came == expected {
            return Ok(stream);
        }
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("it runs as user {came} instead of {expected}"),
        ))
    }
}
