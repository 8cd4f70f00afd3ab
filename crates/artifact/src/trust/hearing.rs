//! What each authority of a policy makes of all the evidence: who said what, and why
//! the rest does not count. Whether that is enough is for [`super::decide`].

use super::authority::Authority;
use super::{Demand, Trust};
use crate::evidence::{Evidence, Fault, Testimony};
use crate::{Digest, SignedBy};

/// What one authority made of all the evidence.
pub(super) struct Hearing<'a> {
    pub(super) authority: &'a Authority,
    /// What it said, approvals and attestations.
    pub(super) testimonies: Vec<Testimony>,
    pub(super) objections: Vec<Objection>,
}

/// Why something does not count.
pub(super) enum Objection {
    /// Evidence that is worth nothing to the authority.
    Fault(Fault),
    /// The authority's trusted root is not at hand.
    NoRoot(String),
    /// An attestation where an approval was asked for.
    NoApproval { predicate_type: String },
    /// By a key that the policy revokes: which, from when on, and what is known.
    Revoked(String),
    /// Before the policy's `notBefore`: what is known of its time.
    TooEarly(String),
}

impl Demand {
    /// Lets every authority judge every piece of evidence. One good piece is
    /// enough: anybody who may push can add bad ones beside it.
    pub(super) fn hear<'a>(
        &'a self,
        trust: &Trust<'_>,
        digest: &Digest,
        evidence: &[Evidence],
    ) -> Vec<Hearing<'a>> {
        let needs_time = self.not_before.is_some() || !self.revoked.is_empty();
        let hear = |authority: &'a Authority| {
            let mut hearing = Hearing {
                authority,
                testimonies: Vec::new(),
                objections: Vec::new(),
            };
            let root = match trust.roots.get(authority.signatory.root_reference()) {
                Ok(root) => Some(root),
                Err(problem) if authority.needs_root(needs_time) => {
                    hearing.objections.push(Objection::NoRoot(problem));
                    return hearing;
                }
                Err(_) => None,
            };
            for piece in evidence {
                match authority.judge(piece, root, digest, trust.now) {
                    Ok(testimony) => match self.objection(&testimony) {
                        Some(objection) => hearing.objections.push(objection),
                        None => hearing.hear(testimony),
                    },
                    Err(fault) => hearing.objections.push(Objection::Fault(fault)),
                }
            }
            hearing
        };
        self.authorities.iter().map(hear).collect()
    }

    /// Why a testimony counts for nothing, whatever it says.
    fn objection(&self, testimony: &Testimony) -> Option<Objection> {
        let when = testimony.signed_at;
        let found = match when {
            Some(time) => format!("was made at {time}"),
            None => "has no time that a log or a timestamp authority proves".to_owned(),
        };
        if let SignedBy::Key { key_id } = &testimony.by {
            let revoked = self.revoked.iter().find(|revocation| {
                revocation.key_id == *key_id
                    && !matches!((when, revocation.after), (Some(when), Some(after)) if when < after)
            });
            if let Some(revocation) = revoked {
                return Some(Objection::Revoked(match revocation.after {
                    Some(after) => {
                        format!("key {key_id} from {after} on, and the signature {found}")
                    }
                    None => format!("key {key_id} altogether"),
                }));
            }
        }
        let not_before = self.not_before?;
        when.is_none_or(|when| when < not_before).then(|| {
            Objection::TooEarly(format!("{found}, and {not_before} is the earliest allowed"))
        })
    }
}

impl Hearing<'_> {
    fn hear(&mut self, testimony: Testimony) {
        if !testimony.statement.is_approval() {
            self.objections.push(Objection::NoApproval {
                predicate_type: testimony.statement.predicate_type.clone(),
            });
        }
        self.testimonies.push(testimony);
    }

    pub(super) fn approvals(&self) -> impl Iterator<Item = &Testimony> {
        let approves = |testimony: &&Testimony| testimony.statement.is_approval();
        self.testimonies.iter().filter(approves)
    }
}

impl Objection {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Fault(fault) => fault.to_string(),
            Self::NoRoot(problem) => format!("no trusted root: {problem}"),
            Self::NoApproval { predicate_type } => {
                format!("an attestation of type {predicate_type}")
            }
            Self::Revoked(found) => format!("a signature that does not count: revoked is {found}"),
            Self::TooEarly(found) => format!("a signature that {found}"),
        }
    }
}
