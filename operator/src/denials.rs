//! What guests were denied, as the agents tell it: gathered per component, and told
//! as Events and numbers.
//!
//! Agents write no Events, and a guest that is denied a thousand times a second must
//! not become as many. Each replica gathers what it is told; `event` says how often
//! it may speak. What is told was checked before to be placed on the node that tells
//! it. Texts come from guests: they are escaped and cut here, whatever the agent did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crds::Reason;
use crds::handover::{ComponentDenials, DENIAL_KINDS_MAX, Denial};
use kube::{Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::caches::Caches;
use crate::component::Key;
use crate::event::Events;
use crate::metrics::Metrics;
use crate::writer::Writer;

/// How often what was gathered is looked at.
const EVERY: Duration = Duration::from_secs(5);
/// Components that denials are gathered of; beyond, they are only counted.
const COMPONENTS_MAX: usize = 10_000;
/// Kinds that one Event names; it holds 1000 bytes.
const NAMED: usize = 3;
/// Nodes that one Event names.
const NODES_MAX: usize = 5;
/// Denials of one kind that one report can add to the numbers: no agent sees more in a
/// reporting period, and a false report must not make them meaningless.
const COUNT_MAX: u64 = 10_000_000;
/// Characters of one text from outside.
const TEXT_MAX: usize = 100;

/// Gathers what agents tell; cheap to clone, all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Denials(Arc<Mutex<BTreeMap<Key, Gathered>>>);

/// What one component was denied since it was last told.
#[derive(Debug, Default)]
struct Gathered {
    /// UID of the component: a later one of its name was denied nothing yet.
    uid: String,
    total: u64,
    /// Capability, object and rule, with how often.
    kinds: BTreeMap<(String, String, String), u64>,
    nodes: BTreeSet<String>,
}

impl Denials {
    /// Takes in what an agent tells of a component that is placed on its `node`.
    pub fn take(&self, node: &str, told: &ComponentDenials) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = &told.component;
        let key = Key::new(&identity.namespace, &identity.name);
        if all.len() >= COMPONENTS_MAX && !all.contains_key(&key) {
            return;
        }
        let gathered = all.entry(key).or_default();
        if gathered.uid != identity.uid {
            *gathered = Gathered {
                uid: identity.uid.clone(),
                ..Gathered::default()
            };
        }
        gathered.total = gathered.total.saturating_add(told.total);
        if gathered.nodes.len() < NODES_MAX {
            gathered.nodes.insert(node.to_owned());
        }
        for denial in told.kinds.iter().take(DENIAL_KINDS_MAX) {
            let Denial {
                capability,
                object,
                rule,
                count,
            } = denial;
            let kind = (harmless(capability), harmless(object), harmless(rule));
            if gathered.kinds.len() < DENIAL_KINDS_MAX || gathered.kinds.contains_key(&kind) {
                let counted = gathered.kinds.entry(kind).or_default();
                *counted = counted.saturating_add(*count);
            }
        }
    }

    /// Tells what was gathered, as Events, until `shutdown`.
    pub async fn tell(
        self,
        client: Client,
        identity: String,
        caches: Caches,
        writer: Writer,
        shutdown: CancellationToken,
    ) {
        let mut events = Events::new(&client, &identity);
        loop {
            // Both arms may be dropped.
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.cancelled() => return,
            }
            let reason = Reason::CapabilityDenied.to_string();
            for (key, gathered) in self.due(|key| events.admit(key, &reason)) {
                let component = caches.components.get(&key.namespace, &key.name);
                let of_uid = component.filter(|of| of.uid().as_deref() == Some(&gathered.uid));
                if let Some(component) = of_uid {
                    events
                        .warn(&writer, &component, &reason, &gathered.note())
                        .await;
                }
            }
            events.retain(|key| caches.components.get(&key.namespace, &key.name).is_some());
        }
    }

    /// Takes out what may be told now; the rest goes on gathering.
    fn due(&self, mut admit: impl FnMut(&Key) -> bool) -> Vec<(Key, Gathered)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due: Vec<Key> = all.keys().filter(|key| admit(key)).cloned().collect();
        due.into_iter()
            .filter_map(|key| all.remove_entry(&key))
            .collect()
    }
}

impl Gathered {
    fn note(&self) -> String {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by(|(_, one), (_, other)| other.cmp(one));
        let mut note = format!("{} uses of capabilities were denied:", self.total);
        for ((capability, object, rule), count) in kinds.iter().take(NAMED) {
            // Writing to a String does not fail.
            let _ = write!(note, " {capability} {object} ({rule}) {count} times;");
        }
        let rest = kinds.len().saturating_sub(NAMED);
        if rest > 0 {
            let _ = write!(note, " and {rest} more kinds;");
        }
        let nodes: Vec<&str> = self.nodes.iter().map(String::as_str).collect();
        let _ = write!(
            note,
            " on {}. If they are meant to be allowed, request them in the manifest and grant them in spec.capabilities",
            nodes.join(", ")
        );
        note
    }
}

/// Counts what an agent tells. The label is one of a closed list, whatever the agent
/// calls it.
pub fn count(metrics: &Metrics, told: &ComponentDenials) {
    for denial in told.kinds.iter().take(DENIAL_KINDS_MAX) {
        metrics.denied(label(&denial.capability), denial.count.min(COUNT_MAX));
    }
}

fn label(capability: &str) -> &'static str {
    const KNOWN: [&str; 9] = [
        "file-read",
        "file-write",
        "network",
        "name-lookup",
        "credential",
        "environment",
        "spawn",
        "signal",
        "lifecycle",
    ];
    let known = KNOWN.into_iter().find(|known| *known == capability);
    known.unwrap_or("other")
}

/// A text from outside as printable ASCII, bounded.
fn harmless(text: &str) -> String {
    text.chars()
        .take(TEXT_MAX)
        .map(|c| match c {
            ' '..='~' => c,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crds::revision::ComponentIdentity;

    use super::*;

    fn told(uid: &str, objects: &[(&str, u64)]) -> ComponentDenials {
        ComponentDenials {
            component: ComponentIdentity {
                namespace: "shop".to_owned(),
                name: "orders".to_owned(),
                uid: uid.to_owned(),
            },
            total: objects.iter().map(|(_, count)| count).sum(),
            kinds: objects
                .iter()
                .map(|(object, count)| Denial {
                    capability: "network".to_owned(),
                    object: (*object).to_owned(),
                    rule: "NotGranted".to_owned(),
                    count: *count,
                })
                .collect(),
        }
    }

    #[test]
    fn denials_of_several_nodes_are_one_note_with_the_most_frequent_first() {
        let denials = Denials::default();
        denials.take(
            "n1",
            &told("u", &[("a.example:443", 2), ("b.example:443", 1)]),
        );
        denials.take("n2", &told("u", &[("b.example:443", 5)]));
        let due = denials.due(|_| true);
        assert_eq!(due.len(), 1);
        let note = due[0].1.note();
        assert!(
            note.starts_with("8 uses of capabilities were denied: network b.example:443 (NotGranted) 6 times; network a.example:443 (NotGranted) 2 times; on n1, n2."),
            "{note}"
        );
        assert!(denials.due(|_| true).is_empty(), "told once");
    }

    #[test]
    fn what_may_not_be_told_yet_goes_on_gathering() {
        let denials = Denials::default();
        denials.take("n1", &told("u", &[("a.example:443", 1)]));
        assert!(denials.due(|_| false).is_empty());
        denials.take("n1", &told("u", &[("a.example:443", 1)]));
        assert_eq!(denials.due(|_| true)[0].1.total, 2);
    }

    #[test]
    fn a_component_made_anew_under_the_name_starts_with_nothing() {
        let denials = Denials::default();
        denials.take("n1", &told("old", &[("a.example:443", 9)]));
        denials.take("n1", &told("new", &[("a.example:443", 1)]));
        assert_eq!(denials.due(|_| true)[0].1.total, 1);
    }

    #[test]
    fn texts_of_guests_are_cut_and_cannot_write_lines_of_their_own() {
        let denials = Denials::default();
        let hostile = format!("x\n\u{202e}{}", "é".repeat(5_000));
        denials.take("n1", &told("u", &[(&hostile, 1)]));
        let note = denials.due(|_| true)[0].1.note();
        assert!(
            note.is_ascii() && !note.contains('\n') && note.len() < 500,
            "{note}"
        );
    }

    #[test]
    fn kinds_are_bounded_and_the_rest_still_counts() {
        let denials = Denials::default();
        for number in 0..1_000 {
            denials.take("n1", &told("u", &[(&format!("h{number}.example"), 1)]));
        }
        let due = denials.due(|_| true);
        assert_eq!(
            (due[0].1.total, due[0].1.kinds.len()),
            (1_000, DENIAL_KINDS_MAX)
        );
        assert!(due[0].1.note().len() < 1_000, "fits an Event");
    }

    #[test]
    fn a_capability_that_is_not_known_has_no_label_of_its_own() {
        assert_eq!(label("network"), "network");
        assert_eq!(label("invented\"} 1"), "other");
    }
}
