//! How a component's wish to start something reaches whoever can: a bounded channel of orders,
//! each with the ends of what will be said about it.
//!
//! Nothing here starts anything, and nothing here judges: that was done before an order is
//! made. Whoever embeds the runtime takes the orders and answers them; giving the order's
//! signals up is how the runtime says that nobody wants the child any more.

use capability::GuestPath;
use std::os::fd::OwnedFd;
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait. A spawner that does not keep up lets guests wait for nothing.
const WAITING: usize = 64;
/// Signals of one child that may wait.
const SIGNALS: usize = 8;

/// Where orders go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Spawner(mpsc::Sender<ProcessOrder>);

/// One executable to start.
#[derive(Debug)]
pub struct ProcessOrder {
    /// Its path, which is its first argument too.
    pub executable: GuestPath,
    /// The arguments behind the first.
    pub arguments: Vec<String>,
    /// All of its variables.
    pub environment: Vec<(String, String)>,
    /// A pipe with all that it may read.
    pub stdin: OwnedFd,
    /// A pipe to the guest.
    pub stdout: OwnedFd,
    /// A pipe to the guest.
    pub stderr: OwnedFd,
    /// Whether it was started.
    pub started: oneshot::Sender<Result<(), NotStarted>>,
    /// What it is to be sent. When there will be no more, it has to be killed.
    pub signals: mpsc::Receiver<Signal>,
    /// How it ended.
    pub ended: oneshot::Sender<Exit>,
}

/// What the runtime keeps of an order.
#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) started: oneshot::Receiver<Result<(), NotStarted>>,
    pub(super) signals: mpsc::Sender<Signal>,
    pub(super) ended: oneshot::Receiver<Exit>,
}

/// What an order is about.
pub(super) struct Wish {
    pub(super) executable: GuestPath,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// Why something was not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStarted {
    /// As much as this node starts at once is running.
    NoRoom,
    /// It is not among what this node starts, or could not be started.
    Failed,
}

/// What a child can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
    /// SIGHUP.
    HangUp,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Exited(u8),
    /// By this signal.
    Signalled(u8),
    /// What started it is gone, and it with it.
    Lost,
}

impl Spawner {
    /// A way for orders, and its other end.
    #[must_use]
    pub fn channel() -> (Spawner, mpsc::Receiver<ProcessOrder>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Spawner(sender), receiver)
    }

    /// Hands an order over, if whoever takes them keeps up.
    pub(super) fn order(&self, wish: Wish) -> Option<Ordered> {
        let Wish {
            executable,
            arguments,
            environment,
            stdin,
            stdout,
            stderr,
        } = wish;
        let (start, started) = oneshot::channel();
        let (signal, signals) = mpsc::channel(SIGNALS);
        let (end, ended) = oneshot::channel();
        let order = ProcessOrder {
            executable,
            arguments,
            environment,
            stdin,
            stdout,
            stderr,
            started: start,
            signals,
            ended: end,
        };
        self.0.try_send(order).ok()?;
        Some(Ordered {
            started,
            signals: signal,
            ended,
        })
    }
}

impl Signal {
    /// Its name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "INT",
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
            Self::HangUp => "HUP",
            Self::User1 => "USR1",
            Self::User2 => "USR2",
        }
    }
}
