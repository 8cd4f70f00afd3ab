//! The replicas of components that run by themselves: what the worker is told of them, what it
//! says, and what is kept of them. Each is known by a number that is given once, so that no word
//! about one that is gone is taken for one about its successor.
//!
//! Longer than a worker lives what a replica waits for is remembered, and on disk how those ended
//! that are not started again: a restart of the agent runs no job twice that had completed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crds::Reason;
use serde::{Deserialize, Serialize};

use super::Control;
use super::plan::{Run, RunOrders, RunState, Runs};
use super::prepare::Loaded;
use super::restart::{BackOff, Ending, Next};
use super::retry::RETRY_FIRST;
use super::state::Store;
use crate::desired::PlacementKey;
use crate::message::{RunEnd, RunId, RunOrder, SlotId, ToWorker};
use crate::source::Source;

/// The name under which ends are kept.
const KEPT: &str = "runs";

/// What is known of all runs besides what a plan needs.
#[derive(Debug)]
pub(super) struct RunBook {
    back_off: BackOff,
    next: u64,
    facts: BTreeMap<(PlacementKey, u32), Facts>,
    /// Runs of slots that are not open, with the uid of their placement.
    kept: BTreeMap<PlacementKey, (String, Runs)>,
    /// The form of the state that each revision has handed on.
    schemas: BTreeMap<(PlacementKey, String), u32>,
    /// Ends by placement and revision, since control started.
    counts: BTreeMap<(PlacementKey, String), BTreeMap<Reason, u64>>,
    /// Whether something else is to be on disk than is.
    changed: bool,
}

/// One replica.
#[derive(Debug, Default)]
struct Facts {
    id: Option<RunId>,
    /// Since when it runs.
    since: Option<Instant>,
    /// When it is started again, or has run for long enough.
    due_at: Option<Instant>,
    /// Pauses in a row.
    pauses: u32,
    /// What the worker keeps of the run before.
    handed: Option<Handed>,
    /// The revision that accepted connections until it was replaced.
    accepted: Option<String>,
}

/// State that waits for a successor.
#[derive(Debug)]
struct Handed {
    /// The revision that it is of.
    revision: String,
    schema: u32,
}

/// What is kept on disk of one placement.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    placement: PlacementKey,
    uid: String,
    over: BTreeMap<String, BTreeMap<u32, RunEnd>>,
}

/// Replicas of one placement for a scrape, and how their runs have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFigures {
    /// The placement.
    pub placement: PlacementKey,
    /// Name of the component.
    pub component: String,
    /// The revision.
    pub revision: String,
    /// Replicas that run now.
    pub running: u64,
    /// Runs that have ended, by how.
    pub ends: BTreeMap<Reason, u64>,
}

impl RunBook {
    /// With what an earlier start has kept.
    pub(super) async fn load(documents: &Store, back_off: BackOff) -> Self {
        let records: Option<Vec<Record>> = documents.load(KEPT.to_owned()).await;
        let kept = records.into_iter().flatten().map(|record| {
            let runs = Runs {
                over: record.over,
                ..Runs::default()
            };
            (record.placement, (record.uid, runs))
        });
        Self {
            back_off,
            next: 1,
            facts: BTreeMap::new(),
            kept: kept.collect(),
            schemas: BTreeMap::new(),
            counts: BTreeMap::new(),
            changed: false,
        }
    }

    /// What is known of the runs of a placement that is opened.
    pub(super) fn resume(&mut self, key: &PlacementKey, uid: &str) -> Runs {
        let kept = self.kept.remove(key).filter(|(of, _)| of == uid);
        kept.map(|(_, runs)| runs).unwrap_or_default()
    }

    /// When a replica is due next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.facts.values().filter_map(|facts| facts.due_at).min()
    }

    fn find(&self, key: &PlacementKey, id: RunId) -> Option<u32> {
        let mut known = self.facts.iter();
        known.find_map(|((of, replica), facts)| {
            (of == key && facts.id == Some(id)).then_some(*replica)
        })
    }
}

impl<S: Source + ?Sized> Control<S> {
    /// Starts and ends replicas, as a plan says.
    pub(super) async fn order_runs(&mut self, key: &PlacementKey, orders: RunOrders) {
        let RunOrders { start, end } = orders;
        for replica in end {
            self.end_run(key, replica).await;
        }
        for (replica, revision) in start {
            self.start_run(key, replica, revision).await;
        }
    }

    async fn start_run(&mut self, key: &PlacementKey, replica: u32, revision: String) {
        let (Some(slot), Some(running)) = (self.slots.get(key), self.running.slots.get_mut(key))
        else {
            return;
        };
        let Some(loaded) = slot.loaded.get(&revision) else {
            return;
        };
        let Some((trigger, _)) = loaded.document.run() else {
            return;
        };
        let id = RunId(self.runs.next);
        self.runs.next += 1;
        let facts = self.runs.facts.entry((key.clone(), replica)).or_default();
        let before = running.runs.live.get(&replica);
        if before.is_none_or(|before| before.revision != revision) {
            facts.pauses = 0;
        }
        (facts.id, facts.since, facts.due_at) = (Some(id), None, None);
        let earlier = self.runs.schemas.get(&(key.clone(), revision.clone()));
        let takes_state = facts.handed.take().is_some_and(|handed| {
            let giver = slot.loaded.get(&handed.revision);
            // It may hold what the one before was given in confidence; and whoever is gone back
            // to knows no form but its own.
            giver.is_some_and(|giver| giver.shares_authority(loaded))
                && earlier.is_none_or(|own| *own == handed.schema)
        });
        let message = ToWorker::Start {
            slot: slot.id,
            order: RunOrder {
                run: id,
                replica,
                revision: revision.clone(),
                trigger: trigger.to_owned(),
                takes_state,
                start_timeout_seconds: loaded.start_timeout_seconds(),
                ports: loaded.listens(),
            },
        };
        let run = Run {
            revision,
            state: RunState::Starting,
            silent: loaded.listens().into_values().collect(),
            follows: facts.accepted.take(),
        };
        running.runs.live.insert(replica, run);
        self.tell(message, Vec::new()).await;
    }

    async fn end_run(&mut self, key: &PlacementKey, replica: u32) {
        let (Some(slot), Some(running)) = (self.slots.get(key), self.running.slots.get_mut(key))
        else {
            return;
        };
        let id = self.runs.facts.get(&(key.clone(), replica));
        let id = id.and_then(|facts| facts.id);
        let next = running.runs_by().map(|(next, _)| next.to_owned());
        let (Some(run), Some(id)) = (running.runs.live.get_mut(&replica), id) else {
            // It only waits.
            running.runs.live.remove(&replica);
            self.runs.facts.remove(&(key.clone(), replica));
            return;
        };
        run.state = RunState::Ending;
        let is_replaced = next.is_some_and(|next| next != run.revision);
        let replicas = self.desired.placements.get(key);
        let stays = replicas.is_some_and(|placement| replica < placement.replicas);
        let loaded = slot.loaded.get(&run.revision);
        let message = ToWorker::End {
            slot: slot.id,
            run: id,
            wants_state: is_replaced && stays,
            grace_seconds: loaded.map_or(0, Loaded::grace_seconds),
        };
        self.tell(message, Vec::new()).await;
    }

    /// The worker has made an instance.
    pub(super) fn run_started(&mut self, slot: SlotId, id: RunId) {
        let Some((key, replica)) = self.replica_of(slot, id) else {
            return;
        };
        let running = self.running.slots.get_mut(&key);
        if let Some(run) = running.and_then(|slot| slot.runs.live.get_mut(&replica))
            && run.state == RunState::Starting
        {
            run.state = RunState::Running { steady: false };
            let facts = self.runs.facts.get_mut(&(key, replica));
            if let Some(facts) = facts {
                let now = Instant::now();
                let steady_at = now + self.runs.back_off.steady_after;
                (facts.since, facts.due_at) = (Some(now), Some(steady_at));
            }
        }
    }

    /// A replica listens on all of its ports but these.
    pub(super) fn run_listens(&mut self, slot: SlotId, id: RunId, silent: BTreeSet<u16>) {
        let Some((key, replica)) = self.replica_of(slot, id) else {
            return;
        };
        let Some(running) = self.running.slots.get_mut(&key) else {
            return;
        };
        let Some(run) = running.runs.live.get_mut(&replica) else {
            return;
        };
        let ports = running.revisions.get(&run.revision);
        let ports = ports.iter().flat_map(|revision| revision.listens.values());
        // One that is to end lets go of what its successor accepts from.
        if run.state == RunState::Ending {
            return;
        }
        // Whatever else the worker claims.
        run.silent = ports
            .filter(|port| silent.contains(port))
            .copied()
            .collect();
        if run.silent.is_empty() {
            run.follows = None;
        }
    }

    /// A replica has ended.
    pub(super) fn run_ended(&mut self, slot: SlotId, id: RunId, end: RunEnd) {
        let Some((key, replica)) = self.replica_of(slot, id) else {
            return;
        };
        let fact_key = (key.clone(), replica);
        let Some(running) = self.running.slots.get_mut(&key) else {
            return;
        };
        let Some(run) = running.runs.live.remove(&replica) else {
            return;
        };
        let ends = self.runs.counts.entry((key.clone(), run.revision.clone()));
        *ends.or_default().entry(end.reason).or_default() += 1;
        if run.state == RunState::Ending {
            let revision = running.revisions.get(&run.revision);
            let listens = revision.is_some_and(|revision| !revision.listens.is_empty());
            let accepted = run.accepts().filter(|_| listens).map(str::to_owned);
            let revision = run.revision;
            if let Some(schema) = end.schema {
                self.runs.schemas.insert((key, revision.clone()), schema);
            }
            let handed = end.schema.map(|schema| Handed { revision, schema });
            if handed.is_some() || accepted.is_some() {
                let facts = Facts {
                    handed,
                    accepted,
                    ..Facts::default()
                };
                self.runs.facts.insert(fact_key, facts);
            } else {
                self.runs.facts.remove(&fact_key);
            }
            return;
        }
        tracing::info!(%key, revision = run.revision, replica, reason = %end.reason, code = end.exit_code, "a run has ended");
        let how = ending(end);
        if how != Ending::Interrupted {
            running.runs.last = Some((run.revision.clone(), end));
        }
        let revision = running.revisions.get(&run.revision);
        let policy = revision
            .and_then(|revision| revision.run)
            .unwrap_or_default();
        let facts = self.runs.facts.entry(fact_key.clone()).or_default();
        let ran = facts.since.map_or(Duration::ZERO, |since| since.elapsed());
        match self.runs.back_off.next(policy, how, ran, facts.pauses) {
            Next::Again { pause, pauses } => {
                *facts = Facts {
                    due_at: Some(Instant::now() + pause),
                    pauses,
                    ..Facts::default()
                };
                let state = RunState::Waiting { due: false };
                let run = Run {
                    state,
                    silent: BTreeSet::new(),
                    follows: None,
                    ..run
                };
                running.runs.live.insert(replica, run);
            }
            Next::Over => {
                self.runs.facts.remove(&fact_key);
                let over = running.runs.over.entry(run.revision).or_default();
                over.insert(replica, end);
                self.runs.changed = true;
            }
        }
    }

    fn replica_of(&self, slot: SlotId, id: RunId) -> Option<(PlacementKey, u32)> {
        let key = self.key_of(slot)?;
        let replica = self.runs.find(&key, id)?;
        Some((key, replica))
    }

    /// The time of those that wait has come.
    pub(super) fn wake_runs(&mut self, now: Instant) {
        for ((key, replica), facts) in &mut self.runs.facts {
            if facts.due_at.is_some_and(|at| at <= now) {
                let slot = self.running.slots.get_mut(key);
                let run = slot.and_then(|slot| slot.runs.live.get_mut(replica));
                // Without a worker there is nobody to start it yet.
                facts.due_at = match run {
                    Some(run) => {
                        match &mut run.state {
                            RunState::Waiting { due } => *due = true,
                            RunState::Running { steady } => *steady = true,
                            RunState::Starting | RunState::Ending => {}
                        }
                        None
                    }
                    None => Some(now + RETRY_FIRST),
                };
            }
        }
    }

    /// The worker is gone, and with it all that ran: it waits, as after any end.
    pub(super) fn interrupt_runs(&mut self) {
        let now = Instant::now();
        for (key, slot) in &mut self.running.slots {
            let mut runs = std::mem::take(&mut slot.runs);
            for (replica, run) in &mut runs.live {
                let fact_key = (key.clone(), *replica);
                let facts = self.runs.facts.entry(fact_key).or_default();
                facts.id = None;
                if let RunState::Waiting { due } = &mut run.state {
                    // It waits on; there is nobody to start it just now.
                    if *due {
                        (*due, facts.due_at) = (false, Some(now));
                    }
                    continue;
                }
                let ran = facts
                    .since
                    .take()
                    .map_or(Duration::ZERO, |since| now - since);
                let policy = Default::default();
                let next = self
                    .runs
                    .back_off
                    .next(policy, Ending::Interrupted, ran, facts.pauses);
                if let Next::Again { pause, pauses } = next {
                    let revision = slot.revisions.get(&run.revision);
                    let listens = revision.is_some_and(|revision| !revision.listens.is_empty());
                    let accepted = listens && run.accepts().is_some();
                    // Callers wait in the backlog of a socket that control has kept.
                    let pause = match accepted && pauses == 1 {
                        true => Duration::ZERO,
                        false => pause,
                    };
                    (facts.pauses, facts.due_at) = (pauses, Some(now + pause));
                }
                run.state = RunState::Waiting { due: false };
                (run.silent, run.follows) = (BTreeSet::new(), None);
            }
            if !runs.is_empty() {
                let kept = (slot.uid.clone(), runs);
                self.runs.kept.insert(key.clone(), kept);
            }
        }
    }

    /// Forgets what no placement wants any more.
    pub(super) fn forget_runs(&mut self) {
        let desired = &self.desired.placements;
        let mut changed = false;
        let kept = self.runs.kept.len();
        self.runs
            .kept
            .retain(|key, (uid, _)| desired.get(key).is_some_and(|of| of.uid == *uid));
        changed |= self.runs.kept.len() != kept;
        self.runs
            .facts
            .retain(|(key, _), _| desired.contains_key(key));
        let wanted = |(key, _): &(PlacementKey, String)| desired.contains_key(key);
        self.runs.counts.retain(|of, _| wanted(of));
        self.runs.schemas.retain(|of, _| wanted(of));
        let slots = self.running.slots.iter_mut();
        let open = slots.map(|(key, slot)| (key, &slot.uid, &mut slot.runs));
        let kept = self.runs.kept.iter_mut();
        let kept = kept.map(|(key, (uid, runs))| (key, &*uid, runs));
        let ended = open.chain(kept).filter(|(.., runs)| !runs.over.is_empty());
        for (key, uid, runs) in ended {
            let placement = desired.get(key).filter(|placement| placement.uid == *uid);
            let before = runs.over.clone();
            let names: BTreeSet<&str> = placement
                .iter()
                .flat_map(|placement| &placement.revisions)
                .map(|revision| revision.name.as_str())
                .collect();
            let replicas = placement.map_or(0, |placement| placement.replicas);
            runs.over.retain(|name, over| {
                over.retain(|replica, _| *replica < replicas);
                names.contains(name.as_str()) && !over.is_empty()
            });
            changed |= before != runs.over;
        }
        self.runs.changed |= changed;
    }

    /// Keeps how those ended that are not started again, before anybody is told.
    pub(super) async fn keep_runs(&mut self) {
        if !std::mem::take(&mut self.runs.changed) {
            return;
        }
        let open = self.running.slots.iter();
        let open = open.map(|(key, slot)| (key, &slot.uid, &slot.runs));
        let kept = self.runs.kept.iter();
        let kept = kept.map(|(key, (uid, runs))| (key, uid, runs));
        let records: Vec<Record> = open
            .chain(kept)
            .filter(|(.., runs)| !runs.over.is_empty())
            .map(|(key, uid, runs)| Record {
                placement: key.clone(),
                uid: uid.clone(),
                over: runs.over.clone(),
            })
            .collect();
        self.documents.save(KEPT.to_owned(), &records).await;
    }

    /// For a scrape.
    pub(super) fn run_figures(&self) -> Vec<RunFigures> {
        #[derive(Default)]
        struct Counted {
            running: u64,
            ends: BTreeMap<Reason, u64>,
        }
        let mut counted: BTreeMap<_, Counted> = BTreeMap::new();
        for ((key, revision), ends) in &self.runs.counts {
            let of = counted.entry((key, revision.as_str())).or_default();
            of.ends.clone_from(ends);
        }
        for (key, slot) in &self.running.slots {
            for run in slot.runs.live.values() {
                let of = counted.entry((key, run.revision.as_str())).or_default();
                of.running += u64::from(matches!(run.state, RunState::Running { .. }));
            }
        }
        let figures =
            counted
                .into_iter()
                .filter_map(|((key, revision), Counted { running, ends })| {
                    let placement = self.desired.placements.get(key)?;
                    Some(RunFigures {
                        placement: key.clone(),
                        component: placement.component.name.clone(),
                        revision: revision.to_owned(),
                        running,
                        ends,
                    })
                });
        figures.collect()
    }
}

/// Whose doing an end was.
fn ending(end: RunEnd) -> Ending {
    match end.reason {
        Reason::RunCompleted => Ending::Well,
        // There was no room for it, or the host let it down, or it was cut.
        Reason::NodeSaturated
        | Reason::ConcurrencyLimit
        | Reason::HostFault
        | Reason::Truncated
        | Reason::WorkerRestarting => Ending::Interrupted,
        _ => Ending::Badly,
    }
}
