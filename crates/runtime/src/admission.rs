//! Who may start a call now: slots per component, and of the node.
//!
//! A few slots are guaranteed to each component, the rest is shared, at most a part of it
//! by one, and at most a part by the components of one namespace. Knows nothing of memory (that is `limits`) or CPU (that is `cpu`). `component`
//! asks before it makes an instance.

use crate::outcome::Outcome;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// A counter with a limit, at which callers wait in line.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    taken: AtomicU32,
    limit: AtomicU32,
    waiting: AtomicU32,
    freed: Notify,
}

/// The node's slots.
#[derive(Debug)]
pub(crate) struct NodeSlots {
    total: u32,
    guaranteed: u32,
    burst_limit: u32,
    namespace_limit: u32,
    wait: Duration,
    queue: u32,
    components: AtomicU32,
    /// Slots beyond the guaranteed ones.
    shared: Gate,
    /// The part of them that each namespace has; gone with its last component.
    namespaces: Mutex<HashMap<String, Weak<Gate>>>,
}

/// The slots of one component.
#[derive(Debug)]
pub(crate) struct Slots {
    node: Arc<NodeSlots>,
    /// What the component was granted: perReplica.concurrency times replicas.
    granted: AtomicU32,
    own: Gate,
    namespace: Arc<Gate>,
    guaranteed_taken: AtomicU32,
}

/// How long a caller waits. Most need not, so the clock is asked when one first has to.
#[derive(Debug)]
pub(crate) enum Patience {
    For(Duration),
    Until(Instant),
}

/// The right to have one instance.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    share: Share,
}

/// Where a slot comes from, besides the component's own grant.
#[derive(Debug, Clone, Copy)]
enum Share {
    /// Not decided yet.
    None,
    Guaranteed,
    /// A place in the namespace's part, and not yet in what is shared.
    Namespace,
    Node,
}

impl Gate {
    pub(crate) fn with_limit(limit: u32) -> Gate {
        Gate {
            limit: AtomicU32::new(limit),
            ..Gate::default()
        }
    }

    pub(crate) fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::SeqCst);
        self.freed.notify_one();
    }

    fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn try_take(&self) -> bool {
        let limit = self.limit.load(Ordering::SeqCst);
        let below = |taken: u32| (taken < limit).then(|| taken + 1);
        self.taken
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, below)
            .is_ok()
    }

    /// Takes a place, waiting in line as long as there is patience. At most `queue` wait.
    pub(crate) async fn take(&self, patience: &mut Patience, queue: u32) -> bool {
        // Nobody overtakes those who wait.
        if self.waiting.load(Ordering::SeqCst) == 0 && self.try_take() {
            return true;
        }
        let Some(_waiting) = Waiting::enter(&self.waiting, queue) else {
            return false;
        };
        loop {
            let freed = self.freed.notified();
            if self.try_take() {
                self.wake_next();
                return true;
            }
            if timeout_at(patience.end(), freed).await.is_err() {
                return false;
            }
        }
    }

    pub(crate) fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_one();
        }
    }

    /// A place may be left for the next in line, when several were given back at once.
    fn wake_next(&self) {
        if self.waiting.load(Ordering::SeqCst) > 1
            && self.taken() < self.limit.load(Ordering::SeqCst)
        {
            self.freed.notify_one();
        }
    }
}

impl Patience {
    /// When it ends, from now on.
    fn end(&mut self) -> Instant {
        let end = match *self {
            Patience::For(wait) => Instant::now() + wait,
            Patience::Until(end) => end,
        };
        *self = Patience::Until(end);
        end
    }
}

/// Counts someone in a queue, and out again even when the future is dropped.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicU32, limit: u32) -> Option<Waiting<'a>> {
        let below = |waiting: u32| (waiting < limit).then(|| waiting + 1);
        count
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, below)
            .ok()?;
        Some(Waiting(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl NodeSlots {
    pub(crate) fn new(config: &crate::Config) -> Arc<NodeSlots> {
        let total = config.live_stores;
        // A small node is not worth dividing: below this one may have it all.
        let part = |percent: u32| {
            let part = u64::from(total) * u64::from(percent) / 100;
            u32::try_from(part).unwrap_or(total).max(total.min(128))
        };
        Arc::new(NodeSlots {
            total,
            guaranteed: config.guaranteed_slots,
            burst_limit: part(config.burst_percent),
            namespace_limit: part(config.namespace_percent),
            wait: config.slot_wait,
            queue: config.slot_queue,
            components: AtomicU32::new(0),
            shared: Gate::with_limit(total),
            namespaces: Mutex::default(),
        })
    }

    fn namespace(&self, name: &str) -> Arc<Gate> {
        let mut namespaces = self
            .namespaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        namespaces.retain(|_, gate| gate.strong_count() > 0);
        if let Some(gate) = namespaces.get(name).and_then(Weak::upgrade) {
            return gate;
        }
        let gate = Arc::new(Gate::with_limit(self.namespace_limit));
        namespaces.insert(name.to_owned(), Arc::downgrade(&gate));
        gate
    }

    /// Guarantees take from what is shared, but never more than half of it.
    fn divide(&self) {
        let components = self.components.load(Ordering::SeqCst);
        let promised = components
            .saturating_mul(self.guaranteed)
            .min(self.total / 2);
        self.shared.set_limit(self.total - promised);
    }
}

impl Slots {
    pub(crate) fn new(node: &Arc<NodeSlots>, namespace: &str, granted: u32) -> Arc<Slots> {
        node.components.fetch_add(1, Ordering::SeqCst);
        node.divide();
        Arc::new(Slots {
            node: Arc::clone(node),
            granted: AtomicU32::new(granted),
            own: Gate::with_limit(granted.min(node.burst_limit)),
            namespace: node.namespace(namespace),
            guaranteed_taken: AtomicU32::new(0),
        })
    }

    pub(crate) fn set_granted(&self, granted: u32) {
        self.granted.store(granted, Ordering::SeqCst);
        self.own.set_limit(granted.min(self.node.burst_limit));
    }

    /// Calls in progress.
    pub(crate) fn live(&self) -> u32 {
        self.own.taken()
    }

    /// A slot, at once or within the time that callers may wait.
    ///
    /// # Errors
    /// `ConcurrencyLimit` when the component's own grant is used up, `NodeSaturated` when it
    /// is the node that has no more to give.
    pub(crate) async fn take(self: &Arc<Slots>) -> Result<Slot, Outcome> {
        let node = &self.node;
        let patience = &mut Patience::For(node.wait);
        if !self.own.take(patience, node.queue).await {
            let granted = self.granted.load(Ordering::SeqCst);
            return Err(if granted <= node.burst_limit {
                Outcome::ConcurrencyLimit
            } else {
                Outcome::NodeSaturated
            });
        }
        // From here on dropping `slot` gives back what was taken, at whatever point.
        let mut slot = Slot {
            slots: Arc::clone(self),
            share: Share::None,
        };
        let below = |taken: u32| (taken < node.guaranteed).then(|| taken + 1);
        let taken = &self.guaranteed_taken;
        if taken
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, below)
            .is_ok()
        {
            slot.share = Share::Guaranteed;
            return Ok(slot);
        }
        if !self.namespace.take(patience, node.queue).await {
            return Err(Outcome::NodeSaturated);
        }
        slot.share = Share::Namespace;
        if node.shared.take(patience, node.queue).await {
            slot.share = Share::Node;
            return Ok(slot);
        }
        Err(Outcome::NodeSaturated)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.node.components.fetch_sub(1, Ordering::SeqCst);
        self.node.divide();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        match self.share {
            Share::None => {}
            Share::Guaranteed => {
                self.slots.guaranteed_taken.fetch_sub(1, Ordering::SeqCst);
            }
            Share::Namespace => self.slots.namespace.give_back(),
            Share::Node => {
                self.slots.node.shared.give_back();
                self.slots.namespace.give_back();
            }
        }
        self.slots.own.give_back();
    }
}
