//! Whether a revision is what its placement says, was written by who may write it, and is of
//! the component this node reads itself. Plain functions over values: no client, no clock.
//! What passes may be fetched and verified; nothing is compiled on the word of this file alone.

mod admission;
mod given;
mod grant;

use artifact::{Digest, ImageReference};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use crds::Reason;
use crds::revision::RevisionDocument;

use crate::desired::{DesiredPlacement, DesiredRevision};
use crate::source::{Offered, Origin, Trust};
pub use admission::{NotAdmitted, admit, effective};
pub use given::{Files, credentials, files, names_secrets, needs_values, values};

/// A revision that is what its placement says.
#[derive(Clone, Debug)]
pub struct Accepted<'a> {
    /// The document.
    pub document: &'a RevisionDocument,
    /// The repository it comes from.
    pub image: ImageReference,
    /// The manifest it runs.
    pub digest: Digest,
}

/// Why a revision or its values are not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The hand-over answered with another revision.
    #[error(
        "the revision {asked} came with the content of {got}: the operator has to hand over what it placed"
    )]
    OtherRevision {
        /// What the placement names.
        asked: String,
        /// What the content is named.
        got: String,
    },
    /// The revision is of another component.
    #[error("the revision {revision} is of another component than the placement")]
    OtherComponent {
        /// The revision.
        revision: String,
    },
    /// Placement and revision name different digests.
    #[error("the placement names {placed}, its revision names {written}")]
    OtherDigest {
        /// As placed.
        placed: Digest,
        /// As written in the revision.
        written: String,
    },
    /// The revision names an image that is none.
    #[error("the image of the revision is not a reference: {0}")]
    InvalidImage(String),
    /// The component names another repository than the revision.
    #[error(
        "the component's image is {component}, its revision is of {revision}: the operator has to make a revision of the image that spec.image names"
    )]
    OtherRepository {
        /// What the component says.
        component: String,
        /// What the revision says.
        revision: String,
    },
    /// The revision gives its code something that the component does not.
    #[error(
        "the {part} of the revision are not those of the component: spec.{part} was changed since, \
         or the operator made a revision of its own"
    )]
    GrantExceeded {
        /// The part of the spec.
        part: &'static str,
    },
    /// No seal, where one is required.
    #[error("the revision is not sealed by the operator")]
    Unsealed,
    /// The seal does not hold.
    #[error(
        "the seal of the revision does not hold: it is not from the operator of this cluster, or the revision was changed"
    )]
    SealBroken,
    /// The limits contradict themselves.
    #[error("the limits of the revision cannot be kept: {0}")]
    InvalidLimits(String),
    /// A value came that the revision does not ask for.
    #[error("the hand-over sent a value for {0}, which the revision does not name")]
    ForeignValue(String),
    /// A value is missing that the revision asks for.
    #[error("the hand-over sent no value for {0}, which the revision names")]
    MissingValue(String),
    /// A value that cannot be given as what the revision asks for.
    #[error("the value for {name} cannot be used: {problem}")]
    UnusableValue {
        /// What it is for.
        name: String,
        /// What is wrong with it, without showing it.
        problem: &'static str,
    },
}

impl Invalid {
    /// The reason a status shows.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unsealed | Self::SealBroken => Reason::SealInvalid,
            Self::GrantExceeded { .. } => Reason::GrantExceeded,
            Self::OtherRevision { .. }
            | Self::OtherComponent { .. }
            | Self::OtherDigest { .. }
            | Self::OtherRepository { .. }
            | Self::ForeignValue(_) => Reason::RevisionForged,
            Self::InvalidImage(_) => Reason::InvalidImageReference,
            Self::InvalidLimits(_) => Reason::InvalidSpec,
            Self::MissingValue(_) | Self::UnusableValue { .. } => Reason::InvalidValue,
        }
    }

    /// Whether the revision is merely not what the component says now: it may have been the
    /// user's word before, and only whoever has seen that may go on with it.
    pub fn is_superseded(&self) -> bool {
        matches!(
            self,
            Self::GrantExceeded { .. } | Self::OtherRepository { .. }
        )
    }
}

/// Judges an offered revision.
pub fn revision<'a>(
    placement: &DesiredPlacement,
    wanted: &DesiredRevision,
    offered: &'a Offered,
    trust: &Trust,
) -> Result<Accepted<'a>, Invalid> {
    let document = &offered.document;
    let named = document.revision_name();
    if named != wanted.name {
        return Err(Invalid::OtherRevision {
            asked: wanted.name.clone(),
            got: named,
        });
    }
    if document.component != placement.component {
        return Err(Invalid::OtherComponent { revision: named });
    }
    let other_digest = || Invalid::OtherDigest {
        placed: wanted.digest,
        written: document.digest.clone(),
    };
    let digest: Digest = document.digest.parse().map_err(|_| other_digest())?;
    if digest != wanted.digest {
        return Err(other_digest());
    }
    seal(offered, &trust.origin)?;

    let image: ImageReference = document
        .image
        .parse()
        .map_err(|_| Invalid::InvalidImage(document.image.clone()))?;
    // The operator may choose a digest, never a repository: that is the user's word, which
    // this node reads itself.
    let same = image.registry() == trust.image.registry()
        && image.repository() == trust.image.repository();
    let is_pinned = grant::is_pinned(&named, &trust.spec);
    if !same && !is_pinned {
        return Err(Invalid::OtherRepository {
            component: trust.image.without_tag().to_string(),
            revision: image.without_tag().to_string(),
        });
    }
    if let Some(part) = grant::excess(document, &trust.spec).filter(|_| !is_pinned) {
        return Err(Invalid::GrantExceeded { part });
    }
    document
        .limits
        .check()
        .map_err(|error| Invalid::InvalidLimits(error.to_string()))?;
    Ok(Accepted {
        document,
        image,
        digest,
    })
}

fn seal(offered: &Offered, origin: &Origin) -> Result<(), Invalid> {
    let Origin::Operator {
        cluster_uid,
        seal_key,
    } = origin
    else {
        return Ok(());
    };
    let seal = offered.seal.as_ref().ok_or(Invalid::Unsealed)?;
    // The statement is made with the cluster this node is in, not with the one the seal names.
    let statement = offered
        .document
        .seal_statement(cluster_uid, seal.generation);
    let signature = seal.signature_bytes().ok_or(Invalid::SealBroken)?;
    UnparsedPublicKey::new(&ED25519, seal_key)
        .verify(&statement, &signature)
        .map_err(|_| Invalid::SealBroken)
}

#[cfg(test)]
mod tests;
