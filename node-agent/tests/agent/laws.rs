//! What holds for every plan, whatever shall be and whatever is.

use std::collections::{BTreeMap, BTreeSet};

use artifact::Digest;
use crds::Reason;
use crds::revision::ComponentIdentity;
use node_agent::control::plan::{
    Failure, Phase, Plan, Running, RunningRevision, RunningSlot, plan,
};
use node_agent::{Desired, DesiredPlacement, DesiredRevision, PlacementKey};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

const ROUNDS: usize = 5;

fn key() -> impl Strategy<Value = PlacementKey> {
    (0..4_u8).prop_map(|n| PlacementKey {
        namespace: "shop".into(),
        name: format!("c{n}"),
    })
}

fn name() -> impl Strategy<Value = String> {
    (0..4_u8).prop_map(|n| format!("wc-c-{n}"))
}

/// A revision's digest follows from its name, as it does in a cluster.
fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn uid() -> impl Strategy<Value = String> {
    prop_oneof![Just("old".to_owned()), Just("new".to_owned())]
}

fn ports() -> impl Strategy<Value = BTreeMap<String, u16>> {
    btree_map("[ab]", 1..4_u16, 0..3)
}

fn desired_placement() -> impl Strategy<Value = DesiredPlacement> {
    let revisions = btree_map(name(), 0..3_u32, 0..3);
    (uid(), 1..3_u32, ports(), revisions).prop_map(|(uid, replicas, ports, revisions)| {
        DesiredPlacement {
            uid,
            generation: 1,
            component: ComponentIdentity::default(),
            replicas,
            ports,
            revisions: revisions
                .into_iter()
                .map(|(name, weight)| DesiredRevision {
                    digest: digest(&name),
                    name,
                    weight,
                })
                .collect(),
        }
    })
}

fn phase() -> impl Strategy<Value = Phase> {
    let failed = |due| {
        Phase::Failed(Failure {
            reason: Reason::Unsigned,
            message: String::new(),
            due,
        })
    };
    prop_oneof![
        Just(Phase::Preparing),
        Just(Phase::Prepared),
        Just(Phase::Draining),
        any::<bool>().prop_map(failed),
    ]
}

fn running_slot() -> impl Strategy<Value = RunningSlot> {
    let revisions = btree_map(name(), phase(), 0..4);
    let weights = proptest::option::of(vec(any::<bool>(), 4));
    (uid(), ports(), weights, 1..3_u32, revisions, any::<bool>()).prop_map(
        |(uid, ports, weights, replicas, revisions, closing)| RunningSlot {
            uid,
            ports,
            // A weight was only ever given to what was prepared then.
            weights: weights.map(|chosen| {
                let prepared = revisions
                    .iter()
                    .filter(|(_, phase)| **phase == Phase::Prepared);
                let chosen = prepared.zip(chosen).filter(|(_, chosen)| *chosen);
                chosen.map(|((name, _), _)| (name.clone(), 1)).collect()
            }),
            replicas,
            revisions: revisions
                .into_iter()
                .map(|(name, phase)| {
                    (
                        name.clone(),
                        RunningRevision {
                            digest: digest(&name),
                            phase,
                            run: None,
                            listens: BTreeMap::new(),
                        },
                    )
                })
                .collect(),
            runs: Default::default(),
            closing,
        },
    )
}

fn desired() -> impl Strategy<Value = Desired> {
    btree_map(key(), desired_placement(), 0..4).prop_map(|placements| Desired { placements })
}

fn running() -> impl Strategy<Value = Running> {
    btree_map(key(), running_slot(), 0..4).prop_map(|slots| Running { slots })
}

/// What is, once everything of a plan has gone well and all that was under way has ended.
fn applied(running: &Running, plan: &Plan) -> Running {
    let mut running = running.clone();
    for (key, open) in &plan.to_open {
        let slot = running.slots.entry(key.clone()).or_default();
        (slot.uid, slot.ports) = (open.uid.clone(), open.ports.clone());
    }
    for (key, revisions) in &plan.to_prepare {
        let slot = running
            .slots
            .get_mut(key)
            .expect("prepared in a slot that is open");
        for (name, digest) in revisions {
            let revision = RunningRevision {
                digest: *digest,
                phase: Phase::Preparing,
                run: None,
                listens: BTreeMap::new(),
            };
            slot.revisions.insert(name.clone(), revision);
        }
    }
    for (key, weigh) in &plan.to_weigh {
        let slot = running
            .slots
            .get_mut(key)
            .expect("weighed in a slot that is open");
        (slot.weights, slot.replicas) = (Some(weigh.weights.clone()), weigh.replicas);
    }
    for (key, names) in &plan.to_drain {
        let slot = running
            .slots
            .get_mut(key)
            .expect("drained in a slot that is open");
        slot.revisions.retain(|name, _| !names.contains(name));
    }
    for key in &plan.to_close {
        running.slots.remove(key);
    }
    running.slots.retain(|_, slot| !slot.closing);
    for slot in running.slots.values_mut() {
        slot.revisions
            .retain(|_, revision| revision.phase != Phase::Draining);
        for revision in slot.revisions.values_mut() {
            if revision.phase == Phase::Preparing {
                revision.phase = Phase::Prepared;
            }
        }
    }
    running
}

proptest! {
    #[test]
    fn applying_plans_comes_to_an_end_where_nothing_is_left_to_do(
        desired in desired(), running in running()
    ) {
        let mut now = running;
        for _ in 0..ROUNDS {
            let next = plan(&desired, &now);
            now = applied(&now, &next);
        }
        let last = plan(&desired, &now);
        prop_assert!(last.is_empty(), "{last:#?} of {now:#?}");
        prop_assert_eq!(
            now.slots.keys().collect::<Vec<_>>(),
            desired.placements.keys().collect::<Vec<_>>()
        );
    }

    #[test]
    fn weight_goes_only_to_what_is_prepared(desired in desired(), running in running()) {
        for (key, weigh) in plan(&desired, &running).to_weigh {
            let slot = &running.slots[&key];
            for name in weigh.weights.keys() {
                prop_assert_eq!(&slot.revisions[name].phase, &Phase::Prepared);
            }
        }
    }

    #[test]
    fn only_what_is_placed_here_is_opened_or_prepared_and_by_the_digest_that_is_placed(
        desired in desired(), running in running()
    ) {
        let plan = plan(&desired, &running);
        for key in plan.to_open.keys() {
            prop_assert!(desired.placements.contains_key(key));
        }
        for (key, revisions) in &plan.to_prepare {
            let placed: BTreeMap<_, _> = desired.placements[key]
                .revisions.iter().map(|r| (r.name.clone(), r.digest)).collect();
            for (name, digest) in revisions {
                prop_assert_eq!(placed.get(name), Some(digest));
            }
        }
    }

    #[test]
    fn only_what_runs_here_is_drained_or_closed_and_nothing_that_shall_stay(
        desired in desired(), running in running()
    ) {
        let plan = plan(&desired, &running);
        for key in &plan.to_close {
            let slot = &running.slots[key];
            prop_assert!(desired.placements.get(key).is_none_or(|d| d.uid != slot.uid));
        }
        for (key, names) in &plan.to_drain {
            let wanted: BTreeSet<_> =
                desired.placements[key].revisions.iter().map(|r| &r.name).collect();
            for name in names {
                prop_assert!(running.slots[key].revisions.contains_key(name));
                prop_assert!(!wanted.contains(name));
            }
        }
    }

    #[test]
    fn what_serves_is_never_left_with_nothing_while_it_is_wanted(
        desired in desired(), running in running()
    ) {
        let plan = plan(&desired, &running);
        for (key, weigh) in &plan.to_weigh {
            let served = running.slots[key].weights.as_ref().is_some_and(|w| !w.is_empty());
            prop_assert!(!served || !weigh.weights.is_empty());
        }
        for (key, names) in &plan.to_drain {
            let weigh = plan.to_weigh.get(key).map(|weigh| &weigh.weights);
            let serving = weigh.or(running.slots[key].weights.as_ref());
            for name in names {
                prop_assert!(serving.is_none_or(|weights| !weights.contains_key(name)));
            }
        }
    }

    #[test]
    fn something_serves_where_all_with_weight_have_failed_and_anything_placed_is_prepared(
        desired in desired(), running in running()
    ) {
        let plan = plan(&desired, &running);
        for (key, placement) in &desired.placements {
            let Some(slot) = running.slots.get(key) else { continue };
            let phase = |name: &String| slot.revisions.get(name).map(|revision| &revision.phase);
            let mut weighed = placement.revisions.iter().filter(|r| r.weight > 0).peekable();
            let any_is_prepared =
                placement.revisions.iter().any(|r| phase(&r.name) == Some(&Phase::Prepared));
            let is_open = !slot.closing && slot.uid == placement.uid;
            if is_open && any_is_prepared && weighed.peek().is_some() && weighed.all(
                |r| matches!(phase(&r.name), Some(Phase::Failed(failure)) if !failure.due),
            ) {
                let weigh = plan.to_weigh.get(key).map(|weigh| &weigh.weights);
                let serving = weigh.or(slot.weights.as_ref());
                prop_assert!(serving.is_some_and(|weights| !weights.is_empty()));
            }
        }
    }

    #[test]
    fn a_placement_without_weights_starts_nobody(
        desired in desired(), running in running()
    ) {
        for (key, weigh) in plan(&desired, &running).to_weigh {
            let served = running.slots[&key].weights.clone().unwrap_or_default();
            let gives_weight = desired.placements[&key].revisions.iter().any(|r| r.weight > 0);
            for name in weigh.weights.keys() {
                prop_assert!(gives_weight || served.contains_key(name));
            }
        }
    }
}
