//! What two revisions had answered when a step of their rollout began: the leader's memory.
//!
//! A new leader begins with what agents tell it first: counts of the steps before are then
//! among those of the one that it finds. Called by the driver, which has the agents' counts.

use std::collections::BTreeMap;

use crds::WasmComponentStatus;

use crate::component::Key;
use crate::rollout::Calls;
use crate::tallies::Tallies;

/// The beginning of the step that each component is in.
#[derive(Debug, Default)]
pub struct StepCalls {
    began: BTreeMap<Key, Began>,
}

#[derive(Debug)]
struct Began {
    step: Step,
    calls: Calls,
}

/// Which step of which rollout.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    uid: String,
    wanted: String,
    proven: String,
    passed: Option<i32>,
}

impl StepCalls {
    /// What both revisions have answered since the step began that the `status` is in. Counts
    /// of others are forgotten.
    pub fn observe(
        &mut self,
        key: &Key,
        uid: &str,
        status: Option<&WasmComponentStatus>,
        tallies: &Tallies,
    ) -> Calls {
        let updating = status.and_then(|status| status.updating.as_ref());
        let current = status.and_then(|status| status.current.as_ref());
        let (Some(updating), Some(current)) = (updating, current) else {
            self.began.remove(key);
            tallies.keep(key, &[]);
            return Calls::default();
        };
        let (wanted, proven) = (&updating.revision, &current.revision);
        tallies.keep(key, &[wanted, proven]);
        let now = Calls {
            wanted: tallies.of(key, uid, wanted),
            proven: tallies.of(key, uid, proven),
        };
        let step = Step {
            uid: uid.to_owned(),
            wanted: wanted.clone(),
            proven: proven.clone(),
            passed: updating.step,
        };
        let began = self.began.get(key).filter(|began| began.step == step);
        let Some(began) = began else {
            let calls = now;
            self.began.insert(key.clone(), Began { step, calls });
            return Calls::default();
        };
        Calls {
            wanted: now.wanted.since(&began.calls.wanted),
            proven: now.proven.since(&began.calls.proven),
        }
    }

    /// Forgets components that no longer exist.
    pub fn retain(&mut self, exists: impl Fn(&Key) -> bool) {
        self.began.retain(|key, _| exists(key));
    }
}

#[cfg(test)]
mod tests {
    use crds::Tally;
    use crds::component::{ActiveRevision, UpdatingRevision};
    use crds::handover::{ComponentTallies, RevisionTally};
    use crds::revision::ComponentIdentity;

    use super::*;

    fn status(step: Option<i32>) -> WasmComponentStatus {
        WasmComponentStatus {
            current: Some(ActiveRevision {
                revision: "old".to_owned(),
                ..ActiveRevision::default()
            }),
            updating: Some(UpdatingRevision {
                revision: "new".to_owned(),
                step,
                ..UpdatingRevision::default()
            }),
            ..WasmComponentStatus::default()
        }
    }

    fn tell(tallies: &Tallies, revision: &str, requests: u64) {
        let told = RevisionTally {
            revision: revision.to_owned(),
            epoch: 1,
            tally: Tally {
                latency: [(1_000, requests)].into_iter().collect(),
                ..Tally::default()
            },
        };
        tallies.take(
            "n1",
            &ComponentTallies {
                component: ComponentIdentity {
                    namespace: "shop".to_owned(),
                    name: "orders".to_owned(),
                    uid: "u".to_owned(),
                },
                revisions: vec![told],
            },
        );
    }

    #[test]
    fn each_step_begins_at_nought() {
        let (tallies, mut steps) = (Tallies::default(), StepCalls::default());
        let key = Key::new("shop", "orders");
        let mut requests = |step| {
            let calls = steps.observe(&key, "u", Some(&status(step)), &tallies);
            (calls.wanted.requests(), calls.proven.requests())
        };
        tell(&tallies, "old", 1_000);
        assert_eq!(requests(Some(0)), (0, 0));
        tell(&tallies, "new", 50);
        tell(&tallies, "old", 1_950);
        assert_eq!(requests(Some(0)), (50, 950));
        assert_eq!(requests(Some(1)), (0, 0));
        tell(&tallies, "new", 80);
        assert_eq!(requests(Some(1)), (30, 0));
        assert_eq!(requests(None), (0, 0));
    }

    #[test]
    fn counts_are_forgotten_with_their_rollout() {
        let (tallies, mut steps) = (Tallies::default(), StepCalls::default());
        let key = Key::new("shop", "orders");
        tell(&tallies, "new", 50);
        steps.observe(&key, "u", Some(&status(None)), &tallies);
        let rest = WasmComponentStatus::default();
        steps.observe(&key, "u", Some(&rest), &tallies);
        assert_eq!(tallies.of(&key, "u", "new"), Tally::default());
        assert!(steps.began.is_empty());
    }
}
