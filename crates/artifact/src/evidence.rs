//! What is attached to an artifact: a sigstore bundle as cosign 3 writes it, or
//! a signature of cosign 2. Judges one by a key or by a trusted root, and knows
//! nothing of policies. What cannot be used is kept with its reason, so that a
//! refusal can say what was found. Called by [`crate::verify`] and `trust`.

mod certificate;
mod envelope;
mod simple_signing;
mod statement;

use std::cell::RefCell;

use jiff::Timestamp;

use crate::limits::BUNDLE_MAX;
use crate::root::TrustedRoot;
use crate::signature::{PAYLOAD_TYPE, PublicKey};
use crate::{Digest, SignedBy};
use envelope::Envelope;
pub(crate) use simple_signing::SimpleSigning;
pub(crate) use statement::Statement;

/// One thing attached to an artifact, read once and judged by as many keys and
/// roots as policies name.
#[derive(Debug)]
pub(crate) struct Evidence {
    item: Result<Item, Fault>,
    /// What came out by certificate, for each root and demand of a log: a dozen
    /// authorities with one root must not cost a dozen checks of each bundle.
    heard: RefCell<Vec<Heard>>,
}

/// One judgement by certificate.
#[derive(Debug)]
struct Heard {
    root: Digest,
    log: TransparencyLog,
    outcome: Result<Testimony, Fault>,
}

/// What somebody who can be named said about a digest.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Testimony {
    /// Who said it.
    pub(crate) by: SignedBy,
    /// The earliest time at which it is proven to have existed.
    pub(crate) signed_at: Option<Timestamp>,
    /// What was said.
    pub(crate) statement: Statement,
}

/// Why a piece of evidence is worth nothing to one authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Larger than evidence can be.
    #[error("a bundle of {0} bytes, over the limit of {BUNDLE_MAX}")]
    TooLarge(usize),
    /// Neither a bundle nor a signature of cosign 2.
    #[error("a bundle that is not sigstore bundle JSON: {0}")]
    Malformed(String),
    /// A bundle of something else than a statement.
    #[error("a bundle without DSSE envelope")]
    NoEnvelope,
    /// An envelope of something else than a statement.
    #[error("a DSSE envelope with payload type {0:?} instead of {PAYLOAD_TYPE}")]
    PayloadType(String),
    /// By another key.
    #[error("a signature by another key")]
    AnotherKey,
    /// By certificate, where a key was asked for.
    #[error("a signature by certificate, not by key")]
    NotByKey,
    /// By key, where a certificate was asked for.
    #[error("a signature by key, not by certificate")]
    NotByCertificate,
    /// A certificate that does not hold, or holds no signature.
    #[error("a signature by a certificate that does not hold: {0}")]
    Certificate(String),
    /// A certificate that holds, for somebody else.
    #[error("a signature by {0}")]
    AnotherIdentity(SignedBy),
    /// By whom it should be, but not proven to be in a transparency log.
    #[error("no valid proof of a transparency log: {0}")]
    NotInLog(String),
    /// By whom it should be, but dated after the present time.
    #[error("a signature from the future, of {0}")]
    FromTheFuture(Timestamp),
    /// By whom it should be, but of something else.
    #[error("a signature of {signed}")]
    AnotherDigest {
        /// What was signed.
        signed: String,
    },
    /// By whom it should be, but no statement that can be understood.
    #[error("{0}")]
    Unreadable(String),
}

/// What a transparency log must have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TransparencyLog {
    /// The signature: its inclusion is proven.
    Required,
    /// Nothing. A time that a log or an authority proves still counts as proven.
    Ignore,
}

#[derive(Debug)]
enum Item {
    Envelope(Box<Envelope>),
    SimpleSigning(Box<SimpleSigning>),
}

impl Evidence {
    /// Reads evidence. What is wrong with it comes out when it is judged.
    pub(crate) fn read(json: &[u8]) -> Self {
        Self {
            item: Item::read(json),
            heard: RefCell::default(),
        }
    }

    /// Judges by a key. `root` holds the logs and timestamp authorities that
    /// count; without one nothing proves a time, and no log was asked.
    pub(crate) fn by_key(
        &self,
        key: &PublicKey,
        log: TransparencyLog,
        root: Option<&TrustedRoot>,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Testimony, Fault> {
        let (statement, signed_at) = match self.item()? {
            Item::Envelope(envelope) => envelope.by_key(key, log, root, digest)?,
            Item::SimpleSigning(legacy) => legacy.by_key(key, log, root, digest)?,
        };
        let by = SignedBy::Key {
            key_id: key.key_id(),
        };
        Testimony {
            by,
            signed_at,
            statement,
        }
        .not_after(now)
    }

    /// Judges by the certificate that the evidence brings: whom it is for is for
    /// the caller to judge. One piece of evidence is judged for one digest at one time.
    pub(crate) fn by_certificate(
        &self,
        root: &TrustedRoot,
        log: TransparencyLog,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Testimony, Fault> {
        let item = self.item()?;
        let mut heard = self.heard.borrow_mut();
        let before = heard
            .iter()
            .find(|before| before.root == *root.digest() && before.log == log);
        if let Some(before) = before {
            return before.outcome.clone();
        }
        let outcome = match item {
            Item::Envelope(envelope) => envelope.by_certificate(root, log, digest, now),
            Item::SimpleSigning(legacy) => legacy.by_certificate(root, log, digest, now),
        };
        heard.push(Heard {
            root: *root.digest(),
            log,
            outcome: outcome.clone(),
        });
        outcome
    }

    fn item(&self) -> Result<&Item, Fault> {
        self.item.as_ref().map_err(Clone::clone)
    }
}

impl Item {
    fn read(json: &[u8]) -> Result<Self, Fault> {
        if json.len() > BUNDLE_MAX {
            return Err(Fault::TooLarge(json.len()));
        }
        if let Some(legacy) = SimpleSigning::read(json) {
            return Ok(Self::SimpleSigning(Box::new(legacy)));
        }
        Envelope::read(json).map(|envelope| Self::Envelope(Box::new(envelope)))
    }
}

impl Testimony {
    fn not_after(self, now: Timestamp) -> Result<Self, Fault> {
        match self.signed_at {
            Some(time) if time > now => Err(Fault::FromTheFuture(time)),
            _ => Ok(self),
        }
    }
}
