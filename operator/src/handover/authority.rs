//! What a node may have: what is placed on it, and nothing else.
//!
//! A placement alone proves nothing, since a tenant with wide rights can write
//! one. It counts only if its controller is a live `WasmComponent`, and its
//! revisions only if they carry the operator's seal for that very component.
//! Reads the caches; `server` asks.

use std::sync::Arc;

use artifact::{Digest, ImageReference};
use crds::handover::Problem;
use crds::revision::ComponentIdentity;
use crds::{ComponentPlacement, Reason};
use kube::ResourceExt;

use super::problem;
use crate::caches::Caches;
use crate::component::is_owned_by;
use crate::component::revision::{self, KnownRevision};
use crate::content::{ContentStore, ParcelName};
use crate::seal::SealPublicKey;

/// Decides by what the caches hold.
#[derive(Debug, Clone)]
pub struct Authority {
    caches: Caches,
    seal: SealPublicKey,
}

/// Why a blob is not handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Withheld {
    /// It belongs to nothing that is placed on the node.
    NotYours,
    /// It may: the bytes of these revisions are not here.
    Missing(Vec<MissingContent>),
}

/// A revision whose bytes the content cache lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingContent {
    /// Namespace of the component.
    pub namespace: String,
    /// Name of the component.
    pub component: String,
    /// Its image.
    pub image: ImageReference,
    /// Digest of the image.
    pub digest: Digest,
}

impl Authority {
    /// Decides by `caches`, believing seals of `seal`.
    pub fn new(caches: Caches, seal: SealPublicKey) -> Self {
        Self { caches, seal }
    }

    /// The revision of that name, if `node` may have it.
    ///
    /// # Errors
    /// 404 for a revision that is not known, 403 for one that is not placed there.
    pub fn revision(
        &self,
        node: &str,
        namespace: &str,
        name: &str,
    ) -> Result<KnownRevision, Problem> {
        let Some(object) = self.caches.revisions.get(namespace, name) else {
            return Err(problem(
                Reason::RevisionUnknown,
                format!("there is no revision {namespace}/{name}"),
            ));
        };
        let forbidden = || {
            problem(
                Reason::HandOverForbidden,
                format!("revision {namespace}/{name} is not placed on node {node}"),
            )
        };
        let placement = self
            .placed_on(node)
            .find(|placement| {
                placement.namespace().as_deref() == Some(namespace)
                    && placement
                        .spec
                        .revisions
                        .iter()
                        .any(|placed| placed.name == name)
            })
            .ok_or_else(forbidden)?;
        let uid = &placement.spec.component_ref.uid;
        if !is_owned_by(&object.metadata, uid) {
            return Err(forbidden());
        }
        revision::read(&object, uid, &self.seal).map_err(|error| {
            problem(
                Reason::SealInvalid,
                format!("revision {namespace}/{name} is not handed out: {error}"),
            )
        })
    }

    /// Whether `node` may have the bytes of `blob`.
    ///
    /// # Errors
    /// `Withheld`.
    pub fn blob(&self, node: &str, blob: &Digest, content: &ContentStore) -> Result<(), Withheld> {
        let mut missing = Vec::new();
        for placement in self.placed_on(node) {
            let namespace = placement.namespace().unwrap_or_default();
            for placed in &placement.spec.revisions {
                let Ok(known) = self.revision(node, &namespace, &placed.name) else {
                    continue;
                };
                let Some((image, digest)) = known.image() else {
                    continue;
                };
                let parcel = ParcelName::new(&image, &digest);
                if content.has_part(&parcel, blob) {
                    return Ok(());
                }
                if content.listing(&parcel).is_none() {
                    missing.push(MissingContent {
                        namespace: namespace.clone(),
                        component: known.document.component.name.clone(),
                        image,
                        digest,
                    });
                }
            }
        }
        Err(if missing.is_empty() {
            Withheld::NotYours
        } else {
            Withheld::Missing(missing)
        })
    }

    /// Whether the component is placed on `node`.
    pub fn is_placed(&self, node: &str, component: &ComponentIdentity) -> bool {
        self.placement_of(node, component).is_some()
    }

    /// Whether `node` holds these revisions of the component.
    pub fn holds<'a>(
        &self,
        node: &str,
        component: &ComponentIdentity,
        revisions: impl IntoIterator<Item = &'a str>,
    ) -> bool {
        let placed = self.placement_of(node, component);
        placed.is_some_and(|placement| {
            let placed = &placement.spec.revisions;
            let mut asked = revisions.into_iter();
            asked.all(|name| placed.iter().any(|placed| placed.name == name))
        })
    }

    fn placement_of(
        &self,
        node: &str,
        component: &ComponentIdentity,
    ) -> Option<Arc<ComponentPlacement>> {
        self.placed_on(node).find(|placement| {
            let reference = &placement.spec.component_ref;
            placement.namespace().as_deref() == Some(&component.namespace)
                && reference.name == component.name
                && reference.uid == component.uid
        })
    }

    /// Placements of `node` that belong to a live component.
    fn placed_on(&self, node: &str) -> impl Iterator<Item = Arc<ComponentPlacement>> {
        self.caches
            .placements
            .all()
            .into_iter()
            .filter(move |placement| {
                let (reference, namespace) = (
                    &placement.spec.component_ref,
                    placement.namespace().unwrap_or_default(),
                );
                placement.spec.node_name == node
                    && is_owned_by(&placement.metadata, &reference.uid)
                    && self
                        .caches
                        .components
                        .get(&namespace, &reference.name)
                        .is_some_and(|component| component.uid().as_deref() == Some(&reference.uid))
            })
    }
}

#[cfg(test)]
mod tests;
