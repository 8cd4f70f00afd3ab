//! Everything a job needs to know of a component, gathered from the caches at one
//! moment, and what of it a verdict depends on.

use std::collections::{BTreeMap, BTreeSet};

use artifact::trust::{Policy, Scope};
use artifact::{Digest, ImageReference};
use kube::ResourceExt;

use crate::caches::Caches;
use crate::component::Validated;
use crate::trust::{Rules, TrustBook};

/// Everything a job needs to know.
#[derive(Debug, Clone)]
pub struct Request {
    pub(super) validated: Validated,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) rules: Rules,
    /// The digest the tag stood for when it was last resolved, from the status.
    pub(super) remembered: Option<Digest>,
    pub(super) fingerprint: Fingerprint,
    /// What runs of the component, the image of the spec or not.
    pub(super) running: Vec<(ImageReference, Digest)>,
}

/// What a resolution depends on. If it is the same, so is the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint {
    uid: String,
    pub(super) image: String,
    pull_secrets: Vec<String>,
    /// Of the policies that cover the image, and of the roots.
    trust: Digest,
}

impl Fingerprint {
    /// Whether it is about the same image of the same component.
    pub(super) fn same_image(&self, other: &Self) -> bool {
        self.image == other.image && self.uid == other.uid
    }
}

impl Request {
    /// Gathers what a job for `validated` needs.
    pub fn new(caches: &Caches, book: &TrustBook, validated: Validated) -> Self {
        let labels = caches
            .namespaces
            .get("", &validated.key.namespace)
            .map(|namespace| namespace.labels().clone())
            .unwrap_or_default();
        let rules = book.rules(&caches.policies);
        let remembered = caches
            .components
            .get(&validated.key.namespace, &validated.key.name)
            .and_then(|component| component.status.as_ref()?.resolved.clone())
            .filter(|resolved| resolved.image == validated.image_text)
            .and_then(|resolved| resolved.digest.parse().ok());
        let scope = Scope {
            image: &validated.image,
            namespace: &validated.key.namespace,
            labels: &labels,
        };
        let fingerprint = Fingerprint {
            uid: validated.uid.clone(),
            image: validated.image_text.clone(),
            pull_secrets: validated.pull_secrets.clone(),
            trust: rules.trust().fingerprint(&scope),
        };
        Self {
            validated,
            labels,
            rules,
            remembered,
            fingerprint,
            running: Vec::new(),
        }
    }

    /// With what runs of the component, to be judged again when a policy changes.
    #[must_use]
    pub fn running(mut self, running: Vec<(ImageReference, Digest)>) -> Self {
        self.running = running;
        self
    }

    pub(super) fn scope(&self) -> Scope<'_> {
        self.scope_of(&self.validated.image)
    }

    pub(super) fn scope_of<'a>(&'a self, image: &'a ImageReference) -> Scope<'a> {
        Scope {
            image,
            namespace: &self.validated.key.namespace,
            labels: &self.labels,
        }
    }

    /// The policies that speak about the image.
    pub(super) fn covered_by(&self) -> BTreeSet<String> {
        let scope = self.scope();
        let covers = |policy: &&Policy| policy.covers(&scope);
        let policies = self.rules.policies().iter().filter(covers);
        policies.map(|policy| policy.name().to_owned()).collect()
    }
}
