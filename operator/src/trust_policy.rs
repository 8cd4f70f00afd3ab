//! Follows the trust policies: reads the roots that they refer to, and says in their
//! status whether each can be applied and what it means for the components.
//!
//! A policy that cannot be read admits nothing (`resolver` sees to that), so whoever
//! wrote it has to learn of it here. Status only, on transitions only: the numbers
//! are written when they changed, all changes of ten seconds at once.

use std::sync::Arc;
use std::time::Duration;

use artifact::root::Roots;
use artifact::trust::{Mode, Policy};
use crds::condition::ConditionStatus;
use crds::{PolicyStatus, Reason, TrustPolicy};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client, ResourceExt};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::caches::Caches;
use crate::component::{Key, validate};
use crate::policy_status::{self, Accepted, Tally};
use crate::queue::Queue;
use crate::reader::Reader;
use crate::resolver::Resolver;
use crate::trust::TrustBook;
use crate::writer::Writer;

/// How often all are looked at although nothing was heard: components come and go.
const AGAIN: Duration = Duration::from_secs(10);
/// How often the roots are read though no policy changed: ConfigMaps are not watched,
/// since the operator may only `get` them. A root that is missing is looked for with
/// every look at the policies.
const ROOTS_AGAIN: Duration = Duration::from_secs(60);

/// What the task works with.
pub struct Context {
    /// For the typed API; writes go through `writer`.
    pub client: Client,
    /// Reads the roots.
    pub reader: Reader,
    /// Writes as the leader.
    pub writer: Writer,
    /// The policies and the components.
    pub caches: Caches,
    /// Where the roots are put.
    pub book: TrustBook,
    /// Knows what each policy means for the components.
    pub resolver: Resolver,
    /// Components to look at once a root has changed.
    pub queue: Arc<Queue>,
    /// The namespace of the roots' ConfigMaps.
    pub namespace: String,
}

/// Reads roots, on every replica, and keeps the statuses as they should be while
/// this one leads, until `shutdown`.
pub async fn run(context: Context, changed: Arc<Notify>, shutdown: CancellationToken) {
    let mut roots_due = Instant::now();
    loop {
        // All arms may be dropped.
        tokio::select! {
            () = changed.notified() => roots_due = Instant::now(),
            () = tokio::time::sleep(AGAIN) => {}
            () = shutdown.cancelled() => return,
        }
        let (caches, book) = (&context.caches, &context.book);
        if roots_due <= Instant::now() {
            roots_due = Instant::now() + ROOTS_AGAIN;
            let namespace = &context.namespace;
            if book
                .refresh(&caches.policies, &context.reader, namespace)
                .await
            {
                caches.wake_all(&context.queue);
            }
            if !book.is_complete() {
                roots_due = Instant::now();
            }
        }
        if context.writer.gate().term(Instant::now()).is_ok() {
            report(&context).await;
        }
    }
}

/// Writes what is not said yet.
async fn report(context: &Context) {
    let caches = &context.caches;
    let api: Api<TrustPolicy> = Api::all(context.client.clone());
    let rules = context.book.rules(&caches.policies);
    let tallies = all_known(context)
        .then(|| context.resolver.tally())
        .flatten();
    for policy in caches.policies.all() {
        let name = policy.name_any();
        let tally = tallies
            .as_ref()
            .map(|tallies| tallies.get(&name).copied().unwrap_or_default());
        let status = status(&policy, rules.roots(), tally, Timestamp::now());
        let before = policy.status.as_ref();
        policy_status::write(
            &context.writer,
            &api,
            &caches.policies,
            &policy,
            before,
            &status,
        )
        .await;
    }
}

/// Whether every component whose spec makes sense was looked at: before, numbers
/// would be too small.
fn all_known(context: &Context) -> bool {
    context.caches.synced()
        && context.caches.components.all().iter().all(|component| {
            let key = Key::new(
                component.namespace().unwrap_or_default(),
                component.name_any(),
            );
            context.resolver.knows(&key) || validate(component).is_err()
        })
}

/// What is to be said of `policy`. Without a `tally` the numbers stay as they were.
pub fn status(
    policy: &TrustPolicy,
    roots: &Roots,
    tally: Option<Tally>,
    now: Timestamp,
) -> PolicyStatus {
    let (generation, before) = (policy.metadata.generation, policy.status.as_ref());
    policy_status::status(generation, before, accepted(policy, roots, now), tally, now)
}

fn accepted(policy: &TrustPolicy, roots: &Roots, now: Timestamp) -> Accepted {
    let spec = serde_json::to_value(&policy.spec).unwrap_or_default();
    let parsed = match Policy::parse(&policy.name_any(), &spec) {
        Ok(parsed) => parsed,
        Err(error) => {
            let message =
                format!("{error}; until it is mended, the policy admits nothing that it covers");
            return (ConditionStatus::False, Reason::PolicyUnusable, message);
        }
    };
    let missing = parsed
        .root_references()
        .into_iter()
        .find_map(|reference| roots.get(Some(reference)).err());
    if let Some(problem) = missing {
        let message =
            format!("{problem}; until then, nothing is admitted that needs this trusted root");
        return (ConditionStatus::False, Reason::RootUnavailable, message);
    }
    let mut message = policy_status::in_force(
        parsed.mode() == Mode::Enforce,
        policy.spec.namespace_selector.as_ref(),
    );
    let stale = roots.public_good_stale_since(now);
    if let Some(since) = stale.filter(|_| parsed.needs_public_good()) {
        message.push_str(&format!(
            "; the public root should have been renewed by {since} and was not, so the last good one goes on counting: see the operator's log, and whether it reaches --tuf-mirror"
        ));
        return (ConditionStatus::True, Reason::RootStale, message);
    }
    (ConditionStatus::True, Reason::Accepted, message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

    use super::*;

    fn policy(key: &str) -> TrustPolicy {
        serde_json::from_value(serde_json::json!({
            "apiVersion": crds::API_VERSION, "kind": "TrustPolicy",
            "metadata": {"name": "shop", "generation": 3},
            "spec": {
                "images": [{"glob": "registry.example/shop/**"}],
                "authorities": [{"name": "release", "key": {"data": key}, "ctlog": "Ignore"}],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_policy_whose_key_cannot_be_read_is_not_accepted_and_says_so() {
        let unreadable = policy("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
        let status = status(&unreadable, &Roots::new(), None, Timestamp::now());
        assert_eq!(status.observed_generation, Some(3));
        assert_eq!(
            (
                status.conditions[0].status.as_str(),
                status.conditions[0].reason.as_str()
            ),
            ("False", "PolicyUnusable")
        );
    }

    fn pem() -> String {
        let key = crate::seal::SealKey::generate().unwrap();
        let key = crate::seal::SealKey::from_pkcs8(&key).unwrap();
        key.public().to_pem()
    }

    fn said(policy: &TrustPolicy, tally: Option<Tally>, second: i64) -> PolicyStatus {
        let now = Timestamp::from_second(second).unwrap();
        status(policy, &Roots::new(), tally, now)
    }

    #[test]
    fn a_policy_that_was_accepted_keeps_its_time_and_its_numbers() {
        let mut policy = policy(&pem());
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
    fn a_public_root_that_is_overdue_is_said_of_the_policies_that_need_it() {
        let expires: Timestamp = "2025-07-01T00:00:00Z".parse().unwrap();
        let late = "2025-07-02T00:00:00Z".parse().unwrap();
        let roots = Roots::new().with_public_good_until(expires);
        let mut policy = policy(&pem());
        let reason = |policy: &TrustPolicy, now| {
            let condition = status(policy, &roots, None, now).conditions[0].clone();
            assert_eq!(condition.status, "True");
            condition.reason
        };
        assert_eq!(reason(&policy, late), "Accepted");
        policy.spec.authorities[0].ctlog = serde_json::from_str("\"Required\"").unwrap();
        assert_eq!(reason(&policy, late), "RootStale");
        let early = "2025-06-30T00:00:00Z".parse().unwrap();
        assert_eq!(reason(&policy, early), "Accepted");
    }

    #[test]
    fn a_label_that_a_tenant_may_set_is_warned_of() {
        let mut policy = policy(&pem());
        let selector = |label: &str| {
            let labels = BTreeMap::from([(label.to_owned(), "shop".to_owned())]);
            Some(LabelSelector {
                match_labels: Some(labels),
                ..LabelSelector::default()
            })
        };
        policy.spec.namespace_selector = selector("kubernetes.io/metadata.name");
        assert_eq!(said(&policy, None, 1).conditions[0].message, "in force");
        policy.spec.namespace_selector = selector("team");
        let condition = &said(&policy, None, 1).conditions[0];
        assert_eq!(condition.status, "True");
        assert!(condition.message.contains("label team"), "{condition:?}");
    }
}
