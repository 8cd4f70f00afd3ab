//! The runs of a slot: each is one instance of one revision, for as long as it lasts or until
//! control ends it. Decides nothing: that one has ended is told, and nothing is started again.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crds::Reason;
use runtime::{Caller, Ended, Outcome, Ports, Saved, Start, Stop};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::slot::Slot;
use crate::message::{FromWorker, RunEnd, RunId, RunOrder, SlotId};

/// The least time between two words on what a run listens on.
const TELL_PAUSE: Duration = Duration::from_millis(100);

/// The runs of one slot.
#[derive(Default)]
pub(super) struct Runs {
    live: Mutex<BTreeMap<RunId, Live>>,
    /// What replicas that have ended hand to their successors.
    saved: Mutex<BTreeMap<u32, Saved>>,
    tasks: TaskTracker,
}

/// One run.
#[derive(Clone)]
struct Live {
    stop: Stop,
    /// Whether it looks for the word to end.
    can_be_asked: bool,
    ports: Ports,
    cut: CancellationToken,
}

impl Live {
    /// Asks it to end; says whether it makes sense to wait for it. One with ports accepts no more
    /// connections from then on, and has those to finish that it has.
    fn ask(&self, wants_state: bool) -> bool {
        let waits = self.can_be_asked || !self.ports.is_empty();
        match waits {
            true => self.stop.ask(wants_state),
            false => self.cut.cancel(),
        }
        waits
    }

    /// Returns when it has not listened as it is to for so long, with a port that is missing.
    async fn silence(&self, longest: Duration) -> u16 {
        let port = self.ports.silence(longest).await;
        match self.stop.is_asked() {
            // It need not any more.
            true => pending().await,
            false => port,
        }
    }

    /// Returns when there is no more to wait for.
    async fn ended(&self) {
        tokio::select! {
            () = self.cut.cancelled() => {}
            // It does not look, and has nobody left to answer.
            () = self.ports.idle(), if !self.can_be_asked => {}
        }
    }
}

impl Runs {
    /// Asks one to end within `grace`; then it is cut.
    pub(super) fn end(&self, shared: &Shared, run: RunId, wants_state: bool, grace: Duration) {
        let live = lock(&self.live).get(&run).cloned();
        let Some(live) = live.filter(|live| live.ask(wants_state)) else {
            return;
        };
        let tasks = shared.tasks.clone();
        tasks.spawn(self.tasks.track_future(async move {
            // Either way; one that has ended takes no harm.
            let _ = tokio::time::timeout(grace, live.ended()).await;
            live.cut.cancel();
        }));
    }

    /// Asks all of them to end.
    pub(super) fn ask_all(&self) {
        for live in lock(&self.live).values() {
            if live.ask(false) && !live.can_be_asked {
                let live = live.clone();
                self.tasks.spawn(async move {
                    live.ended().await;
                    live.cut.cancel();
                });
            }
        }
    }

    /// Ends all of them.
    pub(super) fn cut_all(&self) {
        lock(&self.live).values().for_each(|live| live.cut.cancel());
    }

    /// Waits until none is left, once no more will be started.
    pub(super) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Runs a revision once, and tells when it has begun and how it has ended.
pub(super) fn start(shared: &Shared, slot: &Arc<Slot>, order: RunOrder) {
    let (shared, slot) = (shared.clone(), Arc::clone(slot));
    let RunOrder {
        run,
        replica,
        revision,
        trigger,
        takes_state,
        ports,
        start_timeout_seconds,
    } = order;
    // Whoever does not take it leaves it to nobody.
    let state = lock(&slot.runs().saved).remove(&replica);
    let Some(serving) = slot.revision(&revision) else {
        let (slot, end) = (slot.id(), ended_by(Reason::HostFault));
        shared.say_later(FromWorker::Ended { slot, run, end });
        return;
    };
    let live = Live {
        stop: Stop::default(),
        can_be_asked: serving.component().can_be_asked(),
        ports: serving.component().ports(slot.listeners(&ports)),
        cut: shared.end.child_token(),
    };
    let start_timeout = Duration::from_secs(start_timeout_seconds.into());
    let start = Start {
        caller: Some(Arc::new(Caller {
            trigger: trigger.into(),
            address: None,
        })),
        stop: live.stop.clone(),
        state: state.filter(|_| takes_state),
        ports: live.ports.clone(),
    };
    let (tasks, tracker) = (shared.tasks.clone(), slot.runs().tasks.clone());
    lock(&slot.runs().live).insert(run, live.clone());
    let task = async move {
        let id = slot.id();
        let (begun, has_begun) = oneshot::channel();
        let running = async {
            let begin = move || {
                // Nobody waits for it only when the run is over.
                let _ = begun.send(());
            };
            let running = serving.component().run(start, begin);
            let running = async {
                match &shared.ledger {
                    Some(ledger) => ledger.record(id, running).await,
                    None => running.await,
                }
            };
            live.cut.run_until_cancelled(running).await
        };
        let telling = async {
            if has_begun.await.is_ok() {
                shared.say(FromWorker::Started { slot: id, run }).await;
                let telling = tell_listening(&shared, id, run, &live.ports);
                live.cut.run_until_cancelled(telling).await;
            }
        };
        let running = async {
            let ended = tokio::select! {
                ended = running => Ok(ended),
                port = live.silence(start_timeout) => Err(port),
            };
            // Whoever waits to cut it need not any more.
            live.cut.cancel();
            ended
        };
        let (ended, ()) = tokio::join!(running, telling);
        let (end, saved) = match ended {
            Ok(ended) => told(ended),
            Err(port) => (silent(port), None),
        };
        let runs = slot.runs();
        lock(&runs.live).remove(&run);
        if let Some(saved) = saved {
            lock(&runs.saved).insert(replica, saved);
        }
        // Before control hears of it: it may let the revision go, or close the slot.
        drop((serving, slot));
        shared.say(FromWorker::Ended { slot: id, run, end }).await;
    };
    tasks.spawn(tracker.track_future(task));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ended_by(reason: Reason) -> RunEnd {
    RunEnd {
        reason,
        exit_code: None,
        schema: None,
        port: None,
    }
}

/// It did not listen on this port.
fn silent(port: u16) -> RunEnd {
    RunEnd {
        port: Some(port),
        ..ended_by(Reason::NotListening)
    }
}

/// Tells what it listens on, for as long as it runs.
async fn tell_listening(shared: &Shared, slot: SlotId, run: RunId, ports: &Ports) {
    let mut silent = ports.silent();
    while !ports.is_empty() {
        let message = FromWorker::Listening {
            slot,
            run,
            silent: silent.borrow_and_update().clone(),
        };
        shared.say(message).await;
        // A guest that comes and goes must not keep control busy.
        sleep(TELL_PAUSE).await;
        if silent.changed().await.is_err() {
            return;
        }
    }
}

/// How it ended for control, and what it hands on.
fn told(ended: Option<Ended>) -> (RunEnd, Option<Saved>) {
    let Some(ended) = ended else {
        return (ended_by(Reason::Truncated), None);
    };
    let Ended {
        outcome,
        exit_code,
        saved,
    } = ended;
    let end = RunEnd {
        reason: match outcome {
            Outcome::Completed => Reason::RunCompleted,
            // Outcomes and reasons go by the same names.
            other => Reason::named(other.name()),
        },
        exit_code,
        schema: saved.as_ref().map(Saved::schema),
        port: None,
    };
    (end, saved)
}
