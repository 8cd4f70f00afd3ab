//! Plans as they are, for the situations that matter. Each file in `tests/golden` shows what
//! shall be, what is, and the plan.

use std::collections::BTreeMap;

use artifact::Digest;
use crds::Reason;
use crds::revision::ComponentIdentity;
use node_agent::control::plan::{
    Failure, Phase, Plan, Running, RunningRevision, RunningSlot, plan,
};
use node_agent::{Desired, DesiredPlacement, DesiredRevision, PlacementKey};
use serde::Serialize;

#[derive(Serialize)]
struct Case {
    desired: Desired,
    running: Running,
    plan: Plan,
}

fn check(name: &str, desired: Desired, running: Running) {
    let plan = plan(&desired, &running);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        insta::assert_yaml_snapshot!(
            name,
            Case {
                desired,
                running,
                plan
            }
        )
    });
}

fn key() -> PlacementKey {
    PlacementKey {
        namespace: "shop".into(),
        name: "orders-node".into(),
    }
}

fn desired(revisions: &[(&str, u32)]) -> Desired {
    let placement = DesiredPlacement {
        uid: "placement-1".into(),
        generation: 3,
        component: ComponentIdentity {
            namespace: "shop".into(),
            name: "orders".into(),
            uid: "component-1".into(),
        },
        replicas: 2,
        ports: BTreeMap::from([("web".into(), 20_017)]),
        revisions: revisions
            .iter()
            .map(|(name, weight)| DesiredRevision {
                name: (*name).into(),
                digest: Digest::of(name.as_bytes()),
                weight: *weight,
            })
            .collect(),
    };
    Desired {
        placements: BTreeMap::from([(key(), placement)]),
    }
}

fn running(weights: &[(&str, u32)], revisions: &[(&str, Phase)]) -> Running {
    let slot = RunningSlot {
        uid: "placement-1".into(),
        ports: BTreeMap::from([("web".into(), 20_017)]),
        weights: Some(
            weights
                .iter()
                .map(|(name, weight)| ((*name).into(), *weight))
                .collect(),
        ),
        replicas: 2,
        revisions: revisions
            .iter()
            .map(|(name, phase)| {
                let digest = Digest::of(name.as_bytes());
                (
                    (*name).into(),
                    RunningRevision {
                        digest,
                        phase: phase.clone(),
                        run: None,
                        listens: BTreeMap::new(),
                    },
                )
            })
            .collect(),
        ..RunningSlot::default()
    };
    Running {
        slots: BTreeMap::from([(key(), slot)]),
    }
}

fn failed(due: bool) -> Phase {
    Phase::Failed(Failure {
        reason: Reason::StartFailed,
        message: "it trapped".into(),
        due,
    })
}

#[test]
fn a_new_placement_is_opened_and_prepared() {
    check(
        "a_new_placement_is_opened_and_prepared",
        desired(&[("v1", 100)]),
        Running::default(),
    );
}

#[test]
fn a_new_revision_is_prepared_beside_the_one_that_serves() {
    check(
        "a_new_revision_is_prepared_beside_the_one_that_serves",
        desired(&[("v1", 100), ("v2", 0)]),
        running(&[("v1", 100)], &[("v1", Phase::Prepared)]),
    );
}

#[test]
fn a_prepared_revision_takes_over_and_the_old_one_drains() {
    check(
        "a_prepared_revision_takes_over_and_the_old_one_drains",
        desired(&[("v2", 100)]),
        running(
            &[("v1", 100)],
            &[("v1", Phase::Prepared), ("v2", Phase::Prepared)],
        ),
    );
}

#[test]
fn a_revision_that_failed_leaves_the_old_one_serving() {
    check(
        "a_revision_that_failed_leaves_the_old_one_serving",
        desired(&[("v2", 100)]),
        running(
            &[("v1", 100)],
            &[("v1", Phase::Prepared), ("v2", failed(false))],
        ),
    );
}

#[test]
fn a_revision_that_failed_is_prepared_again_when_it_is_due() {
    check(
        "a_revision_that_failed_is_prepared_again_when_it_is_due",
        desired(&[("v2", 100)]),
        running(
            &[("v1", 100)],
            &[("v1", Phase::Prepared), ("v2", failed(true))],
        ),
    );
}

#[test]
fn a_rollback_to_a_draining_revision_loads_it_anew() {
    check(
        "a_rollback_to_a_draining_revision_loads_it_anew",
        desired(&[("v1", 100)]),
        running(
            &[("v2", 100)],
            &[("v1", Phase::Draining), ("v2", Phase::Prepared)],
        ),
    );
}

#[test]
fn a_placement_of_the_same_name_waits_until_the_old_one_is_closed() {
    let mut desired = desired(&[("v1", 100)]);
    desired.placements.get_mut(&key()).unwrap().uid = "placement-2".into();
    check(
        "a_placement_of_the_same_name_waits_until_the_old_one_is_closed",
        desired,
        running(&[("v1", 100)], &[("v1", Phase::Prepared)]),
    );
}

#[test]
fn a_placement_that_is_gone_is_closed() {
    check(
        "a_placement_that_is_gone_is_closed",
        Desired::default(),
        running(&[("v1", 100)], &[("v1", Phase::Prepared)]),
    );
}

#[test]
fn a_slot_whose_every_revision_failed_answers_503() {
    let mut running = running(&[], &[("v1", failed(false))]);
    running.slots.get_mut(&key()).unwrap().weights = None;
    check(
        "a_slot_whose_every_revision_failed_answers_503",
        desired(&[("v1", 100)]),
        running,
    );
}

/// As after a restart of the agent: nothing serves yet.
#[test]
fn a_node_that_starts_again_falls_back_to_the_old_revision_when_the_new_one_has_failed() {
    let mut running = running(&[], &[("v1", Phase::Prepared), ("v2", failed(false))]);
    running.slots.get_mut(&key()).unwrap().weights = None;
    check(
        "a_node_that_starts_again_falls_back_to_the_old_revision_when_the_new_one_has_failed",
        desired(&[("v1", 0), ("v2", 100)]),
        running,
    );
}

#[test]
fn what_is_as_it_shall_be_needs_nothing() {
    check(
        "what_is_as_it_shall_be_needs_nothing",
        desired(&[("v1", 100)]),
        running(&[("v1", 100)], &[("v1", Phase::Prepared)]),
    );
}
