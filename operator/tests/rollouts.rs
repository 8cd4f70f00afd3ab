//! Laws of rollouts: whatever nodes make of a new revision and whenever the operator starts
//! again, every node serves something at every step, and all end the same.
//!
//! Plans are carried out on nodes that answer as agents do, in rounds, until nothing moves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

#[path = "golden_cases/given.rs"]
mod given;
#[path = "golden_cases/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crds::Reason;
use crds::placement::{Phase, RevisionStatus};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use operator::component::observe::{Observed, Placed};
use operator::component::{Applied, Validated, admit, plan, report, validate};
use proptest::prelude::*;

/// More rounds than any rollout of this size takes, with a new start in each.
const ROUNDS: usize = 200;
/// How long a round takes.
const ROUND: Duration = Duration::from_secs(60);

/// What a node makes of the new revision.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    Serves,
    Refuses,
    /// Fails for now, and serves in the end.
    Stumbles,
    NeverComes,
}

#[derive(Debug)]
struct Story {
    observed: Observed,
    validated: Validated,
    manners: Vec<Manner>,
    old: String,
    new: String,
}

impl Story {
    fn new(manners: Vec<Manner>, rollout: &str) -> Story {
        let nodes: Vec<usize> = (0..manners.len()).collect();
        let lines = |line: &dyn Fn(&usize) -> String| nodes.iter().map(line).collect::<String>();
        let text = format!(
            "component:\n  apiVersion: lighterman.dev/v1alpha1\n  kind: WasmComponent\n  \
             metadata: {{namespace: shop, name: orders, uid: uid-orders, generation: 1}}\n  spec:\n    \
             image: registry.example/shop/orders:1\n    triggers: [{{name: web, http: {{port: 80}}}}]\n    \
             replicas: {}\n    rollout: {rollout}\nresolution: {{done: two}}\nnodes:\n{}revisions: [one, two]\n\
             placements:\n{}current: one\nservice: ours\nslices: []\n",
            manners.len(),
            lines(&|n| format!("  n{n}: {{address: 192.0.2.{n}}}\n")),
            lines(&|n| format!(
                "  - {{node: n{n}, revisions: [one], serving: one, steady: 100}}\n"
            )),
        );
        let given: given::Given = serde_saphyr::from_str(&text).unwrap();
        let validated = validate(&given.component).unwrap();
        let observed = world::observed(given, Some(&validated));
        let name = |index: usize| observed.revisions[index].name.clone();
        let (old, new) = (name(0), name(1));
        Story {
            observed,
            validated,
            manners,
            old,
            new,
        }
    }

    /// Lets the operator take one step and the nodes answer. Says whether anything moved.
    fn round(&mut self, number: usize, restarts: bool) -> bool {
        let admission = admit(&self.observed, &self.validated);
        let planned = plan(&self.observed, &self.validated, admission);
        assert!(planned.placements.create.is_empty() && planned.placements.delete.is_empty());
        let mut moved = !planned.placements.update.is_empty();
        for wanted in &planned.placements.update {
            let weights: u32 = wanted.spec.revisions.iter().map(|one| one.weight).sum();
            assert_eq!(weights, 100, "{:?}", wanted.spec.revisions);
            let name = wanted.name_any();
            let mut placements = self.observed.placements.iter_mut();
            let placed = placements.find(|placed| placed.object.name_any() == name);
            placed.unwrap().object.spec = wanted.spec.clone();
        }
        let applied = Applied::new(planned, None);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let status = report::status(&self.observed, &[], &applied, now);
        let component = Arc::make_mut(&mut self.observed.component);
        component.status = Some(status);
        for (placed, manner) in self.observed.placements.iter_mut().zip(&self.manners) {
            moved |= answer(placed, *manner, &self.new, number);
            let spec = &placed.object.spec;
            let serving = serving(placed);
            let in_front = spec.revisions.first().map(|one| one.name.clone());
            placed.steady = (serving == in_front && !restarts).then_some(ROUND);
        }
        self.observed.standstill = match moved || restarts {
            true => Duration::ZERO,
            false => self.observed.standstill + ROUND,
        };
        moved
    }

    /// Rounds until nothing has moved for longer than any deadline.
    fn run_to_the_end(&mut self, restarts: &BTreeSet<usize>) {
        let mut quiet = 0;
        for number in 0..ROUNDS {
            let restarts = restarts.contains(&number);
            let moved = self.round(number, restarts);
            quiet = if moved || restarts { 0 } else { quiet + 1 };
            if quiet > 15 {
                return;
            }
        }
        panic!("it moves without end: {:?}", self.observed.placements);
    }

    fn serving(&self) -> BTreeSet<String> {
        let all = self.observed.placements.iter();
        all.map(|placed| serving(placed).unwrap()).collect()
    }

    fn reason(&self) -> Reason {
        let status = self.observed.component.status.as_ref().unwrap();
        let mut conditions = status.conditions.iter();
        let ready = conditions.find(|condition| condition.type_ == "Ready");
        ready.unwrap().reason.parse().unwrap()
    }
}

fn serving(placed: &Placed) -> Option<String> {
    placed.object.status.as_ref()?.serving.clone()
}

/// What an agent does with its placement. Says whether that changed anything.
fn answer(placed: &mut Placed, manner: Manner, new: &str, round: usize) -> bool {
    let told = &placed.object.spec.revisions;
    let in_front = told.iter().find(|one| one.weight > 0).unwrap().name.clone();
    let before = placed.object.status.clone().unwrap();
    let mut status = before.clone();
    let does = match manner {
        _ if in_front != *new => Manner::Serves,
        Manner::Stumbles if round.is_multiple_of(3) || serving(placed).as_deref() == Some(new) => {
            Manner::Serves
        }
        manner => manner,
    };
    let failed = |reason: Reason| RevisionStatus {
        name: new.to_owned(),
        phase: Phase::Failed,
        reason: Some(reason),
        message: Some("it said so".to_owned()),
    };
    status.revisions = match does {
        Manner::Serves => Vec::new(),
        Manner::Refuses => vec![failed(Reason::StartFailed)],
        Manner::Stumbles => vec![failed(Reason::NodeSaturated)],
        Manner::NeverComes => Vec::new(),
    };
    if does == Manner::Serves {
        status.serving = Some(in_front);
    }
    placed.object.status = Some(status.clone());
    status != before
}

fn manners() -> impl Strategy<Value = Vec<Manner>> {
    let manner = prop_oneof![
        5 => Just(Manner::Serves),
        1 => Just(Manner::Refuses),
        1 => Just(Manner::Stumbles),
        1 => Just(Manner::NeverComes),
    ];
    prop::collection::vec(manner, 1..6)
}

proptest! {
    #[test]
    fn a_rollout_ends_with_all_on_the_new_revision_or_all_on_the_old_one(
        manners in manners(),
        parallel in prop_oneof![Just("1"), Just("50%"), Just("100%")],
        restarts in prop::collection::btree_set(0usize..40, 0..6),
    ) {
        let parallel = if parallel.ends_with('%') { format!("\"{parallel}\"") } else { parallel.to_owned() };
        let mut story = Story::new(manners.clone(), &format!("{{maxParallel: {parallel}}}"));
        story.run_to_the_end(&restarts);
        let bad = manners.iter().any(|one| matches!(one, Manner::Refuses | Manner::NeverComes));
        let status = story.observed.component.status.clone().unwrap();
        if bad {
            prop_assert_eq!(story.serving(), BTreeSet::from([story.old.clone()]));
            prop_assert_eq!(story.reason(), Reason::RolledBack);
            prop_assert!(status.failed_digest.is_some());
            prop_assert_eq!(status.current.unwrap().revision, story.old);
        } else {
            prop_assert_eq!(story.serving(), BTreeSet::from([story.new.clone()]));
            prop_assert_eq!(status.current.unwrap().revision, story.new);
            prop_assert_eq!(status.failed_digest, None);
        }
    }

    #[test]
    fn with_pause_nobody_goes_back_and_who_fails_goes_on_with_the_old_one(
        manners in manners(),
    ) {
        let mut story = Story::new(manners.clone(), "{maxParallel: 1, onFailure: Pause}");
        story.run_to_the_end(&BTreeSet::new());
        for (placed, manner) in story.observed.placements.iter().zip(&manners) {
            if matches!(manner, Manner::Refuses | Manner::NeverComes) {
                prop_assert_eq!(serving(placed), Some(story.old.clone()));
            }
        }
        prop_assert_eq!(story.observed.component.status.as_ref().unwrap().failed_digest.clone(), None);
    }

    #[test]
    fn a_failure_is_forgotten_with_a_new_image_in_the_middle_of_going_back(
        rounds in 0usize..12,
    ) {
        let mut story = Story::new(vec![Manner::Serves, Manner::Refuses, Manner::Serves], "{maxParallel: 2}");
        for number in 0..rounds {
            story.round(number, false);
        }
        // The new image is one that every node serves: that of the old revision.
        let fixed = Story::new(vec![Manner::Serves; 3], "{maxParallel: 2}");
        let mut observed = story.observed.clone();
        let component = Arc::make_mut(&mut observed.component);
        component.spec.args = vec!["--fixed".to_owned()];
        component.metadata.generation = Some(2);
        let validated = validate(component).unwrap();
        let mut after = Story { observed, validated, ..fixed };
        // It is written first; then it is there.
        let admission = admit(&after.observed, &after.validated);
        let written = plan(&after.observed, &after.validated, admission).revision.unwrap();
        let mut known = after.observed.revisions[1].clone();
        known.name = written.document.revision_name();
        known.document = written.document;
        known.number = 3;
        after.new = known.name.clone();
        after.observed.revisions.push(known);
        after.run_to_the_end(&BTreeSet::new());
        prop_assert_eq!(after.serving(), BTreeSet::from([after.new.clone()]));
        let status = after.observed.component.status.clone().unwrap();
        prop_assert_eq!(status.failed_digest, None);
        prop_assert_eq!(status.failure, None);
    }
}
