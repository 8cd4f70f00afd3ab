//! Whether a revision may start: what its manifests ask for, what it is granted, and what
//! the capability policies of its namespace admit.
//!
//! Pure. `plan` starts nothing that is not admitted, and `report` says why. What runs is
//! not stopped by a policy that is tightened: that is reported, and holds at each call.
//! Each node judges again by what it reads itself. Called by the driver and by
//! `lighterman run`.

mod lines;
mod totals;

use std::collections::BTreeSet;

use artifact::component::Facts;
use capability::{
    Ceiling, Grant, Limits, Mend, Refusal, RefusalKind, Request, approval_hash, increases, judge,
};
use crds::component::{CapabilitiesStatus, WouldRefuse};
use crds::condition;
use crds::revision::RevisionDocument;
use crds::{Reason, bound};

use super::observe::{Blocked, Observed};
use super::plan::remembered;
use super::resolve;
use super::revision::{KnownRevision, revision};
use super::{Pinned, Validated, pinned};
use crate::ceilings::{Policies, Policy};
use crate::resolver::Resolution;

/// What came of a component's admission.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Admission {
    /// What came of the revision that the spec asks for.
    pub decision: Decision,
    /// Names of revisions that the policies of today do not admit: no node begins with
    /// them, and nodes that run them go on.
    pub barred: BTreeSet<String>,
    /// What it asks for and what becomes of it; `None` while that is not known.
    pub capabilities: Option<CapabilitiesStatus>,
    /// What policies in audit would refuse it for.
    pub would_refuse: Vec<WouldRefuse>,
    /// Policies that refuse it, or would.
    pub objectors: BTreeSet<String>,
}

/// What came of one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Decision {
    /// What it asks for is not known yet.
    #[default]
    Waiting,
    /// It may start.
    Admitted {
        /// Whether a manifest says what it asks for; otherwise only grant and policies
        /// bound it.
        has_manifest: bool,
    },
    /// It may not.
    Refused(Blocked),
}

/// What is judged of one revision.
struct Case<'a> {
    observed: &'a Observed,
    digest: String,
    requests: Vec<Request>,
    grant: Grant,
    limits: &'a Limits,
}

/// Admits the revision that the spec of `validated` asks for, or says why not.
pub fn admit(observed: &Observed, validated: &Validated) -> Admission {
    let policies = &observed.policies;
    let (mut first, mut second) = (policies.enforced.iter(), policies.enforced.iter());
    let full = first.find_map(|policy| totals::exceeded(policy, observed, validated));
    // What serves must not grow either, where the namespace is full.
    let mut barred: BTreeSet<String> = current(observed)
        .filter(|known| full.is_some() || !is_admitted(&known.document, policies))
        .map(|known| known.name.clone())
        .into_iter()
        .collect();
    let pinned = pinned(observed, validated);
    if let Pinned::Gone(name) = pinned {
        return Admission {
            barred,
            decision: Decision::Refused(gone(name)),
            ..Admission::default()
        };
    }
    let Some((document, facts)) = wanted(observed, validated) else {
        return Admission {
            barred,
            ..Admission::default()
        };
    };
    let name = document.revision_name();
    let limits = document.limits.clone();
    let case = Case {
        observed,
        digest: document.digest,
        requests: document.requests,
        grant: document.capabilities.grant(&document.volumes),
        limits: &limits,
    };
    let refusals = case.judge(&case.requests, &policies.ceilings());
    let blocked = facts
        .and_then(|facts| unfit(validated, facts, &case.requests))
        .or_else(|| pinned.kept().and_then(|known| untrusted(observed, known)))
        .or_else(|| refused(&refusals))
        .or(full)
        .or_else(|| second.find_map(|policy| case.held_by(policy, validated)));
    if blocked.is_some() {
        barred.insert(name);
    }
    let is_held = blocked
        .as_ref()
        .is_some_and(|blocked| blocked.reason == Reason::ApprovalRequired);
    let capabilities = lines::status(&case.requests, &case.grant, &refusals, || {
        let demanding: Vec<Request> = case.requests.iter().map(lines::demanding).collect();
        case.judge(&demanding, &policies.ceilings())
    });
    let objected =
        |policy: &Policy| Some((policy.name().to_owned(), case.objection(policy, validated)?));
    let audited: Vec<(String, Blocked)> = policies.audited.iter().filter_map(objected).collect();
    let enforced = policies.enforced.iter().filter_map(objected);
    Admission {
        barred,
        capabilities: Some(CapabilitiesStatus {
            approval: is_held.then(|| approval_hash(&case.digest, &case.requests)),
            ..capabilities
        }),
        objectors: enforced
            .chain(audited.iter().cloned())
            .map(|(policy, _)| policy)
            .collect(),
        would_refuse: audited.into_iter().map(would_refuse).collect(),
        decision: match blocked {
            Some(blocked) => Decision::Refused(blocked),
            None => Decision::Admitted {
                has_manifest: !case.requests.is_empty(),
            },
        },
    }
}

impl Admission {
    /// Whether the revision that the spec asks for is refused.
    pub fn is_refused(&self) -> bool {
        matches!(self.decision, Decision::Refused(_))
    }

    /// Whether it is refused because of what others take.
    pub fn is_full(&self) -> bool {
        let Decision::Refused(blocked) = &self.decision else {
            return false;
        };
        blocked.reason == Reason::TotalsExceeded
    }
}

impl Case<'_> {
    fn judge(&self, requests: &[Request], ceilings: &[Ceiling]) -> Vec<Refusal> {
        judge(requests, &self.grant, ceilings, self.limits)
    }

    /// What `policy` alone has against it, whether it decides or not.
    fn objection(&self, policy: &Policy, validated: &Validated) -> Option<Blocked> {
        let ceiling = &policy.ceiling;
        let mut refusals = self.judge(&self.requests, std::slice::from_ref(ceiling));
        refusals.retain(|refusal| match refusal.kind {
            RefusalKind::AboveCeiling | RefusalKind::LimitAboveCeiling => true,
            RefusalKind::ManifestRequired => ceiling.require_manifest,
            RefusalKind::NotSupported | RefusalKind::NotGranted => false,
        });
        refused(&refusals)
            .or_else(|| totals::exceeded(policy, self.observed, validated))
            .or_else(|| self.held_by(policy, validated))
    }

    /// Whether `policy` holds it because it asks for more than the last one that was
    /// admitted. Compared with that one and not with what runs: many small steps would
    /// otherwise lead anywhere. A revision that was sealed once was admitted once, so that
    /// nobody is asked twice.
    fn held_by(&self, policy: &Policy, validated: &Validated) -> Option<Blocked> {
        if !policy.holds_increases {
            return None;
        }
        let admitted = &self.observed.revisions;
        let more = increases(&admitted.last()?.document.requests, &self.requests);
        let is_known = admitted.iter().any(|known| {
            known.document.digest == self.digest && known.document.requests == self.requests
        });
        let hash = approval_hash(&self.digest, &self.requests);
        let approved = validated.rollout.approve.as_deref();
        if more.is_empty() || is_known || approved == Some(&*hash) {
            return None;
        }
        let more: Vec<String> = more.iter().map(ToString::to_string).collect();
        let other = match approved {
            None | Some("") => "",
            Some(_) => "; spec.rollout.approve is of something else",
        };
        Some(Blocked {
            reason: Reason::ApprovalRequired,
            message: format!(
                "the version asks for more than the last one that was admitted: {}{other}. CapabilityPolicy {} holds it, and what served before goes on, until somebody with the verb approve on wasmcomponents writes\nspec:\n  rollout:\n    approve: {hash}\n",
                more.join(", "),
                policy.name()
            ),
        })
    }
}

/// The revision that the spec asks for, with what its bytes say of themselves as far as
/// they are here: the pinned one, that of the resolved image, or the sealed one of the last resolution.
fn wanted<'a>(
    observed: &'a Observed,
    validated: &Validated,
) -> Option<(RevisionDocument, Option<&'a Facts>)> {
    if let Pinned::Kept(known) = pinned(observed, validated) {
        return Some((known.document.clone(), None));
    }
    match &observed.resolution {
        Resolution::Done(admitted) => {
            let document = revision(validated, &admitted.digest, &admitted.requests);
            Some((document, Some(&admitted.facts)))
        }
        Resolution::Pending | Resolution::Failed(_) => {
            let known = remembered(observed, validated)?;
            Some((known.document.clone(), None))
        }
    }
}

/// The sealed revision that the status calls current.
fn current(observed: &Observed) -> Option<&KnownRevision> {
    let current = observed.component.status.as_ref()?.current.as_ref()?;
    let mut revisions = observed.revisions.iter();
    revisions.find(|known| known.name == current.revision)
}

/// Whether the policies of today admit what a sealed revision asks for and is granted.
fn is_admitted(document: &RevisionDocument, policies: &Policies) -> bool {
    let grant = document.capabilities.grant(&document.volumes);
    let (requests, ceilings) = (&document.requests, policies.ceilings());
    judge(requests, &grant, &ceilings, &document.limits).is_empty()
}

/// That what is pinned is not kept.
fn gone(name: &str) -> Blocked {
    Blocked {
        reason: Reason::PinUnknown,
        message: format!(
            "spec.rollout.pin.revision is {name}, which is not kept; write one that `kubectl lm rollout history` lists, or remove spec.rollout.pin"
        ),
    }
}

/// What the trust policies of today have against a revision that was sealed once.
fn untrusted(observed: &Observed, known: &KnownRevision) -> Option<Blocked> {
    let mut reviews = observed.reviews.iter();
    let review = reviews.find(|review| review.digest.to_string() == known.document.digest)?;
    let refusal = review.refusal.as_ref()?;
    Some(Blocked {
        reason: refusal.reason,
        message: refusal.message.clone(),
    })
}

fn unfit(validated: &Validated, facts: &Facts, requests: &[Request]) -> Option<Blocked> {
    let error = resolve::fits(validated, facts, requests).err()?;
    Some(Blocked {
        reason: error.reason(),
        message: error.to_string(),
    })
}

/// What a policy in audit has against it, for the status.
fn would_refuse((policy, objection): (String, Blocked)) -> WouldRefuse {
    WouldRefuse {
        // A TrustPolicy may have the same name.
        policy: format!("CapabilityPolicy/{policy}"),
        reason: objection.reason,
        message: condition::bounded(objection.message, bound::FINDING),
    }
}

/// What is against it, with the YAML that mends all of it at once.
fn refused(refusals: &[Refusal]) -> Option<Blocked> {
    let first = refusals.first()?;
    let messages: Vec<&str> = refusals.iter().map(|refusal| &*refusal.message).collect();
    let mut message = messages.join("; ");
    if let Some(yaml) = Refusal::component_yaml(refusals) {
        message.push_str(&format!(". This mends the component:\nspec:\n{yaml}"));
    }
    for mend in refusals.iter().filter_map(|refusal| refusal.mend.as_ref()) {
        if let Mend::Policy(policy, _) = mend {
            let yaml = mend.yaml();
            message.push_str(&format!(
                "\nThis admits it in CapabilityPolicy {policy}:\nspec:\n{yaml}"
            ));
        }
    }
    Some(Blocked {
        reason: reason(first.kind),
        message,
    })
}

/// The reason a refusal is reported under.
fn reason(kind: RefusalKind) -> Reason {
    match kind {
        RefusalKind::ManifestRequired => Reason::ManifestRequired,
        RefusalKind::NotSupported | RefusalKind::NotGranted => Reason::CapabilityNotGranted,
        RefusalKind::AboveCeiling => Reason::CapabilityAboveCeiling,
        RefusalKind::LimitAboveCeiling => Reason::LimitAboveCeiling,
    }
}
