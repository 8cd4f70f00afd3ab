//! What revisions that take over from each other did on their nodes, as the agents tell it.
//!
//! In memory only, and only of the replica that leads: agents tell cumulative counts again and
//! again, so that a new leader has them within seconds. `handover::server` fills it, who judges
//! a rollout reads sums. It knows neither a clock nor the objects that the counts are of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crds::bound::PLACED_REVISIONS;
use crds::handover::{ComponentTallies, RevisionTally};
use crds::tally::{Histogram, Tally};

use crate::component::Key;

/// Components that are counted at once; as many cannot take over at the same time, since each
/// is forgotten when its rollout has ended.
const COMPONENTS_MAX: usize = 10_000;

/// Counts by component; cheap to clone, all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Tallies(Arc<Mutex<BTreeMap<Key, Component>>>);

#[derive(Debug, Default)]
struct Component {
    /// A later component of the name has done nothing yet.
    uid: String,
    /// By revision and node.
    counts: BTreeMap<String, BTreeMap<String, Counts>>,
}

/// What one revision did on one node.
#[derive(Debug, Clone, Default)]
struct Counts {
    /// In epochs that have ended.
    ended: Tally,
    epoch: u64,
    /// In this epoch.
    current: Tally,
}

impl Tallies {
    /// Takes in what an agent tells of a component that its `node` holds with these revisions.
    pub fn take(&self, node: &str, told: &ComponentTallies) {
        let mut all = self.lock();
        let identity = &told.component;
        let key = Key::new(&identity.namespace, &identity.name);
        if all.len() >= COMPONENTS_MAX && !all.contains_key(&key) {
            return;
        }
        let of = all.entry(key).or_default();
        if of.uid != identity.uid {
            *of = Component {
                uid: identity.uid.clone(),
                ..Component::default()
            };
        }
        for told in told.revisions.iter().take(PLACED_REVISIONS as usize) {
            if told.tally.latency.buckets() <= Histogram::BUCKETS_MAX {
                let nodes = of.counts.entry(told.revision.clone()).or_default();
                nodes.entry(node.to_owned()).or_default().take(told);
            }
        }
    }

    /// What a revision of the component with this `uid` did on all nodes. A revision that nobody
    /// has told of did nothing.
    pub fn of(&self, component: &Key, uid: &str, revision: &str) -> Tally {
        let all = self.lock();
        let of = all.get(component).filter(|of| of.uid == uid);
        let nodes = of.and_then(|of| of.counts.get(revision));
        let nodes = nodes.into_iter().flat_map(BTreeMap::values);
        nodes.fold(Tally::default(), |sum, counts| sum.plus(&counts.sum()))
    }

    /// Forgets what is no longer judged: other revisions than those in `judged`, and the
    /// component with the last of them.
    pub fn keep(&self, component: &Key, judged: &[&str]) {
        let mut all = self.lock();
        if let Some(of) = all.get_mut(component) {
            of.counts
                .retain(|revision, _| judged.contains(&revision.as_str()));
            if of.counts.is_empty() {
                all.remove(component);
            }
        }
    }

    /// Forgets components that no longer exist.
    pub fn retain(&self, exists: impl Fn(&Key) -> bool) {
        self.lock().retain(|key, _| exists(key));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Component>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn take(&mut self, told: &RevisionTally) {
        // An answer that was lost may have been one to a report that came after all.
        if told.epoch < self.epoch {
            return;
        }
        if told.epoch > self.epoch {
            self.ended = self.sum();
            self.epoch = told.epoch;
            self.current = Tally::default();
        }
        self.current = self.current.later_of(&told.tally);
    }

    fn sum(&self) -> Tally {
        self.ended.plus(&self.current)
    }
}

#[cfg(test)]
mod tests {
    use crds::Reason;
    use crds::revision::ComponentIdentity;
    use proptest::prelude::*;

    use super::*;

    fn tally(calls: u64) -> Tally {
        Tally {
            failures: BTreeMap::from([(Reason::Trapped, calls / 10)]),
            errors: calls / 20,
            latency: [(1_000, calls)].into_iter().collect(),
        }
    }

    fn told(uid: &str, revision: &str, epoch: u64, calls: u64) -> ComponentTallies {
        ComponentTallies {
            component: ComponentIdentity {
                namespace: "shop".to_owned(),
                name: "orders".to_owned(),
                uid: uid.to_owned(),
            },
            revisions: vec![RevisionTally {
                revision: revision.to_owned(),
                epoch,
                tally: tally(calls),
            }],
        }
    }

    fn key() -> Key {
        Key::new("shop", "orders")
    }

    #[test]
    fn counts_of_all_nodes_and_epochs_are_one_sum() {
        let tallies = Tallies::default();
        tallies.take("n1", &told("u", "new", 1, 100));
        tallies.take("n2", &told("u", "new", 1, 40));
        tallies.take("n1", &told("u", "old", 1, 1_000));
        // The worker of n1 was started again.
        tallies.take("n1", &told("u", "new", 2, 10));
        let new = tallies.of(&key(), "u", "new");
        assert_eq!(
            (new.requests(), new.failed(), new.errors),
            (150, 10 + 4 + 1, 5 + 2)
        );
        assert_eq!(tallies.of(&key(), "u", "old").requests(), 1_000);
    }

    #[test]
    fn a_component_made_anew_under_the_name_has_done_nothing() {
        let tallies = Tallies::default();
        tallies.take("n1", &told("old", "new", 1, 100));
        assert_eq!(tallies.of(&key(), "new", "new"), Tally::default());
        tallies.take("n1", &told("new", "new", 1, 7));
        assert_eq!(tallies.of(&key(), "new", "new").requests(), 7);
        assert_eq!(tallies.of(&key(), "old", "new"), Tally::default());
    }

    #[test]
    fn what_is_no_longer_judged_is_forgotten() {
        let tallies = Tallies::default();
        tallies.take("n1", &told("u", "old", 1, 100));
        tallies.take("n1", &told("u", "new", 1, 100));
        tallies.keep(&key(), &["new"]);
        assert_eq!(tallies.of(&key(), "u", "old"), Tally::default());
        assert_eq!(tallies.of(&key(), "u", "new").requests(), 100);
        tallies.keep(&key(), &[]);
        assert!(tallies.lock().is_empty());
    }

    #[test]
    fn a_histogram_of_more_buckets_than_there_are_is_not_taken() {
        let tallies = Tallies::default();
        let mut hostile = told("u", "new", 1, 0);
        hostile.revisions[0].tally.latency = (0..1_000).map(|bound| (bound, 1)).collect();
        tallies.take("n1", &hostile);
        assert_eq!(tallies.of(&key(), "u", "new"), Tally::default());
    }

    /// What one node says over time: what happens between two reports, and whether its worker
    /// was started again before them.
    fn history() -> impl Strategy<Value = Vec<(bool, u64)>> {
        proptest::collection::vec((any::<bool>(), 0..1_000_u64), 1..20)
    }

    proptest! {
        #[test]
        fn sums_never_go_backwards_and_reports_may_come_twice_late_or_never(
            history in history(),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let (mut epoch, mut calls, mut reports) = (1, 0, Vec::new());
            for (restarts, more) in history {
                if restarts {
                    (epoch, calls) = (epoch + 1, 0);
                }
                calls += more;
                reports.push(told("u", "new", epoch, calls));
            }
            let tallies = Tallies::default();
            let sum = || tallies.of(&key(), "u", "new");
            let mut before = sum();
            for index in order {
                tallies.take("n1", index.get(&reports));
                let now = sum();
                prop_assert_eq!(now.later_of(&before), now.clone());
                tallies.take("n1", index.get(&reports));
                prop_assert_eq!(sum(), now.clone());
                before = now;
            }
        }

        #[test]
        fn reports_that_all_come_add_up_to_what_happened(history in history()) {
            let tallies = Tallies::default();
            let (mut epoch, mut calls, mut happened) = (1, 0, 0);
            for (restarts, more) in history {
                if restarts {
                    (epoch, calls) = (epoch + 1, 0);
                }
                (calls, happened) = (calls + more, happened + more);
                tallies.take("n1", &told("u", "new", epoch, calls));
            }
            prop_assert_eq!(tallies.of(&key(), "u", "new").requests(), happened);
        }
    }
}
