//! What control, worker, compiler and spawner say to each other. The same messages cross a unix
//! socket (with descriptors beside them) or an in-process channel; this file knows neither.
//! A message from the worker is a claim of a process that runs hostile code: control uses
//! its numbers only to look up what control itself started.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use capability::{Effective, GuestPath, HostName, Limits, PathGlob, Rule, Values};
use crds::Reason;
use crds::component::AuditLevel;
use serde::{Deserialize, Serialize};

use crate::network::Network;

/// The version of these messages. Both ends are one binary, so another version is refused.
pub const PROTOCOL: u32 = 7;

/// A slot of the worker. Control gives the numbers, and never one twice; 0 is nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotId(pub u64);

/// A run of a component. Control gives the numbers, and never one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub u64);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// Why: `RunCompleted` when it says that all went well.
    pub reason: Reason,
    /// What it says itself, if it does.
    pub exit_code: Option<u8>,
    /// The form of the state that it hands on, which the worker keeps, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<u32>,
    /// The port that it did not listen on, when it was ended for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A run to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOrder {
    /// What the run is called from now on.
    pub run: RunId,
    /// The replica that it is.
    pub replica: u32,
    /// The revision.
    pub revision: String,
    /// The trigger that its lines name.
    pub trigger: String,
    /// Whether it is given what this replica has handed on; otherwise that is dropped.
    pub takes_state: bool,
    /// What it listens on: the slot's sockets by their names, and the number by which it knows
    /// each.
    pub ports: BTreeMap<String, u16>,
    /// How long it may listen on less than all of them.
    pub start_timeout_seconds: u32,
}

/// A message and the descriptors that go with it, in the order the message names them.
#[derive(Debug)]
pub struct Envelope<M> {
    /// What is said.
    pub message: M,
    /// What is handed over.
    pub fds: Vec<OwnedFd>,
}

/// Control to worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToWorker {
    /// The first message. Descriptors: the directories above all volumes, by which the worker
    /// confines itself, and the ledger.
    Welcome {
        /// [`PROTOCOL`] of control.
        protocol: u32,
        /// How large its runtime shall be.
        size: WorkerSize,
        /// How its guests reach out.
        network: Network,
        /// Whether volumes below a directory may be written, one for each.
        volumes: Vec<bool>,
        /// Whether there will be a spawner.
        spawner: bool,
    },
    /// From now on order from this spawner. Descriptor: a connection to it.
    Spawner,
    /// From now on let no guest reach these addresses, whatever it is granted. Replaces those
    /// that were named before.
    Block {
        /// Of this node and of the cluster's own parts.
        addresses: BTreeSet<IpAddr>,
    },
    /// Make a slot, or give an open one other listeners. It accepts after its first `Weigh`, and
    /// what runs by itself when it does.
    /// Descriptors: one listening socket per trigger.
    Open {
        /// The slot.
        slot: SlotId,
        /// The names of the triggers or of a component's own ports, one per descriptor.
        triggers: Vec<String>,
    },
    /// Load a revision beside what serves, and probe it. Descriptors: the sealed machine code,
    /// and one directory per mount. Answered by `Prepared`.
    Prepare {
        /// The slot.
        slot: SlotId,
        /// Everything but the code.
        revision: Box<RevisionOrder>,
    },
    /// Give a loaded revision something else. Instances that run keep what they have.
    /// Descriptors: one directory per mount.
    Refresh {
        /// The slot.
        slot: SlotId,
        /// The revision.
        revision: String,
        /// All that its next instances are given.
        provision: Box<Provision>,
    },
    /// From now on send requests by these weights. An empty map answers 503 to all.
    /// Revisions that are not named get nothing new. Answered by `Weighed`.
    Weigh {
        /// The slot.
        slot: SlotId,
        /// Counts the weighings of a slot, so that an answer says which one it is to.
        turn: u64,
        /// Weight by revision.
        weights: BTreeMap<String, u32>,
        /// How many times the per-replica budget applies.
        replicas: u32,
    },
    /// Run a loaded revision once. Answered by `Started`, if there is room for an instance, and
    /// then by `Ended`.
    Start {
        /// The slot.
        slot: SlotId,
        /// Which, and how.
        order: RunOrder,
    },
    /// Ask a run to end. Answered by `Ended`, unless it has been already.
    End {
        /// The slot.
        slot: SlotId,
        /// The run.
        run: RunId,
        /// Whether it is to hand on its state, for another revision follows.
        wants_state: bool,
        /// When it is still alive after this time it is cut.
        grace_seconds: u32,
    },
    /// Let the requests of a revision end, then drop it. Answered by `Drained`.
    Drain {
        /// The slot.
        slot: SlotId,
        /// The revision.
        revision: String,
        /// What is still alive after this time is cut.
        grace_seconds: u32,
    },
    /// Take the slot out of service: keep accepting with `Connection: close` for the
    /// propagation delay, then stop, drain, drop. Answered by `Closed`.
    Close {
        /// The slot.
        slot: SlotId,
        /// How long it goes on accepting.
        linger_seconds: u32,
        /// How long requests may still run after that.
        grace_seconds: u32,
    },
    /// Say the counters. Answered by `Figures`.
    Count,
}

/// How large the runtime of a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerSize {
    /// Memory that all guests may hold together, in bytes.
    pub guest_memory: u64,
    /// Threads that run guests.
    pub cores: usize,
    /// Whether WASI 0.3 components run.
    pub p3: bool,
}

/// What a revision needs besides its machine code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RevisionOrder {
    /// The name of the revision.
    pub name: String,
    /// Namespace of the component.
    pub namespace: String,
    /// Name of the component.
    pub component: String,
    /// Name of this node.
    pub node: String,
    /// The engine class of the machine code, by its name.
    pub class: String,
    /// Its limits.
    pub limits: Limits,
    /// What it is given.
    pub provision: Provision,
    /// What of its use of that is recorded.
    pub audit: AuditLevel,
    /// How many times the per-replica budget applies.
    pub replicas: u32,
    /// Whether it is run, and not asked.
    pub is_run: bool,
    /// Whether it then listens on ports of its own.
    pub listens: bool,
    /// Triggers whose requests call functions; those of all others go to its handler.
    pub doors: Vec<DoorOrder>,
    /// Whether there are any others.
    pub handles: bool,
    /// The largest request body in bytes.
    pub max_request_body: u64,
    /// What the component's memories hold at the start, in bytes.
    pub initial_memory: u64,
    /// The path that has to answer 2xx or 3xx before the revision counts as prepared.
    pub health_path: Option<String>,
    /// How long that may take.
    pub start_timeout_seconds: u32,
}

/// A trigger whose requests call functions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorOrder {
    /// Its name.
    pub trigger: String,
    /// The interfaces that it opens.
    pub interfaces: Vec<String>,
    /// The largest request body in bytes.
    pub max_request_body: u64,
}

/// What a revision is given, and what may change while it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provision {
    /// Arguments, variables and configuration. `Debug` does not show them.
    pub values: Values,
    /// What it may do: judged at every use.
    pub effective: Effective,
    /// Where its volumes appear; a directory comes with each.
    pub mounts: Vec<MountOrder>,
    /// Headers that the host adds to its requests.
    pub credentials: Vec<CredentialOrder>,
}

/// Where a volume appears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountOrder {
    /// The name of the volume.
    pub volume: String,
    /// Where guests see it.
    pub path: GuestPath,
    /// The most bytes in it, for scratch space.
    pub size_limit: Option<u64>,
    /// Whether nothing in it can be written, whatever is granted.
    pub read_only: bool,
}

/// A header that the host adds to requests to one host, over TLS.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialOrder {
    /// The exact host.
    pub host: HostName,
    /// Its port.
    pub port: u16,
    /// The name of the header.
    pub header: String,
    /// The header's value, with `{}` in the place of the secret.
    pub format: String,
    /// The secret, which must not come back to the guest either. `Debug` does not show it.
    pub secret: String,
    /// Methods that it is added to; none means all.
    pub methods: Vec<String>,
    /// Paths that it is added to; none means all.
    pub paths: Vec<PathGlob>,
}

/// Worker to control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromWorker {
    /// The first message of a worker.
    Hello {
        /// [`PROTOCOL`] of the worker.
        protocol: u32,
    },
    /// A revision is loaded and answered its probe, or why not.
    Prepared {
        /// The slot.
        slot: SlotId,
        /// The revision.
        revision: String,
        /// What is wrong with it, if anything is.
        refused: Option<Refused>,
    },
    /// Requests that come from now on go by the weights of this turn.
    Weighed {
        /// The slot.
        slot: SlotId,
        /// As it was asked.
        turn: u64,
    },
    /// There is an instance.
    Started {
        /// The slot.
        slot: SlotId,
        /// The run.
        run: RunId,
    },
    /// What a run listens on has changed.
    Listening {
        /// The slot.
        slot: SlotId,
        /// The run.
        run: RunId,
        /// Those of its ports that it does not listen on.
        silent: BTreeSet<u16>,
    },
    /// A run is over.
    Ended {
        /// The slot.
        slot: SlotId,
        /// The run.
        run: RunId,
        /// How it came to that.
        end: RunEnd,
    },
    /// A revision is gone.
    Drained {
        /// The slot.
        slot: SlotId,
        /// The revision.
        revision: String,
        /// How many requests had to be cut at the deadline.
        cut: u64,
        /// Its last counters, if it had been loaded.
        figures: Option<Figures>,
    },
    /// A slot is gone.
    Closed {
        /// The slot.
        slot: SlotId,
        /// The last counters of its revisions.
        figures: Vec<Figures>,
    },
    /// What components used and were denied.
    Audit {
        /// In the order in which it happened.
        notes: Vec<Note>,
        /// Those that were lost in the worker since it started, because too many came.
        lost: u64,
    },
    /// The counters of all slots since their revisions were loaded.
    Figures {
        /// One entry per live revision.
        revisions: Vec<Figures>,
    },
}

/// One use of a capability, or an attempt. Control looks up whose it is in its own books.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When, in milliseconds since 1970.
    pub time_millis: u64,
    /// Namespace of the component.
    pub namespace: String,
    /// Name of the component.
    pub component: String,
    /// The revision.
    pub revision: String,
    /// A word of the runtime's closed list.
    pub capability: String,
    /// What was used or tried, escaped and cut by the runtime.
    pub object: String,
    /// What admitted or denied it.
    pub rule: Rule,
    /// Who called, when somebody did.
    pub caller: Option<Caller>,
}

/// Who called a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The trigger that the call came to.
    pub trigger: String,
    /// The other end of its connection: of a proxy or a node, where one stands in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

/// A refusal that crosses a process border.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The reason a status shows.
    pub reason: Reason,
    /// A sentence for people, already escaped and cut.
    pub message: String,
}

/// Counters of one revision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Its slot, by which control finds the names it shows as labels.
    pub slot: u64,
    /// The revision.
    pub revision: String,
    /// Calls by outcome name.
    pub outcomes: BTreeMap<String, u64>,
    /// Calls that the guest answered with 5xx.
    pub errors: u64,
    /// Calls by the time to their response head: upper bounds in microseconds, and counts.
    pub latency: BTreeMap<u64, u64>,
    /// Calls that are running.
    pub live: u64,
    /// Bytes its instances hold.
    pub memory: u64,
    /// CPU time used, in microseconds.
    pub cpu_micros: u64,
    /// Uses of capabilities that were allowed, by the runtime's closed list.
    pub allowed: BTreeMap<String, u64>,
    /// Those that were denied.
    pub denied: BTreeMap<String, u64>,
    /// Records of such uses that were lost because the component made too many.
    pub lost_records: u64,
}

/// A child of the spawner. The worker gives the numbers, and never one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChildId(pub u64);

/// Worker to spawner: a claim of a process that runs hostile code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToSpawner {
    /// Start this. Descriptors: standard input, output and error. Answered by `Started`, and
    /// then `Ended`, or by `NotStarted`.
    Start(StartOrder),
    /// Send a signal.
    Signal {
        /// To whom.
        id: ChildId,
        /// Its number.
        signal: i32,
    },
    /// Nobody wants it any more: kill it.
    Drop {
        /// Which.
        id: ChildId,
    },
}

/// What is to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartOrder {
    /// What it is called from now on.
    pub id: ChildId,
    /// The executable.
    pub executable: GuestPath,
    /// The arguments behind its path.
    pub arguments: Vec<String>,
    /// All of its variables.
    pub environment: Vec<(String, String)>,
}

/// Spawner to worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromSpawner {
    /// The first message.
    Hello {
        /// [`PROTOCOL`] of the spawner.
        protocol: u32,
    },
    /// It runs.
    Started {
        /// Which.
        id: ChildId,
    },
    /// It does not, and will not.
    NotStarted {
        /// Which.
        id: ChildId,
        /// Whether only because too many others run.
        no_room: bool,
    },
    /// It has ended.
    Ended {
        /// Which.
        id: ChildId,
        /// With this code, by itself.
        code: Option<u8>,
        /// By this signal.
        signal: Option<u8>,
    },
}

/// Control to compiler. Descriptor: the sealed `compiler::Input`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompileOrder {
    /// Echoed in the answer.
    pub id: u64,
}

/// Compiler to control. Descriptor: the sealed machine code, when nothing was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compiled {
    /// The order this answers.
    pub id: u64,
    /// Why there is no machine code.
    pub refused: Option<Refused>,
}

impl RunEnd {
    /// Whether it says that all went well.
    pub fn is_success(self) -> bool {
        self.reason == Reason::RunCompleted
    }
}

impl fmt::Debug for CredentialOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialOrder")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl<M> From<M> for Envelope<M> {
    fn from(message: M) -> Self {
        Self {
            message,
            fds: Vec::new(),
        }
    }
}
