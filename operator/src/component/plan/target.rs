//! The revision that is to run, and whether it has to be written first.
//!
//! Pure; `plan` calls it.

use artifact::Digest;
use crds::component::PinnedRevision;

use super::outlook::Pinned;
use super::{NewRevision, Target};
use crate::component::Validated;
use crate::component::admit::Admission;
use crate::component::observe::Observed;
use crate::component::revision::{KnownRevision, revision};
use crate::resolver::Resolution;

/// What `rollout.pin` comes to. It is void as soon as the rest of the spec is another than
/// that it was written for, which the status remembers: replicas change the generation, too.
pub(super) fn pin(observed: &Observed, validated: &Validated) -> Pinned {
    let Some(pin) = &validated.rollout.pin else {
        return Pinned::No;
    };
    let pinned = PinnedRevision {
        revision: pin.revision.clone(),
        spec_hash: validated.spec_hash.clone(),
    };
    let status = observed.component.status.as_ref();
    let remembered = status.and_then(|status| status.pinned.as_ref());
    if pin.for_generation != validated.generation && remembered != Some(&pinned) {
        return Pinned::No;
    }
    let mut kept = observed.revisions.iter();
    match kept.any(|known| known.name == pin.revision) {
        true => Pinned::Holds(pinned),
        false => Pinned::Unknown(pinned),
    }
}

/// The revision that is to run: that of the resolved image, or, while the image
/// cannot be resolved, the one that the last resolution led to. One that is not
/// admitted and never ran leaves its place to the one that serves.
pub(super) fn find(
    observed: &Observed,
    validated: &Validated,
    admission: &Admission,
    pin: &Pinned,
) -> (Option<Target>, Option<NewRevision>) {
    match pin {
        Pinned::Holds(pinned) => return (kept(observed, &pinned.revision), None),
        Pinned::Unknown(_) => return (current(observed), None),
        Pinned::No => {}
    }
    match &observed.resolution {
        Resolution::Done(admitted) => {
            let document = revision(validated, &admitted.digest, &admitted.requests);
            let name = document.revision_name();
            let target = Target {
                name: name.clone(),
                digest: document.digest.clone(),
                version: admitted.version(validated.image.tag()),
                signer: admitted.signer(),
            };
            let known = observed
                .revisions
                .iter()
                .any(|revision| revision.name == name);
            if admission.is_refused() && !holds(observed, &name) {
                return (current(observed), None);
            }
            let new = (!known && observed.values.is_ok()).then_some(NewRevision {
                document,
                number: observed.next_revision,
                generation: validated.generation,
            });
            (Some(target), new)
        }
        // Verified before and sealed: the registry is not needed to go on with it.
        Resolution::Pending | Resolution::Failed(_) => {
            let target = remembered(observed, validated)
                .map(|known| remembered_target(observed, &known.name, &known.document.digest));
            (target.or_else(|| current(observed)), None)
        }
    }
}

/// The sealed revision of the spec and of what the image stood for when it was last
/// resolved.
pub(in crate::component) fn remembered<'a>(
    observed: &'a Observed,
    validated: &Validated,
) -> Option<&'a KnownRevision> {
    let status = observed.component.status.as_ref();
    let resolved = status
        .and_then(|status| status.resolved.as_ref())
        .filter(|resolved| resolved.image == validated.image_text)?;
    let digest: Digest = resolved.digest.parse().ok()?;
    observed.revisions.iter().find(|known| {
        let KnownRevision { name, document, .. } = known;
        document.digest == resolved.digest
            && revision(validated, &digest, &document.requests).revision_name() == *name
    })
}

/// Whether a node holds the revision of that name.
fn holds(observed: &Observed, name: &str) -> bool {
    let placements = observed.placements.iter();
    let mut held = placements.flat_map(|placed| &placed.object.spec.revisions);
    held.any(|revision| revision.name == name)
}

/// The revision that the status calls current, if it is still there.
pub(super) fn current(observed: &Observed) -> Option<Target> {
    let current = observed.component.status.as_ref()?.current.as_ref()?;
    kept(observed, &current.revision)
}

fn kept(observed: &Observed, name: &str) -> Option<Target> {
    let mut kept = observed.revisions.iter();
    let known = kept.find(|revision| revision.name == name)?;
    Some(remembered_target(
        observed,
        &known.name,
        &known.document.digest,
    ))
}

/// A target with what the status remembers of it.
fn remembered_target(observed: &Observed, name: &str, digest: &str) -> Target {
    let status = observed.component.status.as_ref();
    let current = status
        .and_then(|status| status.current.as_ref())
        .filter(|current| current.revision == name);
    let updating = status
        .and_then(|status| status.updating.as_ref())
        .filter(|updating| updating.revision == name);
    let (version, signer) = match (current, updating) {
        (Some(current), _) => (current.version.clone(), current.signer.clone()),
        (None, Some(updating)) => (updating.version.clone(), updating.signer.clone()),
        (None, None) => (None, None),
    };
    Target {
        name: name.to_owned(),
        digest: digest.to_owned(),
        version,
        signer,
    }
}
