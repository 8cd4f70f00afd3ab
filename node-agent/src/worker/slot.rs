//! One component on this node: its revisions, the weights between them, and its end. Weights
//! are swapped as a whole, so that a request sees either the old ones or the new ones, and a
//! revision that is let go lives until its last request has ended.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use runtime::serve::Drain;
use runtime::{Component, Listener, LoadError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::given::Given;
use super::runs::Runs;
use crate::message::{Figures, SlotId};

/// How often a drain looks whether the last request has ended. Nothing happens at rest.
const LOOK: Duration = Duration::from_millis(25);
/// A prime above any sum of two weights: stepping by it visits every point of the sum before
/// any twice, so that 5 of 100 requests are spread over the hundred.
const STRIDE: u64 = 211;

/// A slot of the worker.
pub(super) struct Slot {
    id: SlotId,
    revisions: Mutex<BTreeMap<String, Arc<Serving>>>,
    table: RwLock<Arc<Table>>,
    turn: AtomicU64,
    runs: Runs,
    /// Whether the listeners accept requests: from the first weights on, unless all that has some
    /// runs by itself.
    answers: watch::Sender<bool>,
    /// The sockets, by name, for what accepts by itself.
    sockets: Mutex<BTreeMap<String, Listener>>,
    /// Ends the connections of this slot, gently.
    drain: Drain,
    /// The accept loops; replaced when the slot gets other listeners.
    accepting: Mutex<CancellationToken>,
}

/// A revision that can serve.
pub(super) struct Serving {
    name: String,
    component: Arc<Component>,
}

/// Who serves now.
#[derive(Default)]
struct Table {
    entries: Vec<(Arc<Serving>, u32)>,
    total: u32,
}

impl Slot {
    /// A slot that serves nothing yet.
    pub(super) fn new(id: SlotId) -> Self {
        Self {
            id,
            revisions: Mutex::new(BTreeMap::new()),
            table: RwLock::new(Arc::new(Table::default())),
            turn: AtomicU64::new(0),
            runs: Runs::default(),
            answers: watch::channel(false).0,
            sockets: Mutex::default(),
            drain: Drain::new(),
            accepting: Mutex::new(CancellationToken::new()),
        }
    }

    /// Its number.
    pub(super) fn id(&self) -> SlotId {
        self.id
    }

    /// What of it runs by itself.
    pub(super) fn runs(&self) -> &Runs {
        &self.runs
    }

    /// A revision that is loaded.
    pub(super) fn revision(&self, name: &str) -> Option<Arc<Serving>> {
        self.lock().get(name).map(Arc::clone)
    }

    /// Ends its connections gently.
    pub(super) fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Whether requests are accepted, as that changes.
    pub(super) fn answers(&self) -> watch::Receiver<bool> {
        self.answers.subscribe()
    }

    /// Has these sockets from now on.
    pub(super) fn listen_on(&self, sockets: BTreeMap<String, Listener>) {
        *self.sockets() = sockets;
    }

    /// The sockets of these names, by the numbers beside them.
    pub(super) fn listeners(&self, ports: &BTreeMap<String, u16>) -> BTreeMap<u16, Listener> {
        let sockets = self.sockets();
        let listener = |(name, port): (&String, &u16)| Some((*port, sockets.get(name)?.clone()));
        ports.iter().filter_map(listener).collect()
    }

    fn sockets(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Listener>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the accept loops there are, and gives the token of those to come.
    pub(super) fn renew_accepting(&self, parent: &CancellationToken) -> CancellationToken {
        let mut accepting = self
            .accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        accepting.cancel();
        *accepting = parent.child_token();
        accepting.clone()
    }

    /// Adds a revision that was loaded and probed. It gets nothing before it has a weight.
    pub(super) fn add(&self, name: String, component: Arc<Component>) {
        let serving = Arc::new(Serving {
            name: name.clone(),
            component,
        });
        self.lock().insert(name, serving);
    }

    /// Gives the next instances of a revision something else.
    pub(super) fn refresh(&self, revision: &str, given: Given) -> Result<(), LoadError> {
        let Given {
            values,
            effective,
            mounts,
            credentials,
        } = given;
        match self.revision(revision) {
            Some(serving) => {
                let component = &serving.component;
                component.refresh(effective, values, mounts, credentials)
            }
            None => Ok(()),
        }
    }

    /// Sends requests by these weights from now on.
    pub(super) fn weigh(&self, weights: &BTreeMap<String, u32>, replicas: u32) {
        let revisions = self.lock();
        let entries: Vec<_> = weights
            .iter()
            .filter_map(|(name, weight)| Some((Arc::clone(revisions.get(name)?), *weight)))
            .collect();
        for (serving, _) in &entries {
            serving.component.set_replicas(replicas);
        }
        let total = entries
            .iter()
            .map(|(_, weight)| *weight)
            .fold(0, u32::saturating_add);
        let mut weighed = entries.iter();
        let runs = !entries.is_empty() && weighed.all(|(one, _)| one.component.is_run());
        let table = Arc::new(Table { entries, total });
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        self.answers.send_replace(!runs);
    }

    /// Who serves the next request; nobody when no revision has a weight.
    pub(super) fn pick(&self) -> Option<Arc<Serving>> {
        let table = Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner));
        let [(only, _)] = table.entries.as_slice() else {
            return table.pick(self.turn.fetch_add(1, Ordering::Relaxed));
        };
        Some(Arc::clone(only))
    }

    /// Takes a revision out. It still serves the requests that it has.
    pub(super) fn take(&self, name: &str) -> Option<Arc<Serving>> {
        self.lock().remove(name)
    }

    /// Counters of every revision.
    pub(super) fn figures(&self) -> Vec<Figures> {
        self.lock()
            .values()
            .map(|serving| super::figures(self.id, &serving.name, &serving.component))
            .collect()
    }

    /// Goes on accepting for `linger`, asking callers to go elsewhere; then stops, and lets
    /// what runs end within `grace`.
    pub(super) async fn close(&self, linger: Duration, grace: Duration) {
        self.drain.start();
        sleep(linger).await;
        self.runs.ask_all();
        self.accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .cancel();
        self.sockets().clear();
        let finished = async { tokio::join!(self.drain.finished(), self.runs.ended()) };
        if tokio::time::timeout(grace, finished).await.is_err() {
            self.cut();
        }
        self.runs.ended().await;
    }

    /// Ends everything at once.
    pub(super) fn cut(&self) {
        self.accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .cancel();
        self.runs.cut_all();
        for serving in self.lock().values() {
            serving.component.cut();
        }
        self.drain.cut();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Serving>>> {
        self.revisions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn pick(&self, turn: u64) -> Option<Arc<Serving>> {
        let total = u64::from(self.total);
        let mut point = turn.wrapping_mul(STRIDE).checked_rem(total)?;
        for (serving, weight) in &self.entries {
            let weight = u64::from(*weight);
            if point < weight {
                return Some(Arc::clone(serving));
            }
            point -= weight;
        }
        None
    }
}

impl Serving {
    /// The component.
    pub(super) fn component(&self) -> &Component {
        &self.component
    }

    /// Waits until the last request has ended, or `grace` has. Says how many were cut. Whoever
    /// waits has to be the only one that holds it besides requests.
    pub(super) async fn drain(self: &Arc<Self>, grace: Duration) -> u64 {
        let deadline = Instant::now() + grace;
        // A request holds the revision until its response head is there, and counts as live
        // until its body is.
        while Arc::strong_count(self) > 1 || self.component.stats().live > 0 {
            if Instant::now() >= deadline {
                let live = u64::from(self.component.stats().live);
                self.component.cut();
                return live;
            }
            sleep(LOOK).await;
        }
        0
    }
}
