//! What images are judged by: the trust policies as they are now, each read once,
//! and the trusted roots that they refer to, or the public one where they name none.
//!
//! Roots are keys of ConfigMaps in the operator's own namespace, read by name. One
//! that cannot be read just now stays what it was; one that is gone is gone, and
//! refuses what is new without stopping what runs. Judges nothing itself; the
//! resolver does, with what `rules` gives it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use artifact::root::{RootError, RootReference, Roots, TrustedRoot};
use artifact::trust::{Policy, Trust};
use crds::TrustPolicy;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::mirror::Mirror;
use crate::reader::{ReadError, Reader};

/// Most roots that are read: each is a request to the API server every time.
const ROOTS_MAX: usize = 64;

/// Policies and roots as they are at one moment; cheap to clone.
#[derive(Debug, Clone)]
pub struct Rules {
    policies: Arc<Vec<Policy>>,
    roots: Arc<Roots>,
}

/// Policies and roots, remembered as long as they stay; cheap to clone, all clones
/// are one book.
#[derive(Debug, Clone, Default)]
pub struct TrustBook(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    /// Which policies `policies` were read from.
    edition: Vec<Edition>,
    policies: Arc<Vec<Policy>>,
    texts: BTreeMap<RootReference, Result<String, RootError>>,
    public: PublicRoot,
    roots: Arc<Roots>,
}

/// What counts where a policy names no root.
#[derive(Debug, Default)]
struct PublicRoot {
    /// Nothing: the root of this build.
    root: Option<Result<TrustedRoot, RootError>>,
    /// When the metadata that gave it expires.
    expires: Option<Timestamp>,
}

/// Name, uid and generation: another of any is another policy.
type Edition = (String, Option<String>, Option<i64>);

impl Rules {
    /// The policies.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The roots.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// What a judgement made now hangs on.
    pub fn trust(&self) -> Trust<'_> {
        Trust {
            policies: &self.policies,
            roots: &self.roots,
            now: Timestamp::now(),
        }
    }
}

impl TrustBook {
    /// What images are judged by now.
    pub fn rules(&self, policies: &Mirror<TrustPolicy>) -> Rules {
        let policies = policies.all();
        let edition: Vec<Edition> = policies
            .iter()
            .map(|policy| (policy.name_any(), policy.uid(), policy.metadata.generation))
            .collect();
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.edition != edition {
            let read = policies.iter().map(|policy| read_policy(policy));
            pages.policies = Arc::new(read.collect());
            pages.edition = edition;
        }
        Rules {
            policies: Arc::clone(&pages.policies),
            roots: Arc::clone(&pages.roots),
        }
    }

    /// Reads the roots that policies refer to, from ConfigMaps in `namespace`. Says
    /// whether any of them changed.
    pub async fn refresh(
        &self,
        policies: &Mirror<TrustPolicy>,
        reader: &Reader,
        namespace: &str,
    ) -> bool {
        let rules = self.rules(policies);
        let wanted: BTreeSet<&RootReference> = rules
            .policies
            .iter()
            .flat_map(Policy::root_references)
            .take(ROOTS_MAX)
            .collect();
        let mut texts = BTreeMap::new();
        for reference in wanted {
            let text = match self.text(reference, reader, namespace).await {
                Ok(text) => text,
                Err(error) => {
                    let known = self.known(reference);
                    known.unwrap_or_else(|| Err(unreadable(namespace, reference, &error)))
                }
            };
            texts.insert(reference.clone(), text);
        }
        self.learn(texts)
    }

    /// Whether every root that a policy refers to is here.
    pub fn is_complete(&self) -> bool {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.texts.values().all(Result::is_ok)
    }

    async fn text(
        &self,
        reference: &RootReference,
        reader: &Reader,
        namespace: &str,
    ) -> Result<Result<String, RootError>, ReadError> {
        let RootReference { config_map, key } = reference;
        let data = reader.config_map(namespace, config_map).await?;
        let text = match data {
            None => Err(format!(
                "ConfigMap {config_map} does not exist in namespace {namespace}; create it"
            )),
            Some(mut data) => data.remove(key).ok_or_else(|| {
                format!("ConfigMap {config_map} in namespace {namespace} has no key {key}; add it")
            }),
        };
        Ok(text.map_err(RootError::Missing))
    }

    fn known(&self, reference: &RootReference) -> Option<Result<String, RootError>> {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.texts.get(reference).cloned()
    }

    fn learn(&self, texts: BTreeMap<RootReference, Result<String, RootError>>) -> bool {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.texts == texts {
            return false;
        }
        pages.texts = texts;
        pages.read_roots();
        true
    }

    /// Takes this root where a policy names none, and says whether it is another one.
    /// `expires` is when it should have been renewed.
    pub fn learn_public(
        &self,
        root: Option<Result<TrustedRoot, RootError>>,
        expires: Option<Timestamp>,
    ) -> bool {
        let stands_for = |root: &Option<Result<TrustedRoot, RootError>>| {
            let root = root.as_ref();
            root.map(|root| {
                root.as_ref()
                    .map(|root| *root.digest())
                    .map_err(Clone::clone)
            })
        };
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = stands_for(&pages.public.root) != stands_for(&root);
        pages.public = PublicRoot { root, expires };
        pages.read_roots();
        changed
    }
}

impl Pages {
    fn read_roots(&mut self) {
        let mut roots = Roots::new();
        if let Some(root) = &self.public.root {
            roots = roots.with_public_good(root.clone());
        }
        if let Some(expires) = self.public.expires {
            roots = roots.with_public_good_until(expires);
        }
        for (reference, text) in &self.texts {
            let root = text
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|text| TrustedRoot::from_json(text.as_bytes()));
            roots = roots.with(reference.clone(), root);
        }
        self.roots = Arc::new(roots);
    }
}

/// A policy ready to judge. One that cannot be used must not be left out, which
/// would drop its demand: it admits nothing.
fn read_policy(policy: &TrustPolicy) -> Policy {
    let (name, spec) = (
        policy.name_any(),
        serde_json::to_value(&policy.spec).unwrap_or_default(),
    );
    Policy::parse(&name, &spec).unwrap_or_else(|error| Policy::closed(&name, &spec, error))
}

fn unreadable(namespace: &str, reference: &RootReference, error: &ReadError) -> RootError {
    let RootReference { config_map, .. } = reference;
    RootError::Missing(format!(
        "ConfigMap {config_map} in namespace {namespace} could not be read: {error}"
    ))
}
