//! The deciding half of the agent: a loop that plans over what shall be and what is, carries
//! the plan out, and reports. `observe` and `fetch` bring the outside in, `validate` and `plan`
//! are plain functions, `apply` and `report` go back out. The loop itself knows neither
//! Kubernetes nor HTTP: it has a [`Source`], a [`Sink`] and links to workers.

pub mod admin;
pub mod apply;
pub mod audit;
pub mod blocked;
pub mod breaker;
pub mod cache;
pub mod ceilings;
pub mod cluster;
pub mod compile_queue;
pub mod fetch;
pub mod figures;
pub mod heartbeat;
pub mod observe;
pub mod plan;
pub mod prepare;
pub mod public_root;
mod refresh;
pub mod report;
pub mod restart;
mod retry;
mod review;
pub mod runs;
pub mod secrets;
pub mod sockets;
pub mod state;
pub mod strikes;
pub mod tallies;
pub mod trust;
pub mod validate;
pub mod volumes;
pub mod worker_link;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crds::ComponentPlacementStatus;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::desired::{Desired, PlacementKey};
use crate::ledger::Ledger;
use crate::message::{
    Envelope, Figures, FromWorker, PROTOCOL, Refused, SlotId, ToWorker, WorkerSize,
};
use crate::network::Network;
use crate::source::Source;
use crate::transport::Link;
use audit::Auditor;
use figures::{Question, Swaps};
use plan::{Failure, Phase, Running};
use prepare::{Judged, Loaded, PrepareError, Prepared, Preparer};
use refresh::Refreshes;
use restart::BackOff;
use retry::Attempt;
use review::Review;
use runs::RunBook;
use sockets::Sockets;
use state::Store;
use strikes::{Strikes, Suspect};
use volumes::Volumes;

/// A status that is on its way somewhere is not told to anybody for this long after a start:
/// what comes back within it was never away for a client, because connections wait.
const SETTLE: Duration = Duration::from_secs(2);
/// How long after the drain deadline control still waits for a worker to say that it is done.
const STOP_MARGIN: Duration = Duration::from_secs(5);
/// When volumes of nobody are looked at again that were still in use: the worker closes them
/// a moment after it has said that it is done.
const SWEEP_AGAIN: Duration = Duration::from_secs(10);

/// What the loop is given.
#[derive(Debug)]
pub struct Inputs<S: ?Sized> {
    /// What shall run.
    pub desired: watch::Receiver<Desired>,
    /// Changes whenever something that a refusal may depend on has changed.
    pub trust_changes: watch::Receiver<u64>,
    /// Addresses that no guest may reach.
    pub blocked: watch::Receiver<BTreeSet<IpAddr>>,
    /// A link for every worker that starts.
    pub workers: mpsc::Receiver<Link<ToWorker, FromWorker>>,
    /// A connection for every spawner that starts.
    pub spawners: mpsc::Receiver<OwnedFd>,
    /// Questions for the counters.
    pub questions: mpsc::Receiver<Question>,
    /// Prepares revisions.
    pub preparer: Arc<Preparer<S>>,
    /// Where the strikes are kept.
    pub documents: Store,
    /// The directories that components are given.
    pub volumes: Arc<Volumes>,
    /// Writes down what components use.
    pub auditor: Auditor,
    /// How often what a component is given is brought up to date.
    pub refresh_every: Duration,
    /// Where the statuses go.
    pub statuses: watch::Sender<BTreeMap<PlacementKey, ComponentPlacementStatus>>,
    /// Whether new traffic is welcome: from the first worker until the stop.
    pub ready: Arc<AtomicBool>,
    /// The pauses before a run is started again.
    pub back_off: BackOff,
    /// How large the runtime of a worker shall be.
    pub worker_size: WorkerSize,
    /// How its guests reach out.
    pub network: Network,
    /// Where component ports are bound.
    pub listen_address: IpAddr,
    /// How long a component that is stopped goes on accepting.
    pub shutdown_delay: Duration,
    /// Ends the loop, gently.
    pub stop: CancellationToken,
}

/// The loop and all that it knows.
struct Control<S: ?Sized> {
    preparer: Arc<Preparer<S>>,
    documents: Store,
    volumes: Arc<Volumes>,
    auditor: Auditor,
    blocked: watch::Receiver<BTreeSet<IpAddr>>,
    refreshes: Refreshes,
    statuses: watch::Sender<BTreeMap<PlacementKey, ComponentPlacementStatus>>,
    ready: Arc<AtomicBool>,
    worker_size: WorkerSize,
    network: Network,
    shutdown_delay: Duration,
    desired: Desired,
    running: Running,
    /// What the plan does not need to know of a slot.
    slots: BTreeMap<PlacementKey, SlotFacts>,
    /// Slots that could not be opened.
    unopened: BTreeMap<PlacementKey, Failure>,
    retries: BTreeMap<(PlacementKey, String), Attempt>,
    sockets: Sockets,
    strikes: Strikes,
    runs: RunBook,
    preparations: JoinSet<Preparation>,
    reviews: JoinSet<Option<Review>>,
    /// Each says whether something was still in use.
    sweeps: JoinSet<bool>,
    sweep_at: Option<Instant>,
    worker: Option<Worker>,
    /// One that no worker has been given yet.
    spawner: Option<OwnedFd>,
    next_slot: u64,
    worker_starts: u64,
    swaps: Swaps,
    settling_until: Instant,
    waiting_questions: Vec<Question>,
    /// Set once the agent is being stopped: when it ends even if something still runs.
    stop_deadline: Option<Instant>,
    /// When what runs is judged again, because something changed.
    review_at: Option<Instant>,
    /// Counts the changes of what revisions are judged by.
    trust_turn: u64,
}

struct Worker {
    outgoing: mpsc::Sender<Envelope<ToWorker>>,
    ledger: Option<Ledger>,
}

struct SlotFacts {
    id: SlotId,
    /// The revisions that the worker was handed.
    loaded: BTreeMap<String, Loaded>,
    /// The last turn of weights that the worker was told, and the last that it serves by. While
    /// they differ a status would say what is not so yet.
    told_turn: u64,
    served_turn: u64,
    /// When the worker was told the last turn.
    told_at: Instant,
    /// What revisions were judged by.
    judged: BTreeMap<String, Judged>,
    /// Why revisions that run would not be admitted today.
    doubts: BTreeMap<String, Refused>,
}

struct Preparation {
    placement: PlacementKey,
    slot: SlotId,
    revision: String,
    /// The turn of `Control::trust_turn` at which it began.
    trust_turn: u64,
    result: Result<Box<Prepared>, PrepareError>,
}

/// Runs the loop until it is told to stop and everything has drained.
pub async fn run<S: Source + ?Sized>(inputs: Inputs<S>) {
    let Inputs {
        mut desired,
        mut trust_changes,
        blocked,
        mut workers,
        mut spawners,
        mut questions,
        preparer,
        documents,
        volumes,
        auditor,
        refresh_every,
        statuses,
        ready,
        back_off,
        worker_size,
        network,
        listen_address,
        shutdown_delay,
        stop,
    } = inputs;
    let strikes = Strikes::load(&documents).await;
    let runs = RunBook::load(&documents, back_off).await;
    let mut blockings = blocked.clone();
    let mut control = Control {
        refreshes: Refreshes::new(refresh_every, preparer.node().to_owned()),
        preparer,
        documents,
        volumes,
        auditor,
        blocked,
        statuses,
        ready,
        worker_size,
        network,
        shutdown_delay,
        desired: desired.borrow_and_update().clone(),
        running: Running::default(),
        slots: BTreeMap::new(),
        unopened: BTreeMap::new(),
        retries: BTreeMap::new(),
        sockets: Sockets::new(listen_address),
        strikes,
        runs,
        preparations: JoinSet::new(),
        reviews: JoinSet::new(),
        sweeps: JoinSet::new(),
        sweep_at: None,
        worker: None,
        spawner: None,
        next_slot: 1,
        worker_starts: 0,
        swaps: Swaps::default(),
        settling_until: Instant::now() + SETTLE,
        waiting_questions: Vec::new(),
        stop_deadline: None,
        review_at: None,
        trust_turn: 0,
    };
    let mut incoming: Option<mpsc::Receiver<Envelope<FromWorker>>> = None;
    // Nothing kept is not yet nothing placed.
    if !control.desired.placements.is_empty() {
        control.sweep_volumes();
    }

    loop {
        control.reconcile().await;
        if control.has_stopped() {
            break;
        }
        let wake = control.next_wake();
        // Every arm is cancel-safe: a receive that loses has taken nothing.
        tokio::select! {
            Ok(()) = desired.changed(), if !control.stopping() => {
                control.desired = desired.borrow_and_update().clone();
                control.forget_retries();
                control.forget_runs();
                control.sweep_volumes();
            }
            Ok(()) = trust_changes.changed() => control.trust_changed(),
            Ok(()) = blockings.changed() => control.block().await,
            Some(link) = workers.recv(), if !control.stopping() => {
                let Link { outgoing, incoming: new } = link;
                // The end of the one before may not have been read yet; it counts all the same.
                if incoming.is_some() {
                    control.worker_lost().await;
                }
                control.worker_started(outgoing).await;
                incoming = Some(new);
            }
            Some(spawner) = spawners.recv() => {
                control.spawner = Some(spawner);
                control.hand_over_spawner().await;
            }
            message = next_message(&mut incoming) => match message {
                Some(envelope) => control.heard(envelope.message),
                None => {
                    incoming = None;
                    control.worker_lost().await;
                }
            },
            Some(ended) = control.preparations.join_next() => {
                if let Ok(preparation) = ended {
                    control.prepared(preparation).await;
                }
            }
            Some(ended) = control.reviews.join_next() => control.reviewed(ended.ok().flatten()),
            Some(left) = control.sweeps.join_next() => {
                if left.is_ok_and(|in_use| in_use) {
                    control.sweep_at = Some(Instant::now() + SWEEP_AGAIN);
                }
            }
            Some(ended) = control.refreshes.under_way.join_next() => {
                if let Ok(refreshed) = ended {
                    control.refreshed(refreshed).await;
                }
            }
            Some(question) = questions.recv() => control.ask_figures(question).await,
            () = tokio::time::sleep_until(wake.into()) => control.woken(Instant::now()),
            () = stop.cancelled(), if !control.stopping() => control.begin_stop(),
        }
    }
}

/// Waits for ever while there is no worker.
async fn next_message(
    incoming: &mut Option<mpsc::Receiver<Envelope<FromWorker>>>,
) -> Option<Envelope<FromWorker>> {
    match incoming {
        Some(incoming) => incoming.recv().await,
        None => std::future::pending().await,
    }
}

impl<S: Source + ?Sized> Control<S> {
    /// One round: plan, apply, and again until nothing is left to do at once; then report.
    async fn reconcile(&mut self) {
        /// Opening, weighing and draining follow each other; more rounds than this would be a
        /// plan that never ends, and the next event tries again.
        const ROUNDS: usize = 4;
        self.keep_runs().await;
        let (desired, running) = (&self.desired.placements, &self.running.slots);
        self.sockets
            .retain(|key| desired.contains_key(key) || running.contains_key(key));
        for _ in 0..ROUNDS {
            if self.worker.is_none() {
                break;
            }
            let plan = plan::plan(&self.desired, &self.running);
            if plan.is_empty() {
                break;
            }
            self.apply(plan).await;
        }
        self.report();
    }

    async fn worker_started(&mut self, outgoing: mpsc::Sender<Envelope<ToWorker>>) {
        self.worker_starts += 1;
        self.forget_worker();
        let above = self.volumes.above().unwrap_or_else(|error| {
            tracing::error!(%error, "volumes stay closed to the worker");
            Vec::new()
        });
        let ledger = Ledger::new().ok();
        let volumes = above.iter().map(|above| above.write).collect();
        let mut fds: Vec<_> = above.into_iter().map(|above| above.directory).collect();
        fds.extend(
            ledger
                .as_ref()
                .and_then(|ledger| ledger.try_clone_fd().ok()),
        );
        let welcome = Envelope {
            message: ToWorker::Welcome {
                protocol: PROTOCOL,
                size: self.worker_size,
                network: self.network.clone(),
                volumes,
                spawner: self.preparer.has_spawner(),
            },
            fds,
        };
        // A worker that is gone already is noticed by its closed link.
        let _ = outgoing.send(welcome).await;
        self.worker = Some(Worker { outgoing, ledger });
        // Before anything is loaded that could reach them.
        self.block().await;
        self.hand_over_spawner().await;
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Lets the worker speak with the spawner that came last. With the worker its connection
    /// goes, and with that the spawner and all that it started.
    async fn hand_over_spawner(&mut self) {
        let Some(worker) = &self.worker else { return };
        if let Some(spawner) = self.spawner.take() {
            let message = Envelope {
                message: ToWorker::Spawner,
                fds: vec![spawner],
            };
            let _ = worker.outgoing.send(message).await;
        }
    }

    /// The worker is gone. Who was on a thread gets a strike; everything is opened again for
    /// the next worker, on the sockets that never closed.
    async fn worker_lost(&mut self) {
        let on_thread = self
            .worker
            .take()
            .and_then(|worker| worker.ledger)
            .map(|ledger| ledger.running())
            .unwrap_or_default();
        let suspects: Vec<Suspect> = self
            .slots
            .iter()
            .filter(|(_, facts)| on_thread.contains(&facts.id))
            .flat_map(|(key, _)| self.suspects(key))
            .collect();
        if !self.stopping() {
            tracing::error!(?suspects, "the worker has ended; it is being started again");
            if !suspects.is_empty() {
                self.strikes.crashed(suspects, Timestamp::now());
                // Before anything is started again: this process may be next.
                self.strikes.save(&self.documents).await;
            }
        }
        self.forget_worker();
        self.settling_until = Instant::now() + SETTLE;
    }

    fn forget_worker(&mut self) {
        self.interrupt_runs();
        self.running = Running::default();
        self.slots.clear();
        self.retries.clear();
        self.waiting_questions.clear();
        self.refreshes.forget_all();
        self.auditor.worker_lost();
        // Preparations that run go on; their results are of slots that are gone.
    }

    fn suspects(&self, key: &PlacementKey) -> Vec<Suspect> {
        let (Some(placement), Some(slot)) = (
            self.desired.placements.get(key),
            self.running.slots.get(key),
        ) else {
            return Vec::new();
        };
        let weights = slot.weights.clone().unwrap_or_default();
        slot.revisions
            .iter()
            .filter(|(name, revision)| {
                weights.contains_key(*name) || revision.phase == Phase::Preparing
            })
            .map(|(_, revision)| Suspect {
                namespace: placement.component.namespace.clone(),
                component: placement.component.name.clone(),
                digest: revision.digest,
            })
            .collect()
    }

    fn heard(&mut self, message: FromWorker) {
        match message {
            FromWorker::Hello { protocol } => {
                if protocol != PROTOCOL {
                    tracing::error!(protocol, "the worker is of another version of the agent");
                }
            }
            FromWorker::Prepared {
                slot,
                revision,
                refused,
            } => {
                let Some(key) = self.key_of(slot) else { return };
                let failure = refused.map(|refused| Failure {
                    reason: refused.reason,
                    message: refused.message,
                    due: false,
                });
                self.settle(&key, &revision, failure);
            }
            FromWorker::Started { slot, run } => self.run_started(slot, run),
            FromWorker::Listening { slot, run, silent } => self.run_listens(slot, run, silent),
            FromWorker::Ended { slot, run, end } => self.run_ended(slot, run, end),
            FromWorker::Weighed { slot, turn } => {
                let Some(key) = self.key_of(slot) else { return };
                if let Some(facts) = self.slots.get_mut(&key) {
                    facts.served_turn = facts.served_turn.max(turn.min(facts.told_turn));
                    if turn == facts.told_turn {
                        self.swaps.count(facts.told_at.elapsed());
                    }
                }
            }
            FromWorker::Drained {
                slot,
                revision,
                cut,
                figures,
            } => {
                let Some(key) = self.key_of(slot) else { return };
                if cut > 0 {
                    tracing::warn!(%key, revision, cut, "requests outlived the grace period");
                }
                if let Some(running) = self.running.slots.get_mut(&key)
                    && running
                        .revisions
                        .get(&revision)
                        .is_some_and(|r| r.phase == Phase::Draining)
                {
                    running.revisions.remove(&revision);
                    self.let_go(&key, &revision, figures.as_ref());
                    self.sweep_volumes();
                }
            }
            FromWorker::Closed { slot, figures } => {
                let Some(key) = self.key_of(slot) else { return };
                self.running.slots.remove(&key);
                let loaded = self.slots.get(&key).map(|facts| &facts.loaded);
                let revisions: Vec<String> = loaded
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name.clone())
                    .collect();
                for revision in revisions {
                    let figures = figures.iter().find(|of| of.revision == revision);
                    self.let_go(&key, &revision, figures);
                }
                self.slots.remove(&key);
                self.refreshes.forget_slot(&key);
                self.sweep_volumes();
            }
            FromWorker::Audit { notes, lost } => self.auditor.heard(notes, lost),
            FromWorker::Figures { revisions } => self.answer_figures(&revisions),
        }
    }

    /// A revision that the worker has let go.
    fn let_go(&mut self, key: &PlacementKey, revision: &str, figures: Option<&Figures>) {
        let Some(facts) = self.slots.get_mut(key) else {
            return;
        };
        if let Some(loaded) = facts.loaded.remove(revision) {
            let component = &loaded.document.component;
            self.auditor.retired(component, revision, figures);
        }
        self.refreshes.forget(key, revision);
    }

    /// Tells the worker which addresses no guest may reach.
    async fn block(&self) {
        let addresses = self.blocked.borrow().clone();
        self.tell(ToWorker::Block { addresses }, Vec::new()).await;
    }

    /// Removes volumes of components that are neither placed here nor still running.
    fn sweep_volumes(&mut self) {
        self.sweep_at = None;
        let placed = self.desired.placements.values().map(|of| &of.component);
        let loaded = self.slots.values().flat_map(|facts| facts.loaded.values());
        let running = loaded.map(|loaded| &loaded.document.component);
        let owners = placed.chain(running).map(|component| component.uid.clone());
        let (owners, volumes) = (owners.collect(), Arc::clone(&self.volumes));
        // Deleting may take long, and nothing waits for it.
        self.sweeps.spawn_blocking(move || volumes.sweep(&owners));
    }

    fn key_of(&self, slot: SlotId) -> Option<PlacementKey> {
        self.slots
            .iter()
            .find(|(_, facts)| facts.id == slot)
            .map(|(key, _)| key.clone())
    }

    fn begin_stop(&mut self) {
        let loaded = self.slots.values().flat_map(|facts| facts.loaded.values());
        let grace = loaded.map(Loaded::grace_seconds).max().unwrap_or_default();
        let grace = Duration::from_secs(grace.into());
        self.stop_deadline = Some(Instant::now() + self.shutdown_delay + grace + STOP_MARGIN);
        self.desired = Desired::default();
        self.ready.store(false, Ordering::Relaxed);
    }

    fn stopping(&self) -> bool {
        self.stop_deadline.is_some()
    }

    fn has_stopped(&self) -> bool {
        self.stop_deadline
            .is_some_and(|deadline| self.running.slots.is_empty() || Instant::now() >= deadline)
    }
}
