//! What components used and were denied, as this node writes it down. The worker says what
//! happened; whose code it was, who signed it and where it ran comes from control's own books.
//! Called by the reconcile loop, which must not wait for a disk: records go to `log`, denials
//! also to `denials`, which tells the operator.

pub mod denials;
pub mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use capability::Rule;
use crds::component::AuditLevel;
use crds::revision::ComponentIdentity;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc;

use super::prepare::Loaded;
use crate::message::{Caller, Figures, Note};
use crate::text::printable;
use denials::Denied;
use log::{Log, Weight};

/// How long records of a revision that was let go are still expected: those of its last
/// instances are on their way.
const AFTERMATH: Duration = Duration::from_secs(60);
/// Kinds of one component whose first record is never lost. The lists they are made of are
/// closed, but for names of policies.
const KINDS: usize = 256;

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// When it happened, in UTC.
    pub time: Timestamp,
    /// Name of the component.
    pub component: String,
    /// Its namespace.
    pub namespace: String,
    /// Its revision.
    pub revision: String,
    /// The manifest whose code it was.
    pub digest: String,
    /// The keys and identities that signed it.
    pub signer: String,
    /// Where it ran.
    pub node: String,
    /// What kind of thing was used.
    pub capability: String,
    /// Which thing. Guest text, escaped and cut.
    pub object: String,
    /// Whether it was let through.
    pub allowed: bool,
    /// What admitted or denied it.
    pub rule: String,
    /// Who called, when somebody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
}

/// Writes down what the worker says.
#[derive(Debug)]
pub struct Auditor {
    node: String,
    log: Log,
    denials: mpsc::Sender<Denied>,
    authors: BTreeMap<Revision, Author>,
    lost_by_worker: u64,
    lost_before: u64,
}

/// Namespace, component, revision.
type Revision = (String, String, String);

/// Whose code it is.
#[derive(Debug)]
struct Author {
    component: ComponentIdentity,
    digest: String,
    signer: String,
    level: AuditLevel,
    kinds: BTreeSet<(String, Rule)>,
    /// Since when it is no more loaded.
    retired: Option<Instant>,
}

impl Auditor {
    /// Writes to `log`, and says to `denials` what was denied.
    pub fn new(node: String, log: Log, denials: mpsc::Sender<Denied>) -> Self {
        Self {
            node,
            log,
            denials,
            authors: BTreeMap::new(),
            lost_by_worker: 0,
            lost_before: 0,
        }
    }

    /// A revision is being loaded: what it does from now on is of this code.
    pub(super) fn loaded(&mut self, loaded: &Loaded) {
        let document = &loaded.document;
        let author = Author {
            component: document.component.clone(),
            digest: document.digest.clone(),
            signer: loaded.signers.clone(),
            level: document.audit,
            kinds: BTreeSet::new(),
            retired: None,
        };
        self.authors.insert(
            revision(&document.component, &document.revision_name()),
            author,
        );
    }

    /// A revision is let go. With its last counters, what it used is written down.
    pub(super) fn retired(
        &mut self,
        component: &ComponentIdentity,
        name: &str,
        figures: Option<&Figures>,
    ) {
        let now = Instant::now();
        let revision = revision(component, name);
        if let Some(author) = self.authors.get_mut(&revision) {
            author.retired = Some(now);
        }
        if let Some(figures) = figures {
            self.usage(&revision, figures);
        }
        self.authors.retain(|_, author| {
            let since = author.retired.map(|at| now.duration_since(at));
            since.is_none_or(|since| since < AFTERMATH)
        });
    }

    /// The worker is gone, and with it everything that it had loaded.
    pub(super) fn worker_lost(&mut self) {
        let now = Instant::now();
        for author in self.authors.values_mut() {
            author.retired.get_or_insert(now);
        }
        self.lost_before += std::mem::take(&mut self.lost_by_worker);
    }

    /// The worker says what happened.
    pub(super) fn heard(&mut self, notes: Vec<Note>, lost: u64) {
        self.lost_by_worker = self.lost_by_worker.max(lost);
        for note in notes {
            self.note(note);
        }
    }

    /// Records that were lost on this node since the start, because too many came.
    pub(super) fn lost(&self) -> u64 {
        let by_workers = self.lost_before.saturating_add(self.lost_by_worker);
        by_workers.saturating_add(self.log.lost())
    }

    fn note(&mut self, note: Note) {
        let Note {
            time_millis,
            namespace,
            component,
            revision,
            capability,
            object,
            rule,
            caller,
        } = note;
        // Labels are words of a closed list, and what was never loaded did nothing.
        let known = runtime::Capability::ALL.into_iter();
        let Some(capability) = known.map(|one| one.name()).find(|name| *name == capability) else {
            return;
        };
        let revision = (namespace, component, revision);
        let Some(author) = self.authors.get_mut(&revision) else {
            return;
        };
        let object = printable(&object);
        if !rule.allows() {
            // Full: the operator hears of others, and the log has this one.
            let _ = self.denials.try_send(Denied {
                component: author.component.clone(),
                capability,
                object: object.clone(),
                rule: printable(&rule.to_string()),
            });
        }
        let kind = (capability.to_owned(), rule.clone());
        let is_first = author.kinds.len() < KINDS && author.kinds.insert(kind);
        let weight = if is_first {
            Weight::First
        } else {
            Weight::Ordinary
        };
        let millis = i64::try_from(time_millis).unwrap_or(i64::MAX);
        let record = Record {
            time: Timestamp::from_millisecond(millis).unwrap_or_else(|_| Timestamp::now()),
            namespace: revision.0,
            component: revision.1,
            revision: revision.2,
            digest: author.digest.clone(),
            signer: author.signer.clone(),
            node: self.node.clone(),
            capability: capability.to_owned(),
            object,
            allowed: rule.allows(),
            rule: printable(&rule.to_string()),
            caller: caller.map(|caller| Caller {
                trigger: printable(&caller.trigger),
                ..caller
            }),
        };
        self.log.write(record, weight);
    }

    fn usage(&mut self, revision: &Revision, figures: &Figures) {
        let Some(author) = self.authors.get(revision) else {
            return;
        };
        if !matches!(author.level, AuditLevel::All | AuditLevel::Unknown) {
            return;
        }
        let calls = figures
            .outcomes
            .values()
            .fold(0, |sum: u64, count| sum.saturating_add(*count));
        let (namespace, component, name) = revision.clone();
        let record = Record {
            time: Timestamp::now(),
            namespace,
            component,
            revision: name,
            digest: author.digest.clone(),
            signer: author.signer.clone(),
            node: self.node.clone(),
            capability: "usage".to_owned(),
            object: format!("calls={calls} cpuMicroseconds={}", figures.cpu_micros),
            allowed: true,
            rule: Rule::Granted.to_string(),
            caller: None,
        };
        self.log.write(record, Weight::Ordinary);
    }
}

fn revision(component: &ComponentIdentity, name: &str) -> Revision {
    (
        component.namespace.clone(),
        component.name.clone(),
        name.to_owned(),
    )
}

#[cfg(test)]
mod tests;
