//! What revisions did that take over from each other, told to the operator, who judges the
//! rollout by it. Nothing is told while every placement has one revision, so that a node at rest
//! sends nothing. Counts are cumulative: what did not arrive is in the next report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::Reason;
use crds::handover::{
    ComponentTallies, RevisionTally, TALLIES_EVERY_SECONDS, TALLY_COMPONENTS_MAX, TallyReport,
};
use crds::revision::ComponentIdentity;
use crds::tally::{Histogram, Tally};
use runtime::Outcome;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::figures::{NamedFigures, Question};
use crate::desired::Desired;
use crate::message::Figures;
use crate::source::Sink;

/// How often counts are looked at.
const EVERY: Duration = Duration::from_secs(TALLIES_EVERY_SECONDS);
/// How often they are told although nothing has changed: the operator that leads may have begun
/// a moment ago, and keeps them in memory only.
const AGAIN: Duration = Duration::from_secs(30);
/// How long the worker may take to say them.
const ANSWER: Duration = Duration::from_secs(1);

/// Tells until `stop`.
pub async fn run(
    mut desired: watch::Receiver<Desired>,
    questions: mpsc::Sender<Question>,
    sink: Arc<dyn Sink>,
    stop: CancellationToken,
) {
    let told = async {
        let mut last = Told::default();
        // It ends with the loop that it asks.
        while desired.wait_for(takes_over).await.is_ok() {
            tokio::time::sleep(EVERY).await;
            let Some(figures) = ask(&questions).await else {
                continue;
            };
            let components = tallies(&desired.borrow().clone(), &figures);
            if !last.is_news(&components, Instant::now()) {
                continue;
            }
            for components in components.chunks(TALLY_COMPONENTS_MAX) {
                let components = components.to_vec();
                if let Err(error) = sink.tallies(&TallyReport { components }).await {
                    tracing::debug!(%error, "what revisions did could not be told; it is told again");
                    last = Told::default();
                }
            }
        }
    };
    stop.run_until_cancelled(told).await;
}

/// What was told last, and when.
#[derive(Default)]
struct Told(Option<(Instant, Vec<ComponentTallies>)>);

impl Told {
    /// Whether it is time to tell this; if so, it is what was told last.
    fn is_news(&mut self, components: &[ComponentTallies], now: Instant) -> bool {
        let known = self.0.as_ref().is_some_and(|(at, told)| {
            told == components && now.saturating_duration_since(*at) < AGAIN
        });
        if components.is_empty() || known {
            return false;
        }
        self.0 = Some((now, components.to_vec()));
        true
    }
}

/// Whether a revision takes over from another one somewhere.
fn takes_over(desired: &Desired) -> bool {
    let mut placements = desired.placements.values();
    placements.any(|placement| placement.revisions.len() > 1)
}

async fn ask(questions: &mpsc::Sender<Question>) -> Option<Vec<NamedFigures>> {
    let (question, answer) = oneshot::channel();
    questions.send(question).await.ok()?;
    let answered = tokio::time::timeout(ANSWER, answer).await.ok()?.ok()?;
    Some(answered.revisions)
}

/// The counts of placements that hold two revisions.
fn tallies(desired: &Desired, figures: &[NamedFigures]) -> Vec<ComponentTallies> {
    let mut components: BTreeMap<&ComponentIdentity, Vec<RevisionTally>> = BTreeMap::new();
    for of in figures {
        let Some(placement) = desired.placements.get(&of.placement) else {
            continue;
        };
        let revision = &of.figures.revision;
        let mut placed = placement.revisions.iter();
        if placement.revisions.len() > 1 && placed.any(|placed| placed.name == *revision) {
            let revisions = components.entry(&placement.component).or_default();
            revisions.push(RevisionTally {
                revision: revision.clone(),
                epoch: of.epoch,
                tally: tally(&of.figures),
            });
        }
    }
    let components = components.into_iter();
    components
        .map(|(component, revisions)| ComponentTallies {
            component: component.clone(),
            revisions,
        })
        .collect()
}

fn tally(figures: &Figures) -> Tally {
    let failures = Outcome::ALL.into_iter().filter(|of| of.is_failure());
    let failures = failures.filter_map(|outcome| {
        let count = figures.outcomes.get(outcome.name()).copied();
        let count = count.filter(|count| *count > 0)?;
        Some((Reason::named(outcome.name()), count))
    });
    let latency = figures.latency.iter().take(Histogram::BUCKETS_MAX);
    Tally {
        failures: failures.collect(),
        errors: figures.errors,
        latency: latency.map(|(bound, count)| (*bound, *count)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use artifact::Digest;

    use super::*;
    use crate::desired::{DesiredPlacement, DesiredRevision, PlacementKey};

    fn key(component: &str) -> PlacementKey {
        PlacementKey {
            namespace: "shop".to_owned(),
            name: format!("{component}-node"),
        }
    }

    fn desired(placements: &[(&str, &[&str])]) -> Desired {
        let placements = placements.iter().map(|(component, revisions)| {
            let placement = DesiredPlacement {
                uid: "p".to_owned(),
                generation: 1,
                component: ComponentIdentity {
                    namespace: "shop".to_owned(),
                    name: (*component).to_owned(),
                    uid: "u".to_owned(),
                },
                replicas: 1,
                ports: BTreeMap::new(),
                revisions: revisions
                    .iter()
                    .map(|name| DesiredRevision {
                        name: (*name).to_owned(),
                        digest: Digest::of(name.as_bytes()),
                        weight: 50,
                    })
                    .collect(),
            };
            (key(component), placement)
        });
        Desired {
            placements: placements.collect(),
        }
    }

    fn figures(component: &str, revision: &str) -> NamedFigures {
        NamedFigures {
            placement: key(component),
            component: component.to_owned(),
            epoch: 7,
            figures: Figures {
                revision: revision.to_owned(),
                outcomes: BTreeMap::from([
                    ("Completed".to_owned(), 90),
                    ("Trapped".to_owned(), 3),
                    ("Cancelled".to_owned(), 2),
                    ("ConcurrencyLimit".to_owned(), 40),
                    ("Invented".to_owned(), 1_000),
                ]),
                errors: 5,
                latency: BTreeMap::from([(1_024, 90), (2_048, 5)]),
                ..Figures::default()
            },
        }
    }

    #[test]
    fn only_what_takes_over_is_told_and_only_what_the_platform_saw_fail_is_a_failure() {
        let desired = desired(&[("orders", &["old", "new"]), ("carts", &["only"])]);
        let told = tallies(
            &desired,
            &[
                figures("orders", "old"),
                figures("orders", "new"),
                // It drains, or is a claim of a worker that broke out.
                figures("orders", "older"),
                figures("carts", "only"),
            ],
        );
        let [orders] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert_eq!(orders.component.name, "orders");
        let names: Vec<&str> = orders
            .revisions
            .iter()
            .map(|of| of.revision.as_str())
            .collect();
        assert_eq!(names, ["old", "new"]);
        let RevisionTally { epoch, tally, .. } = &orders.revisions[1];
        assert_eq!((*epoch, tally.requests(), tally.errors), (7, 95, 5));
        assert_eq!(tally.failures, BTreeMap::from([(Reason::Trapped, 3)]));
    }

    #[test]
    fn a_node_at_rest_has_nothing_to_tell() {
        assert!(!takes_over(&desired(&[
            ("orders", &["a"]),
            ("carts", &["b"])
        ])));
        assert!(takes_over(&desired(&[
            ("orders", &["a"]),
            ("carts", &["b", "c"])
        ])));
    }

    #[test]
    fn what_has_not_changed_is_told_seldom() {
        let desired = desired(&[("orders", &["old", "new"])]);
        let counts = |calls| {
            let mut figures = figures("orders", "new");
            figures.figures.latency.insert(1_024, calls);
            tallies(&desired, &[figures])
        };
        let (mut told, start) = (Told::default(), Instant::now());
        assert!(told.is_news(&counts(1), start));
        assert!(!told.is_news(&counts(1), start + EVERY));
        assert!(told.is_news(&counts(2), start + EVERY));
        assert!(told.is_news(&counts(2), start + EVERY + AGAIN));
        assert!(!Told::default().is_news(&[], start));
    }

    #[test]
    fn every_failure_of_the_runtime_has_a_reason() {
        for outcome in Outcome::ALL.into_iter().filter(|of| of.is_failure()) {
            assert_eq!(Reason::named(outcome.name()).to_string(), outcome.name());
        }
    }
}
