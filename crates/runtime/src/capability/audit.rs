//! What components were allowed and denied, for whoever keeps the audit log.
//!
//! The reader may be slow and a guest may flood: what goes on to the reader is bounded and
//! losses are counted, but the first of a kind is never lost. Guest text is escaped and cut
//! here. Written to by the modules of `capability`; read by the node agent, which adds who
//! signed the code and writes the file.

use crate::caller::Caller;
use crate::output::is_unprintable;
use crate::workload::Identity;
use capability::Rule;
use std::collections::{HashSet, VecDeque};
use std::fmt::{self, Write as _};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};
use tokio::sync::Notify;

/// Records per second of one component, and at once after it was quiet. The first of a kind
/// is not counted against it.
const RATE: u64 = 10;
const BURST: u64 = 100;
/// Characters of an object; what is longer is cut.
const OBJECT_MAX: usize = 256;
/// Objects of a component whose first use is remembered. Later ones are counted as lost.
const FIRST_USES: usize = 1024;

/// Which uses of a component are recorded. Denials always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuditLevel {
    /// Denials only.
    Denials,
    /// Denials, and the first use of each object.
    #[default]
    FirstUse,
    /// Denials, every use, and when the component is loaded and dropped.
    All,
}

/// What was used or tried. A closed list: the names are metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Capability {
    /// A path: opened to read, listed, asked about.
    FileRead,
    /// A path: opened to write, made, changed, moved or removed.
    FileWrite,
    /// A destination: asked for by HTTP or connected to.
    Network,
    /// A name that was to be resolved.
    NameLookup,
    /// A credential that the host added to a request.
    Credential,
    /// A variable that was given and is not in the manifest, so that it was withheld.
    Environment,
    /// An executable that was to be started.
    Spawn,
    /// A signal to what was started.
    Signal,
    /// The component itself: loaded, dropped.
    Lifecycle,
}

/// One use or attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// When.
    pub time: SystemTime,
    /// Which component, revision and node.
    pub identity: Arc<Identity>,
    /// What kind of thing.
    pub capability: Capability,
    /// Which thing: a path, a destination, a name. Guest text, escaped and at most 256
    /// characters.
    pub object: String,
    /// What admitted or denied it; see `Rule::allows`.
    pub rule: Rule,
    /// Who called, when somebody did.
    pub caller: Option<Arc<Caller>>,
}

/// Where the records of all components go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuditSink(Option<Arc<Queue>>);

/// The reader's end of an [`AuditSink`].
#[derive(Debug)]
pub struct AuditRecords(Arc<Queue>);

/// How often something was allowed or denied since the component was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uses {
    /// What kind of thing.
    pub capability: Capability,
    /// Times it was allowed.
    pub allowed: u64,
    /// Times it was denied.
    pub denied: u64,
}

/// The record of one component. What its calls note here is counted, thinned out by its
/// level and rate, and sent on.
#[derive(Debug)]
pub(crate) struct Audit {
    sink: AuditSink,
    identity: Arc<Identity>,
    level: AuditLevel,
    allowed: [AtomicU64; Capability::ALL.len()],
    denied: [AtomicU64; Capability::ALL.len()],
    lost: AtomicU64,
    seen: Mutex<Seen>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Queue {
    waiting: Mutex<VecDeque<AuditRecord>>,
    capacity: usize,
    lost: AtomicU64,
    arrived: Notify,
}

/// What one component has done before, and how much it may still record.
#[derive(Debug)]
struct Seen {
    /// Bounded by the closed lists that it is made of, and by the names of policies.
    kinds: HashSet<(Capability, Rule)>,
    /// Hashes of objects that were used.
    used: HashSet<u64>,
    allowance: u64,
    refilled: Instant,
}

/// How a record is to be treated.
enum Weight {
    /// Never lost.
    First,
    /// Lost when the component or all together record too much.
    Ordinary,
}

impl Capability {
    /// All of them.
    pub const ALL: [Capability; 9] = [
        Capability::FileRead,
        Capability::FileWrite,
        Capability::Network,
        Capability::NameLookup,
        Capability::Credential,
        Capability::Environment,
        Capability::Spawn,
        Capability::Signal,
        Capability::Lifecycle,
    ];

    /// The name in records and figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Capability::FileRead => "file-read",
            Capability::FileWrite => "file-write",
            Capability::Network => "network",
            Capability::NameLookup => "name-lookup",
            Capability::Credential => "credential",
            Capability::Environment => "environment",
            Capability::Spawn => "spawn",
            Capability::Signal => "signal",
            Capability::Lifecycle => "lifecycle",
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl AuditSink {
    /// Throws everything away.
    #[must_use]
    pub fn discard() -> AuditSink {
        AuditSink(None)
    }

    /// Records wait for the reader; while `capacity` of them do, only the first of a kind
    /// is taken.
    #[must_use]
    pub fn channel(capacity: usize) -> (AuditSink, AuditRecords) {
        let queue = Arc::new(Queue {
            waiting: Mutex::default(),
            capacity,
            lost: AtomicU64::new(0),
            arrived: Notify::new(),
        });
        (AuditSink(Some(Arc::clone(&queue))), AuditRecords(queue))
    }
}

impl AuditRecords {
    /// Waits until there are records, and takes at most `limit` of them, oldest first.
    /// Losing the future loses no record.
    pub async fn next(&self, limit: usize) -> Vec<AuditRecord> {
        loop {
            let records = self.take(limit);
            if !records.is_empty() {
                return records;
            }
            self.0.arrived.notified().await;
        }
    }

    /// Takes at most `limit` of the records that wait, oldest first.
    #[must_use]
    pub fn take(&self, limit: usize) -> Vec<AuditRecord> {
        let mut waiting = self
            .0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = limit.min(waiting.len());
        waiting.drain(..count).collect()
    }

    /// Records that were lost because too many waited.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl Queue {
    fn push(&self, record: AuditRecord, weight: &Weight) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = matches!(weight, Weight::First) || waiting.len() < self.capacity;
        if taken {
            waiting.push_back(record);
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        drop(waiting);
        // A permit is kept when nobody waits, so no arrival is missed.
        self.arrived.notify_one();
        taken
    }
}

impl Audit {
    pub(crate) fn new(sink: AuditSink, identity: Identity, level: AuditLevel) -> Arc<Audit> {
        Arc::new(Audit {
            sink,
            identity: Arc::new(identity),
            level,
            allowed: Default::default(),
            denied: Default::default(),
            lost: AtomicU64::new(0),
            seen: Mutex::new(Seen {
                kinds: HashSet::new(),
                used: HashSet::new(),
                allowance: BURST,
                refilled: Instant::now(),
            }),
            hasher: RandomState::new(),
        })
    }

    /// Counts a use or an attempt, and records it as far as the level asks for it.
    /// `object` may be guest text of any length.
    pub(crate) fn note(
        &self,
        capability: Capability,
        object: &str,
        rule: Rule,
        caller: Option<&Arc<Caller>>,
    ) {
        let counters = match rule.allows() {
            true => &self.allowed,
            false => &self.denied,
        };
        if let Some(counter) = counters.get(capability.index()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let Some(queue) = &self.sink.0 else { return };
        let Some(weight) = self.weigh(capability, object, &rule) else {
            return;
        };
        let record = AuditRecord {
            time: SystemTime::now(),
            identity: Arc::clone(&self.identity),
            capability,
            object: printable(object),
            rule,
            caller: caller.cloned(),
        };
        if !queue.push(record, &weight) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How it is to be recorded, if at all.
    fn weigh(&self, capability: Capability, object: &str, rule: &Rule) -> Option<Weight> {
        let lifecycle = capability == Capability::Lifecycle;
        // Somebody else's secret was used: that is never left out.
        let lent = capability == Capability::Credential;
        match (self.level, rule.allows()) {
            (AuditLevel::Denials, true) if !lent => return None,
            (AuditLevel::FirstUse, true) if lifecycle => return None,
            _ => {}
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if self.level == AuditLevel::FirstUse && rule.allows() && !lent {
            let hash = self.hasher.hash_one((capability, object));
            if seen.used.contains(&hash) {
                return None;
            }
            if seen.used.len() >= FIRST_USES {
                self.lost.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            seen.used.insert(hash);
        }
        if seen.kinds.insert((capability, rule.clone())) {
            return Some(Weight::First);
        }
        if seen.allow(Instant::now()) {
            return Some(Weight::Ordinary);
        }
        self.lost.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// How often each thing was allowed and denied.
    pub(crate) fn uses(&self) -> Vec<Uses> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Capability::ALL
            .into_iter()
            .zip(self.allowed.iter().zip(&self.denied))
            .map(|(capability, (allowed, denied))| Uses {
                capability,
                allowed: count(allowed),
                denied: count(denied),
            })
            .collect()
    }

    /// Records of this component that were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Seen {
    fn allow(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.refilled).as_millis();
        let earned = u64::try_from(elapsed)
            .unwrap_or(u64::MAX)
            .saturating_mul(RATE)
            / 1_000;
        if earned > 0 {
            self.allowance = self.allowance.saturating_add(earned).min(BURST);
            self.refilled = now;
        }
        match self.allowance.checked_sub(1) {
            Some(left) => {
                self.allowance = left;
                true
            }
            None => false,
        }
    }
}

/// Guest text as it may stand in a log: nothing in it moves a cursor or turns the reading
/// direction, whatever the reader escapes himself.
fn printable(text: &str) -> String {
    let mut object = String::with_capacity(text.len().min(OBJECT_MAX));
    for (length, character) in text.chars().enumerate() {
        if length == OBJECT_MAX {
            object.push('…');
            break;
        }
        if is_unprintable(character) {
            let _ = write!(object, "\\u{{{:x}}}", u32::from(character));
        } else {
            object.push(character);
        }
    }
    object
}

#[cfg(test)]
mod tests;
