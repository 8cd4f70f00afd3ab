//! What was denied on this node, gathered for the operator, who makes Events of it: agents
//! write none. A report at most every half minute, and none while nothing is denied. Bounded
//! by components and kinds; the counts go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::handover::{
    ComponentDenials, DENIAL_COMPONENTS_MAX, DENIAL_KINDS_MAX, DENIALS_EVERY_SECONDS, Denial,
    DenialReport,
};
use crds::revision::ComponentIdentity;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::source::Sink;

/// Denials that may wait to be gathered.
pub const WAITING: usize = 1_024;
/// Kinds of one component that are told apart while they are gathered.
const KINDS: usize = 8 * DENIAL_KINDS_MAX;

/// One denial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Whose.
    pub component: ComponentIdentity,
    /// What kind of thing.
    pub capability: &'static str,
    /// Which thing, escaped and cut.
    pub object: String,
    /// What denied it.
    pub rule: String,
}

#[derive(Debug, Default)]
struct Gathered(BTreeMap<ComponentIdentity, Component>);

#[derive(Debug, Default)]
struct Component {
    total: u64,
    kinds: BTreeMap<(&'static str, String, String), u64>,
}

/// Gathers and reports until `stop`.
pub async fn run(mut denied: mpsc::Receiver<Denied>, sink: Arc<dyn Sink>, stop: CancellationToken) {
    let pause = Duration::from_secs(DENIALS_EVERY_SECONDS);
    let mut gathered = Gathered::default();
    loop {
        let Some(Some(first)) = stop.run_until_cancelled(denied.recv()).await else {
            return;
        };
        gathered.add(first);
        let due = tokio::time::sleep(pause);
        tokio::pin!(due);
        loop {
            tokio::select! {
                one = denied.recv() => match one {
                    Some(one) => gathered.add(one),
                    None => return,
                },
                () = &mut due => break,
                () = stop.cancelled() => return,
            }
        }
        // What did not arrive is told with the next, whenever something is denied again.
        if sink.denials(&gathered.report()).await.is_ok() {
            gathered = Gathered::default();
        }
    }
}

impl Gathered {
    fn add(&mut self, denied: Denied) {
        let Denied {
            component,
            capability,
            object,
            rule,
        } = denied;
        if !self.0.contains_key(&component) && self.0.len() >= DENIAL_COMPONENTS_MAX {
            return;
        }
        let of = self.0.entry(component).or_default();
        of.total = of.total.saturating_add(1);
        let kind = (capability, object, rule);
        if of.kinds.contains_key(&kind) || of.kinds.len() < KINDS {
            let count = of.kinds.entry(kind).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn report(&self) -> DenialReport {
        let components = self.0.iter().map(|(component, of)| {
            let kinds = of.kinds.iter();
            let mut kinds: Vec<Denial> = kinds
                .map(|((capability, object, rule), count)| Denial {
                    capability: (*capability).to_owned(),
                    object: object.clone(),
                    rule: rule.clone(),
                    count: *count,
                })
                .collect();
            kinds.sort_by_key(|kind| std::cmp::Reverse(kind.count));
            kinds.truncate(DENIAL_KINDS_MAX);
            ComponentDenials {
                component: component.clone(),
                total: of.total,
                kinds,
            }
        });
        DenialReport {
            components: components.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(name: &str, object: &str) -> Denied {
        Denied {
            component: ComponentIdentity {
                namespace: "shop".into(),
                name: name.into(),
                uid: name.into(),
            },
            capability: "network",
            object: object.into(),
            rule: "NotGranted".into(),
        }
    }

    #[test]
    fn a_flood_of_one_component_stays_small_and_is_counted() {
        let mut gathered = Gathered::default();
        for number in 0..10_000 {
            gathered.add(denied("orders", &number.to_string()));
            gathered.add(denied("orders", "often"));
        }
        gathered.add(denied("carts", "once"));
        let report = gathered.report();
        assert_eq!(report.components.len(), 2);
        let orders = &report.components[1];
        assert_eq!(
            (orders.total, orders.kinds.len()),
            (20_000, DENIAL_KINDS_MAX)
        );
        assert_eq!(
            (orders.kinds[0].object.as_str(), orders.kinds[0].count),
            ("often", 10_000)
        );
    }

    #[test]
    fn a_report_names_a_bounded_number_of_components() {
        let mut gathered = Gathered::default();
        for number in 0..1_000 {
            gathered.add(denied(&format!("c{number}"), "x"));
        }
        assert_eq!(gathered.report().components.len(), DENIAL_COMPONENTS_MAX);
    }
}
