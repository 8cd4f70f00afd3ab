//! The loop's own state: what each component is, was judged to be, and was told.
//!
//! Turns what `observe` sees into what is desired, and what the agent says into events.
//! Knows neither the agent's task nor signals; `local::run` drives it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::Reason;
use crds::component::Trigger;
use crds::placement::{ComponentPlacementStatus, Phase, RunStatus};
use crds::reason::Retry;
use crds::revision::RevisionDocument;
use jiff::Timestamp;
use node_agent::{Desired, Origin, PlacementKey, Rules, Trust};
use operator::ceilings::{Policies, Usage};
use operator::component::{Key, revision};
use registry::Client;
use tokio::sync::watch;

use super::admit::{self, Judged, Named, Refused, Surroundings};
use super::observe::{self, Observation, Wanted};
use super::plan::{self, Admitted};
use super::port::Ports;
use super::report::Event;
use super::shelf::{Item, Shelf};
use super::workshop::Workshop;
use super::{Report, Settings};
use crate::access;
use crate::documents::{self, Documents};
use crate::failure::Failure;
use crate::roots;

/// A refused image is looked at again after 1, 2, 4 ... rounds, and then every so often:
/// a signature may arrive after the image, but a registry must not be pulled from all day.
const REFUSED_ROUNDS: u32 = 16;

/// The loop's own state; what is desired is derived from it.
pub(super) struct Cluster {
    settings: Settings,
    client: Client,
    workshop: Option<Workshop>,
    ports: Ports,
    shelf: Arc<Shelf>,
    desired: watch::Sender<Desired>,
    /// What the agent keeps of a job that has completed is of one start of this process: who
    /// starts it again wants to see it run.
    placement_uid: String,
    report: Report,
    slots: BTreeMap<Key, Slot>,
    /// The last failure to read the files, so that it is told once.
    unusable: Option<Failure>,
    /// Whether the first look is over; its refusals are the command's own failure.
    started: bool,
}

/// What is known of one component.
#[derive(Debug, Default)]
struct Slot {
    /// What runs or shall run.
    admitted: Option<Admitted>,
    /// What the admitted revision calls its version.
    version: Option<String>,
    /// What was judged last, for or against.
    judged: Option<Question>,
    /// What was admitted last.
    document: Option<RevisionDocument>,
    /// Why the newest is refused, if it is, and for how many rounds.
    refused: Option<(Refused, u32)>,
    /// The revision that was last told to serve.
    serving: Option<String>,
    /// What was last told of replicas that run by themselves.
    run: Option<RunStatus>,
}

/// Everything that a judgement hangs on. Values are part of it, since a component takes over
/// what was changed in a Secret or ConfigMap of its own.
#[derive(Clone, Debug, PartialEq)]
struct Question {
    /// What would run, as far as it is known before its bytes are here.
    document: RevisionDocument,
    documents: Documents,
    usage: Usage,
}

impl Cluster {
    /// Nothing is looked at yet.
    pub(super) async fn new(
        settings: Settings,
        shelf: Arc<Shelf>,
        desired: watch::Sender<Desired>,
        report: Report,
    ) -> Result<Cluster, Failure> {
        Ok(Cluster {
            client: access::client(&settings.access)?,
            workshop: match settings.builds.as_slice() {
                [] => None,
                builds => Some(Workshop::open(builds, &settings.manifests).await?),
            },
            ports: Ports::new(settings.port),
            placement_uid: Timestamp::now().to_string(),
            settings,
            shelf,
            desired,
            report,
            slots: BTreeMap::new(),
            unusable: None,
            started: false,
        })
    }

    /// The first look, which must succeed as a whole: a mistake ends the command with its reason.
    pub(super) async fn start(&mut self) -> Result<(), Failure> {
        if let Some(refused) = self.look().await? {
            return Err(refused);
        }
        self.started = true;
        Ok(())
    }

    /// Looks at everything once; the first component that may not run, if there is one.
    /// Fails when files or local builds cannot be used.
    async fn look(&mut self) -> Result<Option<Failure>, Failure> {
        let Settings { files, observe, .. } = &self.settings;
        let observation = observe::observe(
            files,
            observe.is_some(),
            self.workshop.as_mut(),
            &self.client,
        )
        .await?;
        let mut keys = BTreeSet::new();
        let mut first = None;
        for wanted in &observation.wanted {
            let key = key(wanted);
            keys.insert(key.clone());
            let mut slot = self.slots.remove(&key).unwrap_or_default();
            if let Err(refused) = self.follow(&mut slot, wanted, &observation).await? {
                first.get_or_insert_with(|| refused.failure(&key.to_string()));
                self.refuse(&key, &mut slot, refused);
            }
            self.slots.insert(key, slot);
        }
        self.forget(&keys);
        self.apply();
        Ok(first)
    }

    /// Looks again; what is wrong is told, once, and what runs goes on.
    pub(super) async fn look_again(&mut self) {
        let unusable = self.look().await.err();
        if let Some(failure) = &unusable
            && self.unusable.as_ref() != Some(failure)
        {
            (self.report)(Event::Unusable {
                message: failure.to_string(),
                mend: failure.mend().to_owned(),
            });
        }
        self.unusable = unusable;
    }

    /// Brings a slot up to date with its component.
    async fn follow(
        &mut self,
        slot: &mut Slot,
        wanted: &Wanted,
        observation: &Observation,
    ) -> Result<Result<(), Refused>, Failure> {
        let documents = &observation.documents;
        let named = match admit::name(&self.client, wanted, documents).await {
            Ok(named) => named,
            Err(refused) => return Ok(Err(refused)),
        };
        let question = Question {
            document: revision(&named.validated, &named.digest, &[]),
            documents: documents.clone(),
            usage: self.usage_of_others(wanted, observation),
        };
        if slot.judged.as_ref() == Some(&question) {
            match (&mut slot.refused, &slot.document) {
                (None, Some(document)) => {
                    slot.admitted = Some(self.admitted(&named, document)?);
                    return Ok(Ok(()));
                }
                (None, None) => {}
                (Some((refused, rounds)), _) => {
                    *rounds = rounds.saturating_add(1);
                    if !rounds.is_power_of_two() && *rounds % REFUSED_ROUNDS != 0 {
                        return Ok(Err(refused.clone()));
                    }
                }
            }
        }
        let around = Surroundings {
            documents,
            // A build is never the successor of another: nobody has approved either, and
            // whoever builds is asked at every turn of their own work otherwise.
            earlier: slot.document.clone().filter(|_| !wanted.is_local),
            usage: question.usage,
        };
        slot.judged = Some(question);
        let judged = match admit::judge(&self.client, wanted, &named, around).await {
            Ok(judged) => judged,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Some(waits) = pinned(&named).or_else(|| paused(slot, &named, &judged)) {
            return Ok(Err(waits));
        }
        self.admit(slot, wanted, named, judged, documents)?;
        Ok(Ok(()))
    }

    /// Puts on the shelf what was admitted.
    fn admit(
        &mut self,
        slot: &mut Slot,
        wanted: &Wanted,
        named: Named,
        judged: Judged,
        documents: &Documents,
    ) -> Result<(), Failure> {
        let Judged {
            document,
            resolved,
            values,
            has_manifest,
        } = judged;
        let admitted = self.admitted(&named, &document)?;
        let verified = resolved.verified;
        if slot.admitted.as_ref() != Some(&admitted) {
            (self.report)(Event::Preparing {
                component: named.validated.key.to_string(),
                image: resolved.reference.to_string(),
                signers: verified
                    .signers()
                    .iter()
                    .map(|signer| signer.authority.clone())
                    .collect(),
                has_manifest,
            });
        }
        let labels = documents::namespace_labels(&named.validated.key.namespace);
        let policies = &documents.capability_policies;
        self.shelf.put(Item {
            document: document.clone(),
            parcel: verified.parcel().clone(),
            values,
            trust: Trust {
                rules: Rules::new(
                    wanted.policies.clone(),
                    roots::roots(&wanted.policies, &documents.config_maps),
                ),
                ceilings: Policies::covering(policies, Some(&labels)).ceilings(),
                namespace_labels: labels,
                image: named.validated.image,
                spec: Box::new(wanted.component.spec.clone()),
                origin: Origin::SameProcess,
            },
        });
        slot.version = verified.facts().identity().1.map(str::to_owned);
        slot.document = Some(document);
        slot.admitted = Some(admitted);
        slot.refused = None;
        Ok(())
    }

    /// What the other components of the namespace take that may run.
    fn usage_of_others(&self, wanted: &Wanted, observation: &Observation) -> Usage {
        let own = key(wanted);
        let others = observation.wanted.iter().filter(|other| {
            let key = key(other);
            key.namespace == own.namespace && key != own
        });
        others
            .filter_map(|other| {
                let admitted = self.slots.get(&key(other))?.admitted.as_ref()?;
                Some(Usage::of_one(&other.component, admitted.replicas))
            })
            .fold(Usage::default(), Usage::and)
    }

    fn admitted(
        &mut self,
        named: &Named,
        document: &RevisionDocument,
    ) -> Result<Admitted, Failure> {
        let component = document.component.clone();
        let mut ports = BTreeMap::new();
        let component_key = named.validated.key.to_string();
        for (name, wanted) in named.validated.triggers.iter().flat_map(Trigger::ports) {
            let port = self.ports.of(&component_key, name, wanted)?;
            ports.insert(name.to_owned(), port);
        }
        Ok(Admitted {
            revision: document.revision_name(),
            digest: named.digest,
            replicas: named.replicas(),
            placement_uid: self.placement_uid.clone(),
            component,
            ports,
        })
    }

    fn refuse(&self, key: &Key, slot: &mut Slot, refused: Refused) {
        let known = slot.refused.take();
        if self.started && known.as_ref().is_none_or(|(known, _)| *known != refused) {
            (self.report)(Event::Refused {
                component: key.to_string(),
                reason: refused.reason.to_string(),
                message: refused.message.clone(),
            });
        }
        slot.refused = Some((refused, known.map_or(0, |(_, rounds)| rounds)));
    }

    /// Lets go of components that are no longer in the files.
    fn forget(&mut self, keys: &BTreeSet<Key>) {
        let (shelf, report) = (&self.shelf, &self.report);
        self.slots.retain(|key, _| {
            if keys.contains(key) {
                return true;
            }
            shelf.remove(&key.namespace, &key.name);
            report(Event::Removed {
                component: key.to_string(),
            });
            false
        });
    }

    fn apply(&self) {
        let desired = plan::desired(
            self.slots
                .values()
                .filter_map(|slot| slot.admitted.as_ref()),
        );
        self.desired.send_if_modified(|current| {
            let changed = *current != desired;
            *current = desired;
            changed
        });
    }

    /// Takes what the agent says of a placement. Fails when a component that has never
    /// served cannot start: there is nothing that could go on.
    pub(super) fn hear(
        &mut self,
        placement: &PlacementKey,
        status: &ComponentPlacementStatus,
    ) -> Result<(), Failure> {
        let found = self.slots.iter_mut().find_map(|(key, slot)| {
            let admitted = slot.admitted.clone()?;
            (plan::key(&admitted.component) == *placement).then_some((key.clone(), slot, admitted))
        });
        let Some((key, slot, admitted)) = found else {
            return Ok(());
        };
        if let Some(run) = &status.run
            && run.revision == admitted.revision
        {
            slot.hear_run(&key, run, &admitted, &self.report);
            return Ok(());
        }
        if status.ready && status.serving.as_ref() == Some(&admitted.revision) {
            if slot.serving.as_ref() != Some(&admitted.revision) {
                slot.serving = Some(admitted.revision.clone());
                (self.report)(Event::Serving {
                    component: key.to_string(),
                    revision: admitted.revision.clone(),
                    version: slot.version.clone(),
                    urls: urls("http", &admitted),
                });
            }
            return Ok(());
        }
        let Some(refused) = complaint(status, &admitted.revision) else {
            return Ok(());
        };
        if slot.serving.is_none() {
            return Err(refused.failure(&key.to_string()));
        }
        (self.report)(Event::Refused {
            component: key.to_string(),
            reason: refused.reason.to_string(),
            message: refused.message,
        });
        Ok(())
    }
}

impl Slot {
    /// Tells what has become of replicas that run by themselves, unless they are only on their way.
    fn hear_run(&mut self, key: &Key, run: &RunStatus, admitted: &Admitted, report: &Report) {
        let RunStatus {
            revision,
            running,
            waiting,
            completed,
            failed,
            last_end,
        } = run;
        let is_something = [running, waiting, completed, failed]
            .iter()
            .any(|count| **count > 0);
        if !is_something || self.run.as_ref() == Some(run) {
            return;
        }
        self.serving = Some(revision.clone());
        self.run = Some(run.clone());
        report(Event::Runs {
            component: key.to_string(),
            revision: revision.clone(),
            version: self.version.clone(),
            urls: match running {
                0 => Vec::new(),
                _ => urls("tcp", admitted),
            },
            running: *running,
            waiting: *waiting,
            completed: *completed,
            failed: *failed,
            reason: last_end.as_ref().map(|end| end.reason.to_string()),
            exit_code: last_end.as_ref().and_then(|end| end.exit_code),
        });
    }
}

/// Where it is reached on this machine.
fn urls(scheme: &str, admitted: &Admitted) -> Vec<String> {
    let ports = admitted.ports.values();
    ports
        .map(|port| format!("{scheme}://127.0.0.1:{port}"))
        .collect()
}

/// What keeps a placement from serving this revision, unless it is only on its way.
fn complaint(status: &ComponentPlacementStatus, revision: &str) -> Option<Refused> {
    let failed = status
        .revisions
        .iter()
        .find(|known| known.name == revision && known.phase == Phase::Failed)
        .map(|failed| Refused {
            reason: failed.reason.unwrap_or(Reason::Unknown),
            message: failed.message.clone().unwrap_or_default(),
            verdict: true,
        });
    // A port that is taken stops the placement as a whole, not a revision of it.
    let closed = || {
        let ready = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Ready")?;
        let reason = ready.reason.parse().unwrap_or(Reason::Unknown);
        (!status.ready && matches!(reason.retry(), Retry::WithBackoff | Retry::OnChange)).then(
            || Refused {
                reason,
                message: ready.message.clone(),
                verdict: reason.is_refusal(),
            },
        )
    };
    failed.or_else(closed)
}

fn key(wanted: &Wanted) -> Key {
    let metadata = &wanted.component.metadata;
    Key::new(
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

/// Nothing is kept here that could be gone back to.
fn pinned(named: &Named) -> Option<Refused> {
    let pin = named.validated.rollout.pin.as_ref()?;
    Some(Refused {
        reason: Reason::PinUnknown,
        verdict: true,
        message: format!(
            "spec.rollout.pin names revision {}, and no revisions are kept here: remove it, or set spec.image to what it was",
            pin.revision
        ),
    })
}

/// Why what was judged waits though nothing is against it.
fn paused(slot: &Slot, named: &Named, judged: &Judged) -> Option<Refused> {
    let revision = judged.document.revision_name();
    let serves = slot.admitted.as_ref().map(|admitted| &admitted.revision);
    let waits = named.validated.rollout.paused && serves != Some(&revision);
    waits.then(|| Refused {
        reason: Reason::RolloutPaused,
        verdict: true,
        message: operator::component::report::paused(&revision),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(ready: bool, reason: &str, phase: &str) -> ComponentPlacementStatus {
        serde_json::from_value(serde_json::json!({
            "ready": ready,
            "revisions": [{"name": "wc-a-1", "phase": phase, "reason": "CompileFailed", "message": "no"}],
            "conditions": [{
                "type": "Ready",
                "status": if ready { "True" } else { "False" },
                "reason": reason,
                "message": "said so",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        }))
        .unwrap()
    }

    #[test]
    fn a_failed_revision_is_a_complaint_while_its_predecessor_serves() {
        let complaint = complaint(&status(true, "Ready", "Failed"), "wc-a-1").unwrap();
        assert_eq!(
            (complaint.reason, complaint.message.as_str()),
            (Reason::CompileFailed, "no")
        );
    }

    #[test]
    fn a_taken_port_is_a_complaint_and_preparing_is_none() {
        let taken = complaint(&status(false, "PortInUse", "Prepared"), "wc-a-1").unwrap();
        assert_eq!(
            (taken.reason, taken.message.as_str()),
            (Reason::PortInUse, "said so")
        );
        assert_eq!(
            complaint(&status(false, "Preparing", "Preparing"), "wc-a-1"),
            None
        );
    }
}
