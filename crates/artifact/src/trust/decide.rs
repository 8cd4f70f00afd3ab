//! Weighs the evidence of an artifact against the policies that cover it:
//! policies AND together, the authorities within one OR, up to `minimumMatches`
//! distinct signers. Called by [`crate::verify`] with digests already checked.

use std::collections::BTreeSet;

use super::attestation::AttestationDemand;
use super::authority::Authority;
use super::hearing::{Hearing, Objection};
use super::report::{AttestationReport, AuthorityReport, ManifestReport, PolicyReport};
use super::{Demand, Policy, Scope, Trust};
use crate::component::Facts;
use crate::evidence::{Evidence, Fault, Testimony};
use crate::{Digest, Refusal, SignedBy, Signer, manifest_section};

/// What every policy that covers `scope` makes of the evidence, in their order.
pub(crate) fn weigh(
    trust: &Trust<'_>,
    scope: &Scope<'_>,
    digest: &Digest,
    evidence: &[Evidence],
) -> Vec<PolicyReport> {
    let covering = trust.policies.iter().filter(|policy| policy.covers(scope));
    covering
        .map(|policy| policy.report(trust, digest, evidence))
        .collect()
}

/// Adds to the reports of [`weigh`] what the component says of itself.
pub(crate) fn report_facts(
    trust: &Trust<'_>,
    scope: &Scope<'_>,
    facts: &Facts,
    reports: &mut [PolicyReport],
) {
    let covering = trust.policies.iter().filter(|policy| policy.covers(scope));
    for (policy, report) in covering.zip(reports) {
        if report.outcome.is_ok()
            && let Err(refusal) = policy.check_version(facts)
        {
            report.outcome = Err(refusal);
        }
    }
}

impl Policy {
    fn report(&self, trust: &Trust<'_>, digest: &Digest, evidence: &[Evidence]) -> PolicyReport {
        let report = |outcome, authorities, attestations, manifests| PolicyReport {
            policy: self.name.clone(),
            mode: self.mode,
            when_running: self.when_running,
            outcome,
            authorities,
            attestations,
            manifests,
        };
        let demand = match &self.demand {
            Ok(demand) => demand,
            Err(error) => {
                let refusal = self.unusable(error.to_string());
                return report(Err(refusal), Vec::new(), Vec::new(), Vec::new());
            }
        };
        let hearings = demand.hear(trust, digest, evidence);
        let authorities = hearings
            .iter()
            .map(|hearing| self.authority_report(hearing));
        let attestations: Vec<(AttestationReport, Option<Refusal>)> = demand
            .attestations
            .iter()
            .map(|wanted| self.attestation(demand, wanted, &hearings, digest))
            .collect();
        let manifests = self.manifests(&hearings);
        let unreadable = manifests.iter().find_map(|it| it.outcome.as_ref().err());
        let outcome = self
            .outcome(demand, &hearings, &attestations, digest)
            .and_then(|signers| match unreadable {
                Some(refusal) => Err(refusal.clone()),
                None => Ok(signers),
            });
        report(
            outcome,
            authorities.collect(),
            attestations.into_iter().map(|(report, _)| report).collect(),
            manifests,
        )
    }

    fn outcome(
        &self,
        demand: &Demand,
        hearings: &[Hearing<'_>],
        attestations: &[(AttestationReport, Option<Refusal>)],
        digest: &Digest,
    ) -> Result<Vec<Signer>, Refusal> {
        if demand.denied.contains(digest) {
            return Err(Refusal::DigestDenied {
                digest: *digest,
                policy: self.name.clone(),
            });
        }
        if demand.authorities.is_empty() {
            return Err(self.unusable(
                "it names no authorities; add one with the key or the identities of whoever signs"
                    .to_owned(),
            ));
        }
        let signers = self.signers(hearings);
        if signers.len() < demand.minimum_matches {
            return Err(self.refusal(demand, hearings, &signers, digest));
        }
        match attestations
            .iter()
            .find_map(|(_, refusal)| refusal.as_ref())
        {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(signers),
        }
    }

    /// Who approves, each key and identity once, under the first authority that
    /// names it.
    fn signers(&self, hearings: &[Hearing<'_>]) -> Vec<Signer> {
        let mut seen: BTreeSet<&SignedBy> = BTreeSet::new();
        let mut signers = Vec::new();
        for hearing in hearings {
            for testimony in hearing.approvals() {
                if seen.insert(&testimony.by) {
                    signers.push(self.signer(hearing.authority, testimony));
                }
            }
        }
        signers
    }

    fn signer(&self, authority: &Authority, testimony: &Testimony) -> Signer {
        Signer {
            policy: self.name.clone(),
            authority: authority.name.clone(),
            by: testimony.by.clone(),
            signed_at: testimony.signed_at,
        }
    }

    fn authority_report(&self, hearing: &Hearing<'_>) -> AuthorityReport {
        let mut signers: Vec<Signer> = Vec::new();
        for testimony in hearing.approvals() {
            if !signers.iter().any(|signer| signer.by == testimony.by) {
                signers.push(self.signer(hearing.authority, testimony));
            }
        }
        AuthorityReport {
            authority: hearing.authority.name.clone(),
            signers,
            faults: distinct(hearing.objections.iter().map(Objection::describe)),
        }
    }

    /// What authorities attested that the component asks for, if they may. One that cannot
    /// be read is kept: passing it over would leave the component with more than it says.
    fn manifests(&self, hearings: &[Hearing<'_>]) -> Vec<ManifestReport> {
        let mut manifests: Vec<ManifestReport> = Vec::new();
        for hearing in hearings {
            if !hearing.authority.may_grant_manifest {
                continue;
            }
            for testimony in &hearing.testimonies {
                if testimony.statement.predicate_type == manifest_section::PREDICATE_TYPE {
                    manifests.push(ManifestReport {
                        signer: self.signer(hearing.authority, testimony),
                        outcome: manifest_section::read_predicate(&testimony.statement.predicate),
                    });
                }
            }
        }
        manifests
    }

    /// Looks for one attestation by any authority, and says why there is none.
    fn attestation(
        &self,
        demand: &Demand,
        wanted: &AttestationDemand,
        hearings: &[Hearing<'_>],
        digest: &Digest,
    ) -> (AttestationReport, Option<Refusal>) {
        let predicate_type = wanted.predicate_type.clone();
        let mut faults = Vec::new();
        let given = hearings.iter().flat_map(|hearing| {
            let by_type = |testimony: &&Testimony| {
                testimony.statement.predicate_type == wanted.predicate_type
            };
            let testimonies = hearing.testimonies.iter().filter(by_type);
            testimonies.map(move |testimony| (hearing.authority, testimony))
        });
        for (authority, testimony) in given {
            match wanted.unmet(&testimony.statement.predicate) {
                None => {
                    let report = AttestationReport {
                        predicate_type,
                        signer: Some(self.signer(authority, testimony)),
                        faults: Vec::new(),
                    };
                    return (report, None);
                }
                Some(unmet) => faults.push(unmet),
            }
        }
        let faults = distinct(faults.into_iter());
        let policy = self.name.clone();
        let refusal = if let Some(refusal) = self.no_root(hearings) {
            refusal
        } else if faults.is_empty() {
            Refusal::AttestationMissing {
                policy,
                authorities: names(&demand.authorities),
                predicate_type: predicate_type.clone(),
                found: found(hearings),
            }
        } else {
            Refusal::AttestationRejected {
                digest: *digest,
                policy,
                predicate_type: predicate_type.clone(),
                found: shortened(&faults),
            }
        };
        let report = AttestationReport {
            predicate_type,
            signer: None,
            faults,
        };
        (report, Some(refusal))
    }

    /// The refusal that helps most: what could not be checked is never called
    /// unsigned; what a trusted signer did sign comes before what strangers
    /// signed, and that before what nobody can read.
    fn refusal(
        &self,
        demand: &Demand,
        hearings: &[Hearing<'_>],
        signers: &[Signer],
        digest: &Digest,
    ) -> Refusal {
        let (digest, policy) = (*digest, self.name.clone());
        let authorities = names(&demand.authorities);
        if let Some(refusal) = self.no_root(hearings) {
            return refusal;
        }
        if !signers.is_empty() {
            let who = signers.iter().map(|signer| signer.by.to_string());
            return Refusal::TooFewSigners {
                digest,
                policy,
                authorities,
                wanted: demand.minimum_matches,
                found: shortened(&distinct(who)),
            };
        }
        let objections = || {
            hearings.iter().flat_map(|hearing| {
                let name = &hearing.authority.name;
                hearing
                    .objections
                    .iter()
                    .map(move |objection| (name, objection))
            })
        };
        if objections().next().is_none() {
            return Refusal::Unsigned {
                digest,
                policy,
                authorities,
            };
        }
        let by_rank = |(authority, objection): (&String, &Objection)| {
            let refusal = self.refusal_for(digest, authority, objection)?;
            Some((rank(&refusal), refusal))
        };
        if let Some((_, refusal)) = objections()
            .filter_map(by_rank)
            .min_by_key(|(rank, _)| *rank)
        {
            return refusal;
        }
        let found = found(hearings);
        let somebody = |fault: &dyn Fn(&Fault) -> bool| {
            objections()
                .any(|(_, objection)| matches!(objection, Objection::Fault(it) if fault(it)))
        };
        if somebody(&|fault| matches!(fault, Fault::AnotherIdentity(_))) {
            return Refusal::NotTrustedIdentity {
                digest,
                policy,
                authorities,
                found,
            };
        }
        let by_strangers = |fault: &Fault| {
            matches!(
                fault,
                Fault::AnotherKey
                    | Fault::NotByKey
                    | Fault::NotByCertificate
                    | Fault::Certificate(_)
            )
        };
        if somebody(&by_strangers) {
            return Refusal::SignatureInvalid {
                digest,
                policy,
                authorities,
                found,
            };
        }
        Refusal::SignatureMalformed { digest, found }
    }

    /// The refusal for what a trusted signer did sign.
    fn refusal_for(
        &self,
        digest: Digest,
        authority: &str,
        objection: &Objection,
    ) -> Option<Refusal> {
        let (policy, authority) = (self.name.clone(), authority.to_owned());
        Some(match objection {
            Objection::Revoked(found) => Refusal::KeyRevoked {
                digest,
                policy,
                authority,
                found: found.clone(),
            },
            Objection::TooEarly(found) => Refusal::SignedTooEarly {
                digest,
                policy,
                authority,
                found: found.clone(),
            },
            Objection::Fault(Fault::NotInLog(found)) => Refusal::NotInLog {
                digest,
                policy,
                authority,
                found: found.clone(),
            },
            Objection::NoApproval { predicate_type } => Refusal::AttestationOnly {
                digest,
                authority,
                predicate_type: predicate_type.clone(),
            },
            Objection::Fault(Fault::AnotherDigest { signed }) => {
                Refusal::SignatureForAnotherDigest {
                    digest,
                    signed: signed.clone(),
                    authority,
                }
            }
            Objection::Fault(_) | Objection::NoRoot(_) => return None,
        })
    }

    fn no_root(&self, hearings: &[Hearing<'_>]) -> Option<Refusal> {
        hearings.iter().find_map(|hearing| {
            hearing
                .objections
                .iter()
                .find_map(|objection| match objection {
                    Objection::NoRoot(problem) => Some(Refusal::RootUnavailable {
                        policy: self.name.clone(),
                        authority: hearing.authority.name.clone(),
                        problem: problem.clone(),
                    }),
                    _ => None,
                })
        })
    }

    fn unusable(&self, problem: String) -> Refusal {
        Refusal::PolicyUnusable {
            policy: self.name.clone(),
            problem,
        }
    }
}

/// How near a refusal is to an approval: the least comes first.
fn rank(refusal: &Refusal) -> u8 {
    match refusal {
        Refusal::KeyRevoked { .. } => 0,
        Refusal::SignedTooEarly { .. } => 1,
        Refusal::NotInLog { .. } => 2,
        Refusal::AttestationOnly { .. } => 3,
        _ => 4,
    }
}

fn names(authorities: &[Authority]) -> String {
    let names: Vec<String> = authorities.iter().map(Authority::describe).collect();
    names.join(" or ")
}

/// What was found, each kind once.
fn found(hearings: &[Hearing<'_>]) -> String {
    let objections = hearings.iter().flat_map(|hearing| &hearing.objections);
    let clauses = distinct(objections.map(Objection::describe));
    if clauses.is_empty() {
        "nothing else".to_owned()
    } else {
        shortened(&clauses)
    }
}

/// Each text once: with many keys and bundles the same is found over and over.
fn distinct(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    texts.dedup();
    texts
}

/// The first few, for one sentence.
fn shortened(texts: &[String]) -> String {
    const CLAUSES_MAX: usize = 4;
    let clauses: Vec<&str> = texts.iter().take(CLAUSES_MAX).map(String::as_str).collect();
    clauses.join("; ")
}
