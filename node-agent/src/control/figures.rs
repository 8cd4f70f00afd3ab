//! The counters of this node. The worker counts; the names that the counters are shown under
//! come from control's own books.

use std::time::Duration;

use tokio::sync::oneshot;

use super::Control;
use super::runs::RunFigures;
use crate::desired::PlacementKey;
use crate::message::{Figures, SlotId, ToWorker};
use crate::source::Source;

/// Asks for the counters.
pub type Question = oneshot::Sender<Counts>;

/// What control counts, and what it asked the worker for.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Workers that have started since control did.
    pub worker_starts: u64,
    /// Changes of weights.
    pub swaps: Swaps,
    /// Audit records that were lost on this node.
    pub audit_lost: u64,
    /// The counters of every revision.
    pub revisions: Vec<NamedFigures>,
    /// Replicas of components that run by themselves.
    pub runs: Vec<RunFigures>,
}

/// Changes of weights that the worker has made, and how long it took to hear of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swaps {
    /// How many.
    pub count: u64,
    /// From the word to the worker until its answer, all of them, in microseconds.
    pub micros: u64,
}

impl Swaps {
    pub(super) fn count(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.count = self.count.saturating_add(1);
        self.micros = self.micros.saturating_add(micros);
    }
}

/// Counters with the names that control knows for them.
#[derive(Clone, Debug)]
pub struct NamedFigures {
    /// The placement.
    pub placement: PlacementKey,
    /// Name of the component.
    pub component: String,
    /// Since when, in microseconds since 1970: a worker that is started again counts anew.
    pub epoch: u64,
    /// What the worker counted.
    pub figures: Figures,
}

/// Outcomes are words of a closed list; a worker that broke out must not invent a million.
fn is_label(outcome: &str) -> bool {
    /// The longest of them is `ConcurrencyLimit`.
    const LONGEST: usize = 24;
    outcome.len() <= LONGEST && outcome.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn is_capability(name: &str) -> bool {
    let mut known = runtime::Capability::ALL.into_iter();
    known.any(|capability| capability.name() == name)
}

impl<S: Source + ?Sized> Control<S> {
    pub(super) async fn ask_figures(&mut self, question: Question) {
        /// Scrapes that wait for the same answer.
        const QUESTIONS: usize = 16;
        if self.waiting_questions.len() < QUESTIONS {
            self.waiting_questions.push(question);
            self.tell(ToWorker::Count, Vec::new()).await;
        }
    }

    pub(super) fn answer_figures(&mut self, revisions: &[Figures]) {
        let revisions: Vec<NamedFigures> = revisions
            .iter()
            .filter_map(|figures| {
                // Names come from control's own books, never from the worker.
                let placement = self.key_of(SlotId(figures.slot))?;
                let slot = self.running.slots.get(&placement)?;
                slot.revisions.get(&figures.revision)?;
                let loaded = &self.slots.get(&placement)?.loaded;
                let since = loaded.get(&figures.revision)?.since.as_microsecond();
                let component = self
                    .desired
                    .placements
                    .get(&placement)?
                    .component
                    .name
                    .clone();
                let mut figures = figures.clone();
                figures.outcomes.retain(|outcome, _| is_label(outcome));
                for uses in [&mut figures.allowed, &mut figures.denied] {
                    uses.retain(|name, _| is_capability(name));
                }
                Some(NamedFigures {
                    placement,
                    component,
                    epoch: u64::try_from(since).unwrap_or_default(),
                    figures,
                })
            })
            .collect();
        let counts = Counts {
            worker_starts: self.worker_starts,
            swaps: self.swaps,
            audit_lost: self.auditor.lost(),
            revisions,
            runs: self.run_figures(),
        };
        for question in self.waiting_questions.drain(..) {
            let _ = question.send(counts.clone());
        }
    }
}
