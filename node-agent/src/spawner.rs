//! The spawning side: a process of its own with nothing in it, which starts executables of the
//! platform for components. [`serve`] takes the worker's orders and watches over what it
//! started; [`launch`] is what becomes of each of them before it runs.
//!
//! The worker runs hostile code, so every order is a claim of somebody hostile: an executable
//! starts only if this process was told of it, and whatever else is in an order reaches nobody
//! but the executable. Knows nothing of components, grants or Kubernetes.

mod interpreter;
pub mod launch;

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use capability::GuestPath;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::config::Program;
use crate::message::{ChildId, Envelope, FromSpawner, PROTOCOL, StartOrder, ToSpawner};
use crate::transport::Link;

/// Children of all components of a node at once, however much memory there is: each is a process
/// with limits of its own.
const CHILDREN: u64 = 64;
/// What the spawner itself and its launchers hold.
const OWN_MEMORY: u64 = 128 << 20;
/// The longest that a child runs, whoever still wants it: as long as the longest call.
const WALL_TIME: Duration = Duration::from_secs(15 * 60);
/// Signals of one child that may wait.
const SIGNALS: usize = 8;

/// What a spawner starts, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spawns {
    /// The executables. Nothing else is ever started.
    pub executables: Vec<GuestPath>,
    /// Files and directories that all of them may read.
    pub files: Vec<PathBuf>,
    /// Memory of all that runs at once, in bytes.
    pub memory: u64,
}

impl Spawns {
    /// How many children there is memory for, all of them at their limit: more would have the
    /// kernel choose whose to kill.
    fn room(&self) -> usize {
        let room = self.memory.saturating_sub(OWN_MEMORY) / launch::CHILD_MEMORY;
        usize::try_from(room.min(CHILDREN)).unwrap_or_default()
    }
}

/// Starts what the worker orders until the worker is gone. What runs then is killed: each child
/// by its handle, and should this process be killed itself, by the kernel.
pub async fn serve(link: Link<FromSpawner, ToSpawner>, launcher: Program, spawns: Spawns) {
    let Link {
        outgoing,
        mut incoming,
    } = link;
    let hello = FromSpawner::Hello { protocol: PROTOCOL };
    if outgoing.send(hello.into()).await.is_err() {
        return;
    }
    let starter = Starter {
        launcher,
        room: Arc::new(Semaphore::new(spawns.room())),
        spawns,
        outgoing,
    };
    let (end, mut ended) = mpsc::channel(SIGNALS);
    let mut children: HashMap<ChildId, mpsc::Sender<i32>> = HashMap::new();
    loop {
        tokio::select! {
            envelope = incoming.recv() => match envelope {
                Some(Envelope { message: ToSpawner::Start(order), fds }) => {
                    let id = order.id;
                    if let Some(signals) = starter.start(order, fds, &end) {
                        children.insert(id, signals);
                    }
                }
                Some(Envelope { message: ToSpawner::Signal { id, signal }, .. }) => {
                    if let Some(signals) = children.get(&id) {
                        // A child with that many signals on their way has them still to look at.
                        let _ = signals.try_send(signal);
                    }
                }
                Some(Envelope { message: ToSpawner::Drop { id }, .. }) => {
                    children.remove(&id);
                }
                None => return,
            },
            Some(id) = ended.recv() => {
                children.remove(&id);
            }
        }
    }
}

/// What every start needs.
struct Starter {
    launcher: Program,
    spawns: Spawns,
    room: Arc<Semaphore>,
    outgoing: mpsc::Sender<Envelope<FromSpawner>>,
}

impl Starter {
    /// Starts one and gives the way to signal it; giving that up kills it.
    fn start(
        &self,
        order: StartOrder,
        fds: Vec<OwnedFd>,
        end: &mpsc::Sender<ChildId>,
    ) -> Option<mpsc::Sender<i32>> {
        let id = order.id;
        let started = match Arc::clone(&self.room).try_acquire_owned() {
            Ok(place) => self.launch(order, fds).map(|child| (child, place)),
            Err(_) => Err(true),
        };
        let outgoing = self.outgoing.clone();
        let (child, place) = match started {
            Ok(started) => started,
            Err(no_room) => {
                let refusal = FromSpawner::NotStarted { id, no_room };
                tokio::spawn(async move { outgoing.send(refusal.into()).await });
                return None;
            }
        };
        let (signals, received) = mpsc::channel(SIGNALS);
        let end = end.clone();
        tokio::spawn(async move {
            let told = outgoing.send(FromSpawner::Started { id }.into()).await;
            let exit = match told {
                Ok(()) => watch(child, received, place).await,
                Err(_) => return,
            };
            let (code, signal) = exit;
            let _ = outgoing
                .send(FromSpawner::Ended { id, code, signal }.into())
                .await;
            let _ = end.send(id).await;
        });
        Some(signals)
    }

    fn launch(&self, order: StartOrder, fds: Vec<OwnedFd>) -> Result<Child, bool> {
        let StartOrder {
            id: _,
            executable,
            arguments,
            environment,
        } = order;
        let refused = |why: &dyn std::fmt::Display| {
            tracing::warn!(%executable, %why, "it is not started");
            false
        };
        if !self.spawns.executables.contains(&executable) {
            return Err(refused(&"it is not among --spawner-executable"));
        }
        let Ok([stdin, stdout, stderr]) = <[OwnedFd; 3]>::try_from(fds) else {
            return Err(refused(&"the order came without its three pipes"));
        };
        let files = self.spawns.files.iter();
        let variables = environment.iter();
        Command::new(&self.launcher.path)
            .args(&self.launcher.arguments)
            .args(["--parent".into(), std::process::id().to_string()])
            .args(files.flat_map(|file| [OsString::from("--file"), file.into()]))
            .args(
                variables
                    .flat_map(|(name, value)| ["--variable".to_owned(), format!("{name}={value}")]),
            )
            .arg("--")
            .arg(executable.as_str())
            .args(arguments)
            // The launcher is a program of ours: a variable of a guest is none of its own.
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::from(stderr))
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| refused(&error))
    }
}

/// Until the child has ended, by itself or because nobody wants it any more.
async fn watch(
    mut child: Child,
    mut signals: mpsc::Receiver<i32>,
    place: OwnedSemaphorePermit,
) -> (Option<u8>, Option<u8>) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    let pid = pid.and_then(Pid::from_raw);
    let mut wanted = true;
    let deadline = tokio::time::sleep(WALL_TIME);
    tokio::pin!(deadline);
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            signal = signals.recv(), if wanted => match (signal.map(sendable), pid) {
                (Some(Some(signal)), Some(pid)) => {
                    // It is not reaped before `wait` has said so: the number is still its own.
                    let _ = kill_process(pid, signal);
                }
                (Some(_), _) => {}
                (None, _) => {
                    wanted = false;
                    let _ = child.start_kill();
                }
            },
            () = &mut deadline, if wanted => {
                wanted = false;
                let _ = child.start_kill();
            }
        }
    };
    drop(place);
    status.map_or((None, None), exit)
}

fn exit(status: ExitStatus) -> (Option<u8>, Option<u8>) {
    let small = |number: i32| u8::try_from(number).ok();
    (
        status.code().and_then(small),
        status.signal().and_then(small),
    )
}

/// The signals that a worker can have sent. Others stop a child for ever, or are the kernel's.
fn sendable(number: i32) -> Option<Signal> {
    let signals = [
        Signal::INT,
        Signal::TERM,
        Signal::KILL,
        Signal::HUP,
        Signal::USR1,
        Signal::USR2,
    ];
    signals.into_iter().find(|signal| signal.as_raw() == number)
}
