//! Carries a plan out: opens sockets, starts preparations, tells the worker. What it says to
//! the worker it writes down in `running`, so that the next plan sees it. Called by the loop.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::Reason;

use super::plan::{Failure, Phase, Plan, RunningRevision, RunningSlot};
use super::prepare::{Loaded, Prepared};
use super::strikes::Suspect;
use super::{Control, Preparation, SlotFacts};
use crate::desired::{DesiredRevision, PlacementKey};
use crate::message::{Envelope, SlotId, ToWorker};
use crate::source::Source;
use crate::text::printable;

/// The grace period of a slot that never had a revision.
const NO_GRACE: u32 = 0;

impl<S: Source + ?Sized> Control<S> {
    /// Carries out what a plan says, in its order.
    pub(super) async fn apply(&mut self, plan: Plan) {
        let Plan {
            to_open,
            to_prepare,
            to_weigh,
            to_run,
            to_drain,
            to_close,
        } = plan;
        for (key, open) in to_open {
            self.open(key, open).await;
        }
        for (key, revisions) in to_prepare {
            for name in revisions.into_keys() {
                self.start_preparation(&key, &name);
            }
        }
        for (key, weigh) in to_weigh {
            let Some(facts) = self.slots.get_mut(&key) else {
                continue;
            };
            facts.told_turn += 1;
            facts.told_at = Instant::now();
            let (slot, turn) = (facts.id, facts.told_turn);
            if let Some(running) = self.running.slots.get_mut(&key) {
                running.weights = Some(weigh.weights.clone());
                running.replicas = weigh.replicas;
            }
            let message = ToWorker::Weigh {
                slot,
                turn,
                weights: weigh.weights,
                replicas: weigh.replicas,
            };
            self.tell(message, Vec::new()).await;
        }
        for (key, orders) in to_run {
            self.order_runs(&key, orders).await;
        }
        for (key, revisions) in to_drain {
            for name in revisions {
                self.drain(&key, name).await;
            }
        }
        for key in to_close {
            self.close(key).await;
        }
    }

    /// Says something to the worker. A worker that is gone is noticed by its closed link.
    pub(super) async fn tell(&self, message: ToWorker, fds: Vec<OwnedFd>) {
        if let Some(worker) = &self.worker {
            let _ = worker.outgoing.send(Envelope { message, fds }).await;
        }
    }

    async fn open(&mut self, key: PlacementKey, open: super::plan::Open) {
        let sockets = match self.sockets.open(&key, &open.ports) {
            Ok(sockets) => sockets,
            Err(error) => {
                let failure = Failure {
                    reason: error.reason(),
                    message: error.to_string(),
                    due: true,
                };
                self.unopened.insert(key, failure);
                return;
            }
        };
        self.unopened.remove(&key);
        let facts = self.slots.entry(key.clone()).or_insert_with(|| {
            let id = SlotId(self.next_slot);
            self.next_slot += 1;
            SlotFacts {
                id,
                loaded: Default::default(),
                told_turn: 0,
                told_at: Instant::now(),
                served_turn: 0,
                judged: Default::default(),
                doubts: Default::default(),
            }
        });
        let message = ToWorker::Open {
            slot: facts.id,
            triggers: open.ports.keys().cloned().collect(),
        };
        let runs = &mut self.runs;
        let new = || RunningSlot {
            runs: runs.resume(&key, &open.uid),
            ..RunningSlot::default()
        };
        let slots = &mut self.running.slots;
        let running = slots.entry(key.clone()).or_insert_with(new);
        running.uid = open.uid;
        running.ports = open.ports;
        self.tell(message, sockets).await;
    }

    fn start_preparation(&mut self, key: &PlacementKey, name: &str) {
        let (Some(placement), Some(facts), Some(running)) = (
            self.desired.placements.get(key),
            self.slots.get(key),
            self.running.slots.get_mut(key),
        ) else {
            // The slot could not be opened; the next plan tries again.
            return;
        };
        let Some(wanted) = placement
            .revisions
            .iter()
            .find(|revision| revision.name == name)
        else {
            return;
        };
        let suspect = Suspect {
            namespace: placement.component.namespace.clone(),
            component: placement.component.name.clone(),
            digest: wanted.digest,
        };
        let phase = if self.strikes.is_quarantined(&suspect) {
            Phase::Failed(Failure {
                reason: Reason::CrashQuarantined,
                message: format!(
                    "{} was running at two crashes of the worker and is not started again on \
                     this node: deploy another digest",
                    wanted.digest
                ),
                due: false,
            })
        } else {
            Phase::Preparing
        };
        let starts = phase == Phase::Preparing;
        running.revisions.insert(
            name.to_owned(),
            RunningRevision {
                digest: wanted.digest,
                phase,
                run: None,
                listens: BTreeMap::new(),
            },
        );
        if !starts {
            return;
        }
        let preparer = Arc::clone(&self.preparer);
        let placement = placement.clone();
        let wanted: DesiredRevision = wanted.clone();
        let (key, slot) = (key.clone(), facts.id);
        let last = self.strikes.is_suspected(&suspect);
        let trust_turn = self.trust_turn;
        self.preparations.spawn(async move {
            if last {
                // Innocent neighbours are up before what may bring the worker down again.
                tokio::time::sleep(super::SETTLE).await;
            }
            let result = preparer.prepare(&placement, &wanted).await.map(Box::new);
            Preparation {
                placement: key,
                slot,
                revision: wanted.name,
                trust_turn,
                result,
            }
        });
    }

    /// A preparation has come to machine code, or not.
    pub(super) async fn prepared(&mut self, preparation: Preparation) {
        let Preparation {
            placement: key,
            slot,
            revision,
            trust_turn,
            result,
        } = preparation;
        let Some(facts) = self.slots.get_mut(&key).filter(|facts| facts.id == slot) else {
            return;
        };
        match result {
            Ok(prepared) => {
                let Prepared {
                    order,
                    code,
                    directories,
                    loaded,
                    judged,
                    doubt,
                } = *prepared;
                facts.judged.insert(revision.clone(), judged);
                facts
                    .doubts
                    .extend(doubt.map(|doubt| (revision.clone(), doubt)));
                let run = loaded.document.run().map(|(_, run)| run.restart_policy);
                let running = self.running.slots.get_mut(&key);
                if let Some(known) = running.and_then(|slot| slot.revisions.get_mut(&revision)) {
                    known.run = run;
                    known.listens = loaded.listens();
                }
                self.provided(&key, loaded);
                let message = ToWorker::Prepare {
                    slot,
                    revision: Box::new(order),
                };
                let code = std::iter::once(code.into_fd());
                self.tell(message, code.chain(directories).collect()).await;
            }
            Err(error) => {
                let failure = Failure {
                    reason: error.reason(),
                    message: printable(&error.to_string()),
                    due: false,
                };
                self.settle(&key, &revision, Some(failure));
                if trust_turn != self.trust_turn {
                    self.hasten(&key, &revision);
                }
            }
        }
    }

    async fn drain(&mut self, key: &PlacementKey, name: String) {
        let (Some(facts), Some(running)) =
            (self.slots.get_mut(key), self.running.slots.get_mut(key))
        else {
            return;
        };
        let slot = facts.id;
        let loaded = facts.loaded.get(&name);
        let grace_seconds = loaded.map_or(NO_GRACE, Loaded::grace_seconds);
        facts.judged.remove(&name);
        facts.doubts.remove(&name);
        self.retries.remove(&(key.clone(), name.clone()));
        match running.revisions.get_mut(&name) {
            Some(revision) if revision.phase == Phase::Prepared => {
                revision.phase = Phase::Draining;
                self.tell(
                    ToWorker::Drain {
                        slot,
                        revision: name,
                        grace_seconds,
                    },
                    Vec::new(),
                )
                .await;
            }
            // What never ran needs no drain.
            Some(_) => {
                running.revisions.remove(&name);
                self.let_go(key, &name, None);
            }
            None => {}
        }
    }

    async fn close(&mut self, key: PlacementKey) {
        let (Some(facts), Some(running)) = (self.slots.get(&key), self.running.slots.get_mut(&key))
        else {
            return;
        };
        running.closing = true;
        let graces = facts.loaded.values().map(Loaded::grace_seconds);
        let grace_seconds = graces.max().unwrap_or(NO_GRACE);
        // Nobody calls what listens nowhere, so nobody has to notice first.
        let linger = match running.ports.is_empty() {
            true => Duration::ZERO,
            false => self.shutdown_delay,
        };
        // The worker's own descriptor goes on accepting for the propagation delay; after it
        // closes that one, callers are refused at once instead of waiting here.
        self.sockets.close(&key);
        let linger = u32::try_from(linger.as_secs()).unwrap_or(u32::MAX);
        let message = ToWorker::Close {
            slot: facts.id,
            linger_seconds: linger,
            grace_seconds,
        };
        self.tell(message, Vec::new()).await;
    }
}
