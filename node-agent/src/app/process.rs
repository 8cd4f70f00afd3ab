//! Worker, compiler and spawner as processes of their own, which come to control over its sockets.
//! Called by the binary.

use std::path::Path;

use runtime::Output;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::{Error, io};
use crate::config::Program;
use crate::control::worker_link;
use crate::message::{CompileOrder, Compiled, Envelope, ToWorker};
use crate::sandbox::VolumesAbove;
use crate::spawner::{self, Spawns};
use crate::transport::Link;
use crate::transport::socket::{self, TransportError};
use crate::{compiler, sandbox, worker};

/// A worker whose control has come, and said what it has to know before it is confined.
#[derive(Debug)]
pub struct Greeted {
    welcome: Envelope<ToWorker>,
    stream: std::os::unix::net::UnixStream,
}

impl Greeted {
    /// The directories above volumes, which are of no use once the worker is confined.
    pub fn take_volumes(&mut self) -> Vec<VolumesAbove> {
        let ToWorker::Welcome { volumes, .. } = &mut self.welcome.message else {
            return Vec::new();
        };
        let volumes = std::mem::take(volumes);
        let fds = &mut self.welcome.fds;
        let directories = fds.drain(..volumes.len().min(fds.len()));
        let above = directories.zip(volumes);
        above
            .map(|(directory, write)| VolumesAbove { directory, write })
            .collect()
    }
}

/// The first half of the worker as a process of its own: waits for control, on this thread only.
/// Nothing when it is to `leave` before.
///
/// # Errors
/// When control says something that is not a message.
pub async fn wait_for_control(
    run_dir: &Path,
    leave: CancellationToken,
) -> Result<Option<Greeted>, Error> {
    let path = worker_link::worker_socket(run_dir);
    let greeted = async {
        loop {
            let stream = reach(&path).await;
            // A control that is gone again before its first word is waited for like any other.
            if let Some((welcome, stream)) = socket::first(stream).await? {
                let stream = stream
                    .into_std()
                    .map_err(io("cannot use the socket", &path))?;
                return Ok(Greeted { welcome, stream });
            }
        }
    };
    leave.run_until_cancelled(greeted).await.transpose()
}

/// The second half: serves until control is gone, and then ends, to be started again. The next
/// control may have other volumes, and what a process gave up it never gets back.
///
/// # Errors
/// When the runtime cannot be made.
pub async fn run_worker(greeted: Greeted, output: Output) -> Result<(), Error> {
    let Greeted { welcome, stream } = greeted;
    let stream = UnixStream::from_std(stream).map_err(|source| Error::Io {
        doing: "cannot use the socket of control".to_owned(),
        source,
    })?;
    let (link, pump) = socket::link(stream);
    tokio::spawn(pumped(pump));
    Ok(worker::serve_welcomed(output, welcome, link).await?)
}

/// The compiler as a process of its own: connects to control, and starts a child per compile.
/// Ends as the worker does.
pub async fn run_compiler(run_dir: &Path, program: Program, once: bool, leave: CancellationToken) {
    let path = worker_link::compiler_socket(run_dir);
    while let Some(link) = leave.run_until_cancelled(connect(&path)).await {
        let link: Link<Compiled, CompileOrder> = link;
        compiler::serve(link, program.clone()).await;
        if once {
            break;
        }
    }
}

/// The spawner as a process of its own: connects to control, gives up what it does not need, and
/// starts what the worker orders. Ends with the worker, to be started again: the connection was
/// the only one that it could ever have.
///
/// # Errors
/// When it cannot be confined.
pub async fn run_spawner(
    run_dir: &Path,
    launcher: Program,
    spawns: Spawns,
    leave: CancellationToken,
) -> Result<(), Error> {
    let path = worker_link::spawner_socket(run_dir);
    let Some(stream) = leave.run_until_cancelled(reach(&path)).await else {
        return Ok(());
    };
    // Before any thread exists, so that none is left out.
    let enforced = sandbox::confine_spawner()?;
    if enforced == confine::Enforced::Not {
        tracing::error!("this kernel has no Landlock: the spawner starts nothing");
    }
    let (link, pump) = socket::link(stream);
    tokio::spawn(pumped(pump));
    spawner::serve(link, launcher, spawns).await;
    Ok(())
}

/// Connects to control, which may not be up yet.
async fn connect<Out, In>(path: &Path) -> Link<Out, In>
where
    Out: serde::Serialize + Send + Sync + 'static,
    In: serde::de::DeserializeOwned + Send + 'static,
{
    let (link, pump) = socket::link(reach(path).await);
    tokio::spawn(pumped(pump));
    link
}

/// A connection to control, however long it takes.
async fn reach(path: &Path) -> UnixStream {
    /// Short, because a worker that starts again has connections waiting for it.
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return stream,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn pumped(pump: impl Future<Output = Result<(), TransportError>>) {
    if let Err(error) = pump.await {
        tracing::error!(%error, "control is lost");
    }
}
