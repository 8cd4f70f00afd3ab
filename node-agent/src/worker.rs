//! The serving half of the agent: slots, their listeners, and the way of a request into a
//! component. It has no token and opens no file; sockets, machine code and values come from
//! control in messages. When control is gone it drops everything, for control opens it again.

mod audit;
mod dispatch;
mod given;
mod listener;
mod load;
mod runs;
mod slot;
mod spawner;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use runtime::serve::Settings;
use runtime::{AuditSink, Component, Output, Runtime, Spawner, Stats, Uses};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ledger::Ledger;
use crate::message::{Envelope, Figures, FromWorker, PROTOCOL, SlotId, ToWorker, WorkerSize};
use crate::transport::Link;
use given::Refresh;
use listener::Connections;
use load::load;
use slot::Slot;

/// Connections of all components of this node: each costs a descriptor and buffers.
const CONNECTIONS: usize = 5_000;

/// Why a worker cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The runtime cannot be made.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// Control is of another version of the agent.
    #[error(
        "control speaks version {theirs} of the messages between the processes, this worker {PROTOCOL}: start both from one image"
    )]
    OtherVersion {
        /// What control speaks.
        theirs: u32,
    },
}

/// What the tasks of a worker share.
#[derive(Clone)]
struct Shared {
    runtime: Arc<Runtime>,
    settings: Settings,
    connections: Arc<Connections>,
    ledger: Option<Ledger>,
    outgoing: mpsc::Sender<Envelope<FromWorker>>,
    spawners: mpsc::Sender<OwnedFd>,
    tasks: TaskTracker,
    /// Cancelled when the worker ends: everything that is still open is dropped.
    end: CancellationToken,
}

/// Serves until control is gone.
///
/// # Errors
/// When the runtime cannot be made, or control is of another version.
pub async fn serve(
    output: Output,
    mut link: Link<FromWorker, ToWorker>,
) -> Result<(), WorkerError> {
    // Control says first how large everything is.
    match link.incoming.recv().await {
        Some(welcome) => serve_welcomed(output, welcome, link).await,
        None => Ok(()),
    }
}

/// The same after the first message, which a process takes before it is confined.
///
/// # Errors
/// As [`serve`].
pub async fn serve_welcomed(
    output: Output,
    welcome: Envelope<ToWorker>,
    link: Link<FromWorker, ToWorker>,
) -> Result<(), WorkerError> {
    let hello = FromWorker::Hello { protocol: PROTOCOL };
    if link.outgoing.send(hello.into()).await.is_err() {
        return Ok(());
    }
    let Envelope {
        message:
            ToWorker::Welcome {
                protocol,
                size,
                network,
                volumes,
                spawner,
            },
        fds,
    } = welcome
    else {
        return Ok(());
    };
    if protocol != PROTOCOL {
        return Err(WorkerError::OtherVersion { theirs: protocol });
    }
    let WorkerSize {
        guest_memory,
        cores,
        p3,
    } = size;
    let (spawners, connections) = mpsc::channel(spawner::CONNECTIONS);
    let (to_spawner, orders) = Spawner::channel();
    let config = runtime::Config {
        p3,
        network: network.into(),
        spawner: spawner.then_some(to_spawner),
        ..runtime::Config::for_budget(guest_memory, cores)
    };
    let settings = config.serve.clone();
    let (sink, records) = AuditSink::channel(audit::WAITING);
    let shared = Shared {
        runtime: Runtime::new(config, output, sink)?,
        settings,
        connections: Arc::new(Connections::new(Arc::new(Semaphore::new(CONNECTIONS)))),
        ledger: fds.into_iter().nth(volumes.len()).map(Ledger::received),
        outgoing: link.outgoing.clone(),
        spawners,
        tasks: TaskTracker::new(),
        end: CancellationToken::new(),
    };
    let telling = audit::tell(records, shared.outgoing.clone());
    shared
        .tasks
        .spawn(shared.end.clone().run_until_cancelled_owned(telling));
    let forwarding = spawner::forward(orders, connections);
    shared
        .tasks
        .spawn(shared.end.clone().run_until_cancelled_owned(forwarding));
    follow(&shared, link).await;
    Ok(())
}

/// Does what control says until it is gone, then drops everything.
async fn follow(shared: &Shared, mut link: Link<FromWorker, ToWorker>) {
    let mut slots: BTreeMap<SlotId, Arc<Slot>> = BTreeMap::new();
    let (refreshes, to_refresh) = mpsc::channel(given::REFRESHES);
    shared.tasks.spawn(given::refresh_all(to_refresh));
    while let Some(Envelope { message, fds }) = link.incoming.recv().await {
        match message {
            // Said once, before everything else.
            ToWorker::Welcome { .. } => {}
            ToWorker::Spawner => {
                for connection in fds {
                    let _ = shared.spawners.send(connection).await;
                }
            }
            ToWorker::Open { slot: id, triggers } => {
                let slot = slots.entry(id).or_insert_with(|| Arc::new(Slot::new(id)));
                if triggers.len() == fds.len() {
                    listener::open(shared, slot, triggers.into_iter().zip(fds).collect());
                } else {
                    tracing::error!(slot = id.0, "a slot came with other sockets than triggers");
                }
            }
            ToWorker::Block { addresses } => {
                let networks = addresses.into_iter().map(Into::into).collect();
                shared.runtime.block(networks);
            }
            ToWorker::Prepare { slot: id, revision } => {
                if let Some(slot) = slots.get(&id) {
                    let (shared, slot) = (shared.clone(), Arc::clone(slot));
                    shared.tasks.clone().spawn(async move {
                        let name = revision.name.clone();
                        let loaded = load(&shared, id, fds, *revision).await;
                        let refused = match loaded {
                            Ok(component) => {
                                slot.add(name.clone(), component);
                                None
                            }
                            Err(refused) => Some(refused),
                        };
                        shared
                            .say(FromWorker::Prepared {
                                slot: id,
                                revision: name,
                                refused,
                            })
                            .await;
                    });
                }
            }
            ToWorker::Refresh {
                slot: id,
                revision,
                provision,
            } => {
                if let Some(slot) = slots.get(&id) {
                    let refresh = Refresh {
                        slot: Arc::clone(slot),
                        revision,
                        provision: *provision,
                        fds,
                    };
                    let _ = refreshes.send(refresh).await;
                }
            }
            ToWorker::Weigh {
                slot: id,
                turn,
                weights,
                replicas,
            } => {
                if let Some(slot) = slots.get(&id) {
                    slot.weigh(&weights, replicas);
                    shared.say_later(FromWorker::Weighed { slot: id, turn });
                }
            }
            ToWorker::Start { slot: id, order } => {
                if let Some(slot) = slots.get(&id) {
                    runs::start(shared, slot, order);
                }
            }
            ToWorker::End {
                slot: id,
                run,
                wants_state,
                grace_seconds,
            } => {
                if let Some(slot) = slots.get(&id) {
                    let grace = Duration::from_secs(grace_seconds.into());
                    slot.runs().end(shared, run, wants_state, grace);
                }
            }
            ToWorker::Drain {
                slot: id,
                revision,
                grace_seconds,
            } => {
                if let Some(drained) = slots.get(&id).map(|slot| slot.take(&revision)) {
                    let shared = shared.clone();
                    let grace = Duration::from_secs(grace_seconds.into());
                    shared.tasks.clone().spawn(async move {
                        let (cut, figures) = match drained {
                            Some(serving) => {
                                let cut = serving.drain(grace).await;
                                (cut, Some(figures(id, &revision, serving.component())))
                            }
                            None => (0, None),
                        };
                        shared
                            .say(FromWorker::Drained {
                                slot: id,
                                revision,
                                cut,
                                figures,
                            })
                            .await;
                    });
                }
            }
            ToWorker::Close {
                slot: id,
                linger_seconds,
                grace_seconds,
            } => {
                if let Some(slot) = slots.remove(&id) {
                    let shared = shared.clone();
                    let linger = Duration::from_secs(linger_seconds.into());
                    let grace = Duration::from_secs(grace_seconds.into());
                    shared.tasks.clone().spawn(async move {
                        slot.close(linger, grace).await;
                        let figures = slot.figures();
                        // Directories of its volumes are let go before control hears of it.
                        drop(slot);
                        shared.say(FromWorker::Closed { slot: id, figures }).await;
                    });
                }
            }
            ToWorker::Count => {
                let revisions = slots.values().flat_map(|slot| slot.figures()).collect();
                shared.say_later(FromWorker::Figures { revisions });
            }
        }
    }
    drop(refreshes);
    shared.end.cancel();
    shared.tasks.close();
    for slot in slots.values() {
        slot.cut();
    }
    shared.tasks.wait().await;
}

impl Shared {
    /// Control may be gone; then the worker ends anyway.
    async fn say(&self, message: FromWorker) {
        let _ = self.outgoing.send(message.into()).await;
    }

    /// For the loop that follows control: control may be busy sending, and the loop must go on
    /// receiving.
    fn say_later(&self, message: FromWorker) {
        let shared = self.clone();
        self.tasks.spawn(async move { shared.say(message).await });
    }
}

/// The counters of one revision as a message.
fn figures(slot: SlotId, revision: &str, component: &Component) -> Figures {
    let stats = component.stats();
    Figures {
        slot: slot.0,
        revision: revision.to_owned(),
        outcomes: stats
            .outcomes
            .iter()
            .map(|(outcome, count)| (outcome.name().to_owned(), *count))
            .collect(),
        errors: stats.errors,
        latency: stats.latencies.iter().copied().collect(),
        live: stats.live.into(),
        memory: stats.memory,
        cpu_micros: stats.cpu_micros,
        allowed: counts(&stats, |uses| uses.allowed),
        denied: counts(&stats, |uses| uses.denied),
        lost_records: stats.lost_records,
    }
}

/// Uses by capability, without those that never happened.
fn counts(stats: &Stats, of: impl Fn(&Uses) -> u64) -> BTreeMap<String, u64> {
    let uses = stats.uses.iter().filter(|uses| of(uses) > 0);
    uses.map(|uses| (uses.capability.name().to_owned(), of(uses)))
        .collect()
}
