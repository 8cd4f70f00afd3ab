//! The worker's way to the spawner: orders of the runtime become messages, and what comes back
//! becomes answers. Control hands over a connection whenever a spawner has come; without one
//! orders wait, and what was started by the one before is lost.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;

use runtime::{Exit, NotStarted, ProcessOrder, Signal};
use rustix::process::Signal as SystemSignal;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use crate::message::{ChildId, Envelope, FromSpawner, PROTOCOL, StartOrder, ToSpawner};
use crate::transport::{Link, socket};

/// Connections that may wait: there is one spawner.
pub(super) const CONNECTIONS: usize = 1;

/// One spawner, and what is known of what it started.
struct Conversation {
    link: Link<ToSpawner, FromSpawner>,
    children: HashMap<ChildId, Known>,
}

/// Whom to tell of a child.
struct Known {
    started: Option<oneshot::Sender<Result<(), NotStarted>>>,
    ended: oneshot::Sender<Exit>,
}

/// Carries orders out until the runtime has no more, over the connection that came last.
pub(super) async fn forward(
    mut orders: mpsc::Receiver<ProcessOrder>,
    mut connections: mpsc::Receiver<OwnedFd>,
) {
    let mut conversation: Option<Conversation> = None;
    let mut last = 0;
    loop {
        tokio::select! {
            // While there is no spawner they wait, as long as the runtime lets them.
            order = orders.recv(), if conversation.is_some() => {
                let Some(order) = order else { return };
                last += 1;
                // Who has given up meanwhile wants nothing started.
                if let Some(conversation) = &mut conversation
                    && !order.started.is_closed()
                {
                    conversation.start(ChildId(last), order).await;
                }
            }
            Some(connection) = connections.recv() => {
                // Whoever waits for a child of the one before hears that it is lost.
                conversation = Conversation::begin(connection);
            }
            message = heard(&mut conversation) => match (message, &mut conversation) {
                (Some(message), Some(conversation)) => conversation.hear(message),
                _ => conversation = None,
            },
        }
    }
}

/// Waits for ever while there is no spawner.
async fn heard(conversation: &mut Option<Conversation>) -> Option<FromSpawner> {
    match conversation {
        Some(conversation) => Some(conversation.link.incoming.recv().await?.message),
        None => std::future::pending().await,
    }
}

impl Conversation {
    fn begin(connection: OwnedFd) -> Option<Self> {
        let stream = StdStream::from(connection);
        let stream = stream
            .set_nonblocking(true)
            .and_then(|()| UnixStream::from_std(stream));
        let stream = stream
            .inspect_err(|error| tracing::error!(%error, "the spawner cannot be spoken to"))
            .ok()?;
        let (link, pump) = socket::link(stream);
        tokio::spawn(async move {
            if let Err(error) = pump.await {
                tracing::error!(%error, "the spawner is lost");
            }
        });
        Some(Self {
            link,
            children: HashMap::new(),
        })
    }

    async fn start(&mut self, id: ChildId, order: ProcessOrder) {
        let ProcessOrder {
            executable,
            arguments,
            environment,
            stdin,
            stdout,
            stderr,
            started,
            mut signals,
            ended,
        } = order;
        let start = StartOrder {
            id,
            executable,
            arguments,
            environment,
        };
        let envelope = Envelope {
            message: ToSpawner::Start(start),
            fds: vec![stdin, stdout, stderr],
        };
        if self.link.outgoing.send(envelope).await.is_err() {
            let _ = started.send(Err(NotStarted::Failed));
            return;
        }
        let known = Known {
            started: Some(started),
            ended,
        };
        self.children.insert(id, known);
        let outgoing = self.link.outgoing.clone();
        tokio::spawn(async move {
            while let Some(signal) = signals.recv().await {
                let signal = number(signal);
                let message = ToSpawner::Signal { id, signal };
                if outgoing.send(message.into()).await.is_err() {
                    return;
                }
            }
            let _ = outgoing.send(ToSpawner::Drop { id }.into()).await;
        });
    }

    fn hear(&mut self, message: FromSpawner) {
        match message {
            FromSpawner::Hello { protocol } => {
                if protocol != PROTOCOL {
                    tracing::error!(protocol, "the spawner is of another version of the agent");
                }
            }
            FromSpawner::Started { id } => {
                let known = self.children.get_mut(&id);
                if let Some(started) = known.and_then(|known| known.started.take()) {
                    let _ = started.send(Ok(()));
                }
            }
            FromSpawner::NotStarted { id, no_room } => {
                let known = self.children.remove(&id);
                if let Some(started) = known.and_then(|known| known.started) {
                    let why = match no_room {
                        true => NotStarted::NoRoom,
                        false => NotStarted::Failed,
                    };
                    let _ = started.send(Err(why));
                }
            }
            FromSpawner::Ended { id, code, signal } => {
                if let Some(known) = self.children.remove(&id) {
                    let exit = match (code, signal) {
                        (Some(code), _) => Exit::Exited(code),
                        (None, Some(signal)) => Exit::Signalled(signal),
                        (None, None) => Exit::Lost,
                    };
                    let _ = known.ended.send(exit);
                }
            }
        }
    }
}

fn number(signal: Signal) -> i32 {
    match signal {
        Signal::Interrupt => SystemSignal::INT,
        Signal::Terminate => SystemSignal::TERM,
        Signal::Kill => SystemSignal::KILL,
        Signal::HangUp => SystemSignal::HUP,
        Signal::User1 => SystemSignal::USR1,
        Signal::User2 => SystemSignal::USR2,
    }
    .as_raw()
}
