//! Events about components: bounded, whoever tells them.
//!
//! `kubectl describe` shows them; nobody may rely on them. At most one for each
//! (component, reason, failed revision) in five minutes and twenty a minute for each namespace,
//! so that a component that flaps cannot flood the API server. The driver tells of
//! transitions, `denials` of what guests were denied.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crds::{WasmComponent, condition};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tokio::time::Instant;

use crate::component::Key;
use crate::writer::Writer;

/// The same reason of the same component is told once in this time.
const SAME: Duration = Duration::from_secs(300);
/// Events of one namespace in `PER_NAMESPACE_IN`.
const PER_NAMESPACE: usize = 20;
const PER_NAMESPACE_IN: Duration = Duration::from_secs(60);
/// Longest note in bytes: a little less than events.k8s.io admits.
const NOTE: u32 = 1_000;

/// Publishes Events within their bounds.
pub(crate) struct Events {
    recorder: Recorder,
    limits: Limits,
}

/// How many Events were told lately, and of what.
#[derive(Debug, Default)]
struct Limits {
    told: BTreeMap<(Key, String), Instant>,
    recent: BTreeMap<String, VecDeque<Instant>>,
}

impl Events {
    pub(crate) fn new(client: &Client, identity: &str) -> Self {
        let reporter = Reporter {
            controller: "operator.lighterman.dev".to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            limits: Limits::default(),
        }
    }

    /// Tells the new reason of `Ready`, as the leader. A lost Event is no error: the
    /// condition says the same. `failed` names the revision that has failed, if one has: one
    /// bad version may follow another, and both are told.
    pub(crate) async fn transition(
        &mut self,
        writer: &Writer,
        key: &Key,
        component: &WasmComponent,
        ready: &Condition,
        failed: Option<&str>,
    ) {
        let what = match failed {
            Some(revision) => format!("{} {revision}", ready.reason),
            None => ready.reason.clone(),
        };
        if !self.limits.admit(key, &what, Instant::now()) {
            return;
        }
        let type_ = if ready.status == "True" || !stalls(ready) {
            EventType::Normal
        } else {
            EventType::Warning
        };
        let event = Event {
            // Or the recorder would count it as the same again.
            secondary: failed.map(|revision| ObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: Some("ControllerRevision".to_owned()),
                namespace: Some(key.namespace.clone()),
                name: Some(revision.to_owned()),
                ..ObjectReference::default()
            }),
            ..event(type_, &ready.reason, &ready.message, "Reconcile")
        };
        let reference = component.object_ref(&());
        let published = writer.publish(self.recorder.publish(&event, &reference));
        if let Err(error) = published.await {
            tracing::debug!(component = %key, error = &error as &dyn std::error::Error, "an Event was lost");
        }
    }

    /// Whether a warning of `reason` would be told now; if so, it counts as told.
    pub(crate) fn admit(&mut self, key: &Key, reason: &str) -> bool {
        self.limits.admit(key, reason, Instant::now())
    }

    /// Warns of something that agents told, leader or not, once it was admitted.
    pub(crate) async fn warn(
        &self,
        writer: &Writer,
        component: &WasmComponent,
        reason: &str,
        note: &str,
    ) {
        let event = event(EventType::Warning, reason, note, "Call");
        let reference = component.object_ref(&());
        let published = writer.tell(self.recorder.publish(&event, &reference));
        if let Err(error) = published.await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "an Event was lost"
            );
        }
    }

    pub(crate) fn retain(&mut self, exists: impl Fn(&Key) -> bool) {
        self.limits.told.retain(|(key, _), _| exists(key));
    }
}

fn event(type_: EventType, reason: &str, note: &str, action: &str) -> Event {
    Event {
        type_,
        reason: reason.to_owned(),
        note: Some(condition::bounded(note.to_owned(), NOTE)),
        action: action.to_owned(),
        secondary: None,
    }
}

/// Whether the reason is one that somebody has to act upon.
fn stalls(ready: &Condition) -> bool {
    use crds::reason::Retry;
    let retry = ready
        .reason
        .parse::<crds::Reason>()
        .map(crds::Reason::retry);
    matches!(retry, Ok(Retry::OnChange | Retry::WithBackoff))
}

impl Limits {
    fn admit(&mut self, key: &Key, reason: &str, now: Instant) -> bool {
        let same = (key.clone(), reason.to_owned());
        if self
            .told
            .get(&same)
            .is_some_and(|told| now.duration_since(*told) < SAME)
        {
            return false;
        }
        let recent = self.recent.entry(key.namespace.clone()).or_default();
        while recent
            .front()
            .is_some_and(|first| now.duration_since(*first) >= PER_NAMESPACE_IN)
        {
            recent.pop_front();
        }
        if recent.len() >= PER_NAMESPACE {
            return false;
        }
        recent.push_back(now);
        self.told.retain(|_, told| now.duration_since(*told) < SAME);
        self.told.insert(same, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_that_flaps_is_told_of_once() {
        let (mut limits, key, start) = (
            Limits::default(),
            Key::new("shop", "orders"),
            Instant::now(),
        );
        assert!(limits.admit(&key, "Unsigned", start));
        assert!(!limits.admit(&key, "Unsigned", start + Duration::from_secs(299)));
        assert!(limits.admit(&key, "Unsigned", start + SAME));
    }

    #[test]
    fn a_namespace_has_its_share_and_leaves_others_theirs() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        let admitted = (0..100)
            .filter(|n| limits.admit(&Key::new("shop", format!("c{n}")), "Ready", start))
            .count();
        assert_eq!(admitted, PER_NAMESPACE);
        assert!(limits.admit(&Key::new("bank", "c"), "Ready", start));
    }
}
