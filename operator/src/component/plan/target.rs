//! The revision that is to run, and whether it has to be written first.
//!
//! Pure; `plan` calls it.

use artifact::Digest;

use super::{NewRevision, Target, outlook};
use crate::component::admit::Admission;
use crate::component::observe::Observed;
use crate::component::revision::{KnownRevision, revision};
use crate::component::{Pinned, Validated, pinned};
use crate::resolver::Resolution;

/// The revision that is to run: the one that is pinned, or that of the resolved image, or, while the image
/// cannot be resolved, the one that the last resolution led to. One that is not
/// admitted and never ran leaves its place to the one that serves.
pub(super) fn find(
    observed: &Observed,
    validated: &Validated,
    admission: &Admission,
) -> (Option<Target>, Option<NewRevision>) {
    match pinned(observed, validated) {
        Pinned::Nothing => {}
        // It was sealed once: neither registry nor a new revision is needed.
        Pinned::Kept(known) if !admission.is_refused() || holds(observed, &known.name) => {
            let target = remembered_target(observed, &known.name, &known.document.digest);
            return (Some(target), None);
        }
        Pinned::Kept(_) | Pinned::Gone(_) => return (current(observed), None),
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

/// What there is to go back to from `asked`: the revision that the status calls current, or,
/// before there was one, what serves on most nodes.
pub(super) fn proven(observed: &Observed, asked: &Target) -> Option<Target> {
    let found = current(observed).or_else(|| {
        let (name, digest) = outlook::serving(observed)?;
        Some(remembered_target(observed, &name, &digest))
    });
    found.filter(|found| found.name != asked.name)
}

/// The revision that the status calls current, if it is still there.
fn current(observed: &Observed) -> Option<Target> {
    let current = observed.component.status.as_ref()?.current.as_ref()?;
    let known = observed
        .revisions
        .iter()
        .find(|revision| revision.name == current.revision)?;
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
        (None, None) => (stated_version(observed, name), None),
    };
    Target {
        name: name.to_owned(),
        digest: digest.to_owned(),
        version,
        signer,
    }
}

/// What the manifest of a sealed revision calls its version.
fn stated_version(observed: &Observed, name: &str) -> Option<String> {
    let known = observed.revisions.iter().find(|known| known.name == name)?;
    let mut requests = known.document.requests.iter();
    let stated = requests.find(|request| !request.component.version.is_empty())?;
    Some(stated.component.version.clone())
}
