//! Whether `rollout.pin` holds, and what it names: an undo that the user asked for.
//!
//! Pure; asked by the driver, `admit` and `plan`, so that all of them mean the same revision.

use super::Validated;
use super::observe::Observed;
use super::revision::KnownRevision;

/// What is pinned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pinned<'a> {
    /// Nothing, or not any more.
    Nothing,
    /// A revision that is kept.
    Kept(&'a KnownRevision),
    /// A revision of this name, which is not kept.
    Gone(&'a str),
}

/// What is pinned: as long as the spec is the one that the pin was written for.
///
/// A pin names a generation, and whoever scales or pauses makes another one. An undo that
/// ended by that would bring the bad version back with the first autoscaler: so the status
/// remembers that the pin was taken, and for which spec.
pub fn pinned<'a>(observed: &'a Observed, validated: &'a Validated) -> Pinned<'a> {
    let Some(pin) = &validated.rollout.pin else {
        return Pinned::Nothing;
    };
    let status = observed.component.status.as_ref();
    let was_taken = status.is_some_and(|status| {
        let taken = status.pinned.as_ref();
        taken.is_some_and(|taken| {
            taken.revision == pin.revision && taken.spec_hash == validated.spec_hash
        })
    });
    if pin.for_generation != validated.generation && !was_taken {
        return Pinned::Nothing;
    }
    let mut revisions = observed.revisions.iter();
    match revisions.find(|known| known.name == pin.revision) {
        Some(known) => Pinned::Kept(known),
        None => Pinned::Gone(&pin.revision),
    }
}

impl<'a> Pinned<'a> {
    /// The revision, if it is kept.
    pub fn kept(self) -> Option<&'a KnownRevision> {
        match self {
            Self::Kept(known) => Some(known),
            Self::Nothing | Self::Gone(_) => None,
        }
    }

    /// The name of the revision, kept or not.
    pub fn name(self) -> Option<&'a str> {
        match self {
            Self::Kept(known) => Some(&known.name),
            Self::Gone(name) => Some(name),
            Self::Nothing => None,
        }
    }
}
