//! What holds for the replicas of a component that runs by itself, whatever they were doing.

use std::collections::{BTreeMap, BTreeSet};

use artifact::Digest;
use crds::Reason;
use crds::component::RestartPolicy;
use crds::revision::ComponentIdentity;
use node_agent::control::plan::{
    Phase, Run, RunOrders, RunState, Running, RunningRevision, RunningSlot, Runs, plan,
};
use node_agent::message::RunEnd;
use node_agent::{Desired, DesiredPlacement, DesiredRevision, PlacementKey};
use proptest::collection::{btree_map, btree_set};
use proptest::option;
use proptest::prelude::*;

const ROUNDS: usize = 40;
const REPLICAS: u32 = 4;
const PORT: u16 = 5000;
const DONE: RunEnd = RunEnd {
    reason: Reason::RunCompleted,
    exit_code: Some(0),
    schema: None,
    port: None,
};

fn key() -> PlacementKey {
    PlacementKey {
        namespace: "shop".into(),
        name: "worker-node".into(),
    }
}

fn desired(replicas: u32) -> Desired {
    let revision = |name: &str, weight| DesiredRevision {
        name: name.into(),
        digest: Digest::of(name.as_bytes()),
        weight,
    };
    let placement = DesiredPlacement {
        uid: "placement-1".into(),
        generation: 1,
        component: ComponentIdentity::default(),
        replicas,
        ports: BTreeMap::new(),
        revisions: vec![revision("new", 100), revision("old", 0)],
    };
    Desired {
        placements: BTreeMap::from([(key(), placement)]),
    }
}

fn slot(replicas: u32, runs: Runs) -> RunningSlot {
    let revision = |name: &str| {
        let revision = RunningRevision {
            digest: Digest::of(name.as_bytes()),
            phase: Phase::Prepared,
            run: Some(RestartPolicy::OnFailure),
            listens: BTreeMap::new(),
        };
        (name.to_owned(), revision)
    };
    RunningSlot {
        uid: "placement-1".into(),
        weights: Some(BTreeMap::from([("new".into(), 100)])),
        replicas,
        revisions: BTreeMap::from([revision("new"), revision("old")]),
        runs,
        ..RunningSlot::default()
    }
}

fn run() -> impl Strategy<Value = Run> {
    let state = prop_oneof![
        Just(RunState::Starting),
        any::<bool>().prop_map(|steady| RunState::Running { steady }),
        Just(RunState::Ending),
        any::<bool>().prop_map(|due| RunState::Waiting { due }),
    ];
    let revision = prop_oneof![Just("new"), Just("old")];
    let silent = btree_set(Just(PORT), 0..=1);
    let follows = option::of(Just("old".to_owned()));
    (state, revision, silent, follows).prop_map(|(state, revision, silent, follows)| Run {
        revision: revision.into(),
        state,
        silent,
        follows,
    })
}

fn runs() -> impl Strategy<Value = Runs> {
    let over = btree_map(0..REPLICAS, Just(DONE), 0..3);
    (btree_map(0..REPLICAS, run(), 0..5), over).prop_map(|(live, over)| Runs {
        live,
        over: BTreeMap::from([("new".into(), over)]),
        last: None,
    })
}

fn orders(replicas: u32, runs: &Runs) -> RunOrders {
    let running = Running {
        slots: BTreeMap::from([(key(), slot(replicas, runs.clone()))]),
    };
    let mut plan = plan(&desired(replicas), &running);
    assert!(plan.to_drain.is_empty() && plan.to_close.is_empty());
    plan.to_run.remove(&key()).unwrap_or_default()
}

/// What is once the orders are carried out, and then once all that was on its way has come.
fn applied(runs: &Runs, orders: &RunOrders) -> Runs {
    let mut runs = runs.clone();
    for run in runs.live.values_mut() {
        match &mut run.state {
            RunState::Waiting { due } => *due = true,
            state @ RunState::Starting => *state = RunState::Running { steady: false },
            RunState::Running { steady } => *steady = true,
            RunState::Ending => {}
        }
        run.silent.clear();
    }
    runs.live.retain(|_, run| run.state != RunState::Ending);
    for replica in &orders.end {
        let waits = |run: &Run| matches!(run.state, RunState::Waiting { .. });
        match runs.live.get_mut(replica) {
            Some(run) if !waits(run) => run.state = RunState::Ending,
            _ => drop(runs.live.remove(replica)),
        }
    }
    for (replica, revision) in &orders.start {
        let run = Run {
            revision: revision.clone(),
            state: RunState::Starting,
            silent: BTreeSet::from([PORT]),
            follows: None,
        };
        runs.live.insert(*replica, run);
    }
    runs
}

proptest! {
    #[test]
    fn all_replicas_come_to_run_what_is_wanted_or_have_done_so(
        replicas in 0..=REPLICAS, runs in runs()
    ) {
        let mut now = runs;
        for _ in 0..ROUNDS {
            let orders = orders(replicas, &now);
            now = applied(&now, &orders);
        }
        prop_assert_eq!(orders(replicas, &now), RunOrders::default());
        for replica in 0..REPLICAS {
            let live = now.live.get(&replica);
            let is_over = now.over["new"].contains_key(&replica);
            if replica >= replicas {
                prop_assert!(live.is_none(), "{replica}: {now:#?}");
            } else if !is_over {
                let state = RunState::Running { steady: true };
                let is_there = live.is_some_and(|run| run.revision == "new" && run.state == state);
                prop_assert!(is_there, "{replica}: {now:#?}");
            }
        }
    }

    #[test]
    fn an_old_replica_makes_room_only_alone_and_while_all_others_run(
        replicas in 0..=REPLICAS, runs in runs()
    ) {
        let orders = orders(replicas, &runs);
        let makes_room = |replica: &&u32| {
            let run = &runs.live[*replica];
            **replica < replicas
                && run.revision == "old"
                && matches!(run.state, RunState::Starting | RunState::Running { .. })
        };
        let making = orders.end.iter().filter(makes_room).count();
        prop_assert!(making <= 1);
        if making == 1 {
            let mut kept = runs.live.iter().filter(|(replica, _)| **replica < replicas);
            let is_settled = kept.all(|(_, run)| match run.state {
                RunState::Running { steady } => {
                    (steady && run.silent.is_empty()) || run.revision == "old"
                }
                _ => false,
            });
            prop_assert!(is_settled);
        }
    }

    #[test]
    fn connections_are_accepted_by_the_wanted_revision_once_no_replica_has_another(
        replicas in 0..=REPLICAS, runs in runs()
    ) {
        let mut slot = slot(replicas, runs);
        for revision in slot.revisions.values_mut() {
            revision.listens = BTreeMap::from([("tcp".into(), PORT)]);
        }
        let live = slot.runs.live.range(..replicas).map(|(_, run)| run);
        let accepting: Vec<&str> = live.clone().filter_map(Run::accepts).collect();
        let accepted_by = slot.accepted_by(replicas);
        prop_assert_eq!(accepted_by.is_some(), !accepting.is_empty());
        if accepted_by == Some("new") {
            prop_assert!(accepting.iter().all(|revision| *revision == "new"));
        }
        for run in live {
            // Whoever waits to be started again has nobody in its place.
            let waits = matches!(run.state, RunState::Waiting { .. });
            prop_assert!(!waits || run.accepts().is_none());
        }
    }

    #[test]
    fn nothing_is_started_that_has_been_run_to_its_end_or_where_something_is(
        replicas in 0..=REPLICAS, runs in runs()
    ) {
        for (replica, revision) in orders(replicas, &runs).start {
            prop_assert!(replica < replicas && revision == "new");
            prop_assert!(!runs.over["new"].contains_key(&replica));
            let before = runs.live.get(&replica);
            let waits = |run: &Run| matches!(run.state, RunState::Waiting { .. });
            prop_assert!(before.is_none_or(waits));
        }
    }
}
