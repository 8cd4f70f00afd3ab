//! Laws of a rollout, over any nodes, faults and interventions. `model` has the cluster.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

mod model;

use std::collections::BTreeMap;
use std::time::Duration;

use crds::component::OnFailure;
use operator::rollout::{Analysis, Pause, State, Step, turn};
use proptest::prelude::*;

use model::{Act, Cluster, Fate, NEW, NEWER, OLD};

/// More turns than any rollout of the model can take.
const TURNS: usize = 400;

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Good),
        1 => Just(Fate::Bad),
        1 => Just(Fate::Stuck),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Agents),
        2 => (0..5_usize).prop_map(Act::Lose),
        2 => (0..5_usize).prop_map(Act::Return),
        1 => (0..5_usize).prop_map(Act::RestartAgent),
        1 => Just(Act::RestartOperator),
        1 => Just(Act::Pause(true)),
        1 => Just(Act::Pause(false)),
        1 => (1..700_u64).prop_map(Act::Pass),
        1 => (0..5_usize).prop_map(Act::Join),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let pause = prop_oneof![
        Just(Pause::For(Duration::ZERO)),
        Just(Pause::For(Duration::from_secs(60))),
        Just(Pause::Endless),
    ];
    (prop::sample::select(vec![5, 50, 80]), pause)
        .prop_map(|(weight, pause)| Step { weight, pause })
}

prop_compose! {
    fn cluster()(
        nodes in 1..5_usize,
        parallel in 1..4_usize,
        min_ready in prop::sample::select(vec![0_u64, 20]),
        on_failure in prop::sample::select(vec![OnFailure::Rollback, OnFailure::Pause]),
        mut steps in prop::collection::vec(step(), 0..3),
        fates in prop::collection::vec(fate(), 5),
        newer in prop::collection::vec(fate(), 5),
    ) -> Cluster {
        steps.sort_by_key(|step| step.weight);
        steps.dedup_by_key(|step| step.weight);
        let fates = BTreeMap::from([(NEW, fates), (NEWER, newer)]);
        Cluster::serving(OLD, nodes, parallel, min_ready, on_failure, steps, fates)
    }
}

/// Nobody pauses it any more, and every node is heard of.
fn calm(cluster: &mut Cluster) {
    cluster.act(&Act::Pause(false));
    for node in 0..5 {
        cluster.act(&Act::Return(node));
    }
}

/// Brings the cluster to its end by agents and time, and somebody who ends every canary.
fn settle(cluster: &mut Cluster) {
    cluster.rules.promoted = usize::MAX;
    for _ in 0..TURNS {
        cluster.act(&Act::Agents);
        cluster.act(&Act::Pass(10));
        cluster.turn();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn weights_sum_to_a_hundred_and_what_serves_is_never_taken_away(
        mut cluster in cluster(), acts in prop::collection::vec(act(), 0..60),
    ) {
        cluster.want(NEW);
        for act in acts {
            cluster.act(&act);
            let before = cluster.sight();
            let turn = cluster.turn();
            for (node, held) in &turn.held {
                let sum: u32 = held.iter().map(|held| held.weight).sum();
                prop_assert_eq!(sum, 100, "{}: {:?}", node, held);
                prop_assert!(held.len() <= 2);
                let seen = &before.nodes[node];
                let serving = seen.serving.as_deref();
                if let Some(serving) = serving.filter(|name| seen.held.iter().any(|held| held.name == **name)) {
                    prop_assert!(held.iter().any(|held| held.name == serving), "{} lost {}", node, serving);
                }
            }
        }
    }

    #[test]
    fn what_has_failed_never_gains_weight(
        mut cluster in cluster(), acts in prop::collection::vec(act(), 0..60),
    ) {
        cluster.want(NEW);
        for act in acts {
            cluster.act(&act);
            let before = cluster.weights_of(NEW);
            cluster.turn();
            if cluster.state == State::Failed {
                for (node, weight) in cluster.weights_of(NEW) {
                    prop_assert!(weight <= before.get(&node).copied().unwrap_or_default(), "{}", node);
                }
            }
        }
    }

    #[test]
    fn in_a_step_no_node_gives_more_than_its_share(
        mut cluster in cluster(), acts in prop::collection::vec(act(), 0..60),
    ) {
        cluster.want(NEW);
        for act in acts {
            cluster.act(&act);
            cluster.turn();
            let step = cluster.state.progress().and_then(|progress| cluster.rules.steps.get(progress.step));
            if let Some(step) = step {
                for (node, weight) in cluster.weights_of(NEW) {
                    prop_assert!(weight <= step.weight, "{} has {}", node, weight);
                }
            }
        }
    }

    #[test]
    fn every_rollout_ends(mut cluster in cluster(), acts in prop::collection::vec(act(), 0..60)) {
        cluster.want(NEW);
        for act in acts {
            cluster.act(&act);
            cluster.turn();
        }
        calm(&mut cluster);
        settle(&mut cluster);
        match cluster.state {
            State::Failed => prop_assert!(cluster.has_failed_fairly(NEW)),
            // It took over; a node that came later may still fail with it.
            State::Rest => {}
            state => prop_assert!(false, "{:?} {:?}", state, cluster.sight()),
        }
        if cluster.state == State::Failed && cluster.rules.on_failure == OnFailure::Rollback {
            prop_assert!(cluster.serves_alone(OLD), "{:?}", cluster.sight());
        }
        // And it stays so.
        prop_assert!(cluster.turn().held.is_empty());
    }

    #[test]
    fn an_observation_that_is_replayed_changes_nothing(
        mut cluster in cluster(), acts in prop::collection::vec(act(), 0..60),
    ) {
        cluster.want(NEW);
        for act in acts {
            cluster.act(&act);
            let (sight, rules) = (cluster.sight(), cluster.rules.clone());
            let elapsed = cluster.elapsed();
            let first = turn(cluster.state, &sight, &rules, elapsed);
            let elapsed = match first.state == cluster.state {
                true => elapsed,
                false => Duration::ZERO,
            };
            let second = turn(first.state, &sight, &rules, elapsed);
            prop_assert_eq!(first.state, second.state);
            // What fails is put back once that is kept.
            if first.cause.is_none() {
                prop_assert_eq!(&first.held, &second.held);
            }
            let third = turn(second.state, &sight, &rules, elapsed);
            prop_assert_eq!(second, third);
            cluster.turn();
        }
    }

    #[test]
    fn a_newer_revision_takes_over_in_the_middle(
        mut cluster in cluster(), acts in prop::collection::vec(act(), 0..40),
    ) {
        cluster.fates.insert(NEWER, vec![Fate::Good; 5]);
        cluster.want(NEW);
        for act in acts {
            cluster.act(&act);
            cluster.turn();
        }
        calm(&mut cluster);
        cluster.want(NEWER);
        settle(&mut cluster);
        prop_assert!(cluster.serves_alone(NEWER), "{:?} {:?}", cluster.state, cluster.sight());
    }

    #[test]
    fn a_revision_whose_requests_fail_never_takes_over(
        mut cluster in cluster(), acts in prop::collection::vec(act(), 0..40),
    ) {
        cluster.fates.insert(NEW, vec![Fate::Good; 5]);
        cluster.rules.analysis = Some(Analysis {
            min_requests: 10,
            max_error_rate: "1%".parse().ok(),
            max_p99: None,
            max_regression: None,
        });
        let judged = Step { weight: 90, pause: Pause::For(Duration::from_secs(60)) };
        cluster.rules.steps.push(judged);
        cluster.want(NEW);
        for act in acts {
            cluster.act(&act);
            cluster.ask_in_vain();
            cluster.turn();
            prop_assert_ne!(cluster.state, State::Rest);
        }
        calm(&mut cluster);
        for _ in 0..TURNS {
            cluster.act(&Act::Agents);
            cluster.act(&Act::Pass(10));
            cluster.ask_in_vain();
            cluster.turn();
            prop_assert_ne!(cluster.state, State::Rest);
        }
        prop_assert_eq!(cluster.state, State::Failed);
    }

    #[test]
    fn operators_that_restart_at_any_step_end_the_same(
        mut cluster in cluster(), restarts in prop::collection::vec(any::<bool>(), 40),
    ) {
        let mut other = cluster.clone();
        cluster.want(NEW);
        other.want(NEW);
        for restart in restarts {
            for one in [&mut cluster, &mut other] {
                one.act(&Act::Agents);
                one.act(&Act::Pass(10));
            }
            if restart {
                other.act(&Act::RestartOperator);
            }
            cluster.turn();
            other.turn();
        }
        settle(&mut cluster);
        settle(&mut other);
        prop_assert_eq!(cluster.state, other.state);
        if cluster.rules.on_failure == OnFailure::Rollback {
            prop_assert_eq!(cluster.places(), other.places());
        }
    }
}
