//! Follows the capability policies: says in their status whether each can be applied and
//! what it means for the components.
//!
//! What cannot be read of a policy allows nothing (`ceilings` sees to that), so whoever
//! wrote it has to learn of it here. Status only, on transitions only: the numbers are
//! written when they changed, all changes of ten seconds at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crds::condition::ConditionStatus;
use crds::{CapabilityPolicy, PolicyStatus, Reason, capability_policy};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client, ResourceExt};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::caches::Caches;
use crate::component::{Admission, Decision, Key, validate};
use crate::policy_status::{self, Accepted, Tally};
use crate::queue::Queue;
use crate::writer::Writer;

/// How often all are looked at although nothing was heard: components come and go.
const AGAIN: Duration = Duration::from_secs(10);

/// What the task works with.
pub struct Context {
    /// For the typed API; writes go through `writer`.
    pub client: Client,
    /// Writes as the leader.
    pub writer: Writer,
    /// The policies, the namespaces and the components.
    pub caches: Caches,
    /// What the policies have against the components.
    pub objections: Objections,
    /// Components to look at once a policy turns up that cannot be decoded.
    pub queue: Arc<Queue>,
}

/// Which capability policies refuse which component, or would; cheap to clone, all clones
/// are one. The driver notes, this task counts.
#[derive(Debug, Clone, Default)]
pub struct Objections(Arc<Mutex<BTreeMap<Key, BTreeSet<String>>>>);

impl Objections {
    /// Notes what came of a component's admission, once that is known.
    pub fn note(&self, key: &Key, admission: &Admission) {
        if admission.decision != Decision::Waiting {
            let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            noted.insert(key.clone(), admission.objectors.clone());
        }
    }

    /// Forgets components that no longer exist.
    pub fn retain(&self, exists: impl Fn(&Key) -> bool) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.retain(|key, _| exists(key));
    }

    fn of(&self, key: &Key) -> Option<BTreeSet<String>> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.get(key).cloned()
    }
}

/// Keeps the statuses as they should be while this replica leads, until `shutdown`.
pub async fn run(context: Context, changed: Arc<Notify>, shutdown: CancellationToken) {
    let mut unreadable = Vec::new();
    loop {
        // All arms may be dropped.
        tokio::select! {
            () = changed.notified() => {}
            () = tokio::time::sleep(AGAIN) => {}
            () = shutdown.cancelled() => return,
        }
        // They make no change that a watch could tell of, and bound every namespace.
        let now_unreadable = context.caches.capability_policies.unreadable();
        if unreadable != now_unreadable {
            unreadable = now_unreadable;
            context.caches.wake_all(&context.queue);
        }
        if context.writer.gate().term(Instant::now()).is_ok() {
            report(&context).await;
        }
    }
}

/// Writes what is not said yet.
async fn report(context: &Context) {
    let policies = &context.caches.capability_policies;
    let api: Api<CapabilityPolicy> = Api::all(context.client.clone());
    let tallies = tallies(context);
    for policy in policies.all() {
        let name = policy.name_any();
        let tally = tallies
            .as_ref()
            .map(|tallies| tallies.get(&name).copied().unwrap_or_default());
        let status = status(&policy, tally, Timestamp::now());
        let before = policy.status.as_ref();
        policy_status::write(&context.writer, &api, policies, &policy, before, &status).await;
    }
}

/// What each policy means. `None` until every component was looked at whose image is
/// known: numbers that only grow after a start would be as many writes.
fn tallies(context: &Context) -> Option<BTreeMap<String, Tally>> {
    let caches = &context.caches;
    if !caches.synced() {
        return None;
    }
    let policies = caches.capability_policies.all();
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for component in caches.components.all() {
        let namespace = component.namespace().unwrap_or_default();
        let objectors = context
            .objections
            .of(&Key::new(&namespace, component.name_any()));
        let resolved = component
            .status
            .as_ref()
            .and_then(|of| of.resolved.as_ref());
        if objectors.is_none() && resolved.is_some() && validate(&component).is_ok() {
            return None;
        }
        let objectors = objectors.unwrap_or_default();
        let object = caches.namespaces.get("", &namespace);
        let covers = |policy: &&Arc<CapabilityPolicy>| {
            let labels = object.as_ref().map(|object| object.labels());
            labels.is_none_or(|labels| policy.spec.covers(labels))
        };
        for policy in policies.iter().filter(covers) {
            let name = policy.name_any();
            let refused = usize::from(objectors.contains(&name));
            let tally = tallies.entry(name).or_default();
            tally.components = tally.components.saturating_add(1);
            tally.refused = tally.refused.saturating_add(refused);
        }
    }
    Some(tallies)
}

/// What is to be said of `policy`. Without a `tally` the numbers stay as they were.
pub fn status(policy: &CapabilityPolicy, tally: Option<Tally>, now: Timestamp) -> PolicyStatus {
    let (generation, before) = (policy.metadata.generation, policy.status.as_ref());
    policy_status::status(generation, before, accepted(policy), tally, now)
}

fn accepted(policy: &CapabilityPolicy) -> Accepted {
    let problems = capability_policy::problems(policy);
    if !problems.is_empty() {
        let listed: Vec<String> = problems
            .iter()
            .map(|problem| format!("{} {}; {}", problem.field, problem.message, problem.mend))
            .collect();
        let message = format!(
            "{}. Until it is mended, nothing is allowed by what cannot be read, in every namespace that the policy covers",
            listed.join(". ")
        );
        return (ConditionStatus::False, Reason::PolicyUnusable, message);
    }
    let message = policy_status::in_force(
        policy.spec.decides(),
        policy.spec.namespace_selector.as_ref(),
    );
    (ConditionStatus::True, Reason::Accepted, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(spec: serde_json::Value) -> CapabilityPolicy {
        serde_json::from_value(serde_json::json!({
            "apiVersion": crds::API_VERSION, "kind": "CapabilityPolicy",
            "metadata": {"name": "baseline", "generation": 3},
            "spec": spec,
        }))
        .unwrap()
    }

    fn said(policy: &CapabilityPolicy, tally: Option<Tally>, second: i64) -> PolicyStatus {
        status(policy, tally, Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_not_accepted_and_names_the_field() {
        let policy = policy(serde_json::json!({
            "allow": {"network": {"outbound": [{"host": "*.com.*"}]}},
        }));
        let status = said(&policy, None, 1);
        let condition = &status.conditions[0];
        assert_eq!(
            (condition.status.as_str(), condition.reason.as_str()),
            ("False", "PolicyUnusable")
        );
        assert!(
            condition.message.contains("spec.allow.network.outbound[0]"),
            "{condition:?}"
        );
        assert!(policy.spec.ceiling("baseline").allow.outbound.is_empty());
    }

    #[test]
    fn a_policy_that_was_accepted_keeps_its_time_and_its_numbers() {
        let mut policy = policy(serde_json::json!({}));
        let tally = Tally {
            components: 3,
            refused: 1,
        };
        let first = said(&policy, Some(tally), 1);
        assert_eq!((first.components, first.refused), (3, 1));
        policy.status = Some(first.clone());
        assert_eq!(said(&policy, None, 9), first);
    }

    #[test]
    fn a_label_that_a_tenant_may_set_is_warned_of() {
        let policy = policy(serde_json::json!({
            "namespaceSelector": {"matchLabels": {"team": "shop"}},
        }));
        let condition = &said(&policy, None, 1).conditions[0];
        assert_eq!(condition.status, "True");
        assert!(condition.message.contains("label team"), "{condition:?}");
    }
}
