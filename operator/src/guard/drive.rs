//! Keeps the guard Pods as planned, while this replica leads.
//!
//! The only part of `guard` with a client. Started by `app`; woken by changes of
//! placements, guards and nodes. What fails is planned anew at the next look.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pod::{end_seconds, has_ended};
use super::{Image, Observed, Plan, holdings, plan};
use crate::account;
use crate::caches::Caches;
use crate::node::Nodes;
use crate::reader::Reader;
use crate::writer::{WriteError, Writer};

/// Changes that arrive together are one change of a reservation.
const SETTLE: Duration = Duration::from_millis(500);
/// How often it is looked at again though nothing changed: what failed, and the
/// pause before a guard is replaced.
const TICK: Duration = Duration::from_secs(10);

/// Keeps guards on used nodes, or takes them away without an `image`.
pub async fn run(
    mut image: Option<Image>,
    reader: Reader,
    caches: Caches,
    writer: Writer,
    mut nodes: watch::Receiver<Option<Nodes>>,
    changed: Arc<Notify>,
    shutdown: CancellationToken,
) {
    if let Some(image) = &mut image {
        image.owner = tokio::select! {
            owner = account::known_owner(&reader, &image.namespace) => owner,
            () = shutdown.cancelled() => return,
        };
    }
    let mut ended: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        // All arms may be dropped: the state is read anew each time.
        tokio::select! {
            () = changed.notified() => tokio::time::sleep(SETTLE).await,
            changed = nodes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(TICK) => {}
            () = shutdown.cancelled() => return,
        }
        let leads = writer.gate().term(Instant::now()).is_ok();
        let known = nodes.borrow_and_update().clone();
        let (true, true, Some(nodes)) = (leads, caches.synced(), known) else {
            continue;
        };
        let observed = observe(&caches, nodes, &mut ended, Instant::now());
        apply(plan(image.as_ref(), &observed), &caches, &writer).await;
    }
}

fn observe(
    caches: &Caches,
    nodes: Nodes,
    ended: &mut BTreeMap<String, Instant>,
    now: Instant,
) -> Observed {
    let guards = caches.guards.all();
    let gone: BTreeMap<String, Instant> = guards
        .iter()
        .filter(|guard| has_ended(guard))
        .filter_map(|guard| guard.uid())
        .map(|uid| {
            let since = ended.get(&uid).copied().unwrap_or(now);
            (uid, since)
        })
        .collect();
    *ended = gone;
    let holdings = holdings(&nodes, &caches.placements.all(), |key| {
        caches.components.get(&key.namespace, &key.name)
    });
    Observed {
        holdings,
        owners: caches
            .wasm_nodes
            .all()
            .iter()
            .filter_map(|node| Some((node.name_any(), node.uid()?)))
            .collect(),
        ended: ended
            .iter()
            .map(|(uid, since)| (uid.clone(), now.saturating_duration_since(*since)))
            .collect(),
        nodes,
        guards,
    }
}

async fn apply(plan: Plan, caches: &Caches, writer: &Writer) {
    let Plan {
        create,
        resize,
        end,
    } = plan;
    for guard in &end {
        log(
            "ended",
            &guard.name_any(),
            writer.end(guard, end_seconds(guard)).await,
        );
    }
    for guard in &create {
        match writer.create(guard).await {
            Ok(guard) => caches.guards.written(guard),
            // The last one of this name is still on its way out.
            Err(WriteError::Conflict) => {}
            Err(error) => log("created", &guard.name_any(), Err(error)),
        }
    }
    for guard in &resize {
        match writer.resize(guard).await {
            Ok(guard) => caches.guards.written(guard),
            Err(error @ (WriteError::NotLeader(_) | WriteError::Deadline)) => {
                log("resized", &guard.name_any(), Err(error));
            }
            // Before Kubernetes 1.33 a Pod cannot be resized: another takes its place.
            Err(_) => log(
                "replaced",
                &guard.name_any(),
                writer.end(guard, end_seconds(guard)).await,
            ),
        }
    }
}

fn log(what: &str, guard: &str, outcome: Result<(), WriteError>) {
    if let Err(error) = outcome {
        tracing::warn!(
            guard,
            error = &error as &dyn std::error::Error,
            "a guard could not be {what}; trying again"
        );
    }
}
