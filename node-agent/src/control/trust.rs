//! What this node itself reads to judge a component by: trust policies, the trusted roots that
//! they refer to, capability policies, namespace labels, the identity of the cluster, the keys of the operator.
//! Written by `observe`, read by every preparation, kept on disk. What is lost on the way (a
//! list that fails, a server that is away) leaves the last good state in place.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use artifact::root::{Believed, RootError, RootReference, Roots, TrustedRoot};
use artifact::trust::{Policy, Scope};
use base64::Engine;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::ceilings::{self, Policies};
use super::state::Store;
use crate::source::{Origin, Rules};

/// The name under which it is kept.
const KEPT: &str = "trust";
/// The start of the DER of an Ed25519 public key (RFC 8410); 32 bytes of key follow.
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// What is known, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Known {
    /// What components are judged by.
    #[serde(flatten)]
    pub standard: Standard,
    /// The TUF metadata that gave the public root: the next must not be older.
    pub believed: Option<Believed>,
    /// The labels of every namespace.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// The uid of `kube-system`, which stands for the cluster.
    pub cluster_uid: Option<String>,
    /// The CA bundle of the hand-over, in PEM.
    pub ca_bundle: Option<String>,
    /// The key that revisions are sealed with, in PEM.
    pub seal_key: Option<String>,
}

/// What components are judged by, as it is kept: for the whole cluster, or as far as it covered one
/// image that was admitted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standard {
    /// The spec of `TrustPolicies`, by name.
    pub policies: BTreeMap<String, serde_json::Value>,
    /// The trusted roots that they refer to, by ConfigMap and key.
    pub roots: BTreeMap<String, BTreeMap<String, String>>,
    /// The one that counts where they refer to none.
    pub public_root: KnownRoot,
    /// The spec of `CapabilityPolicies`, by name; nothing before they were read once.
    pub capability_policies: Option<Policies>,
}

/// What is known of the public root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KnownRoot {
    /// That of this build.
    #[default]
    BuiltIn,
    /// Nothing yet: the platform has put another in its place, which has not come.
    Awaited,
    /// This `trusted_root.json`, which this node has checked.
    Relayed(String),
}

/// What is known, shared, and a counter that changes with it.
#[derive(Debug)]
pub struct TrustBook {
    pages: RwLock<Pages>,
    changes: watch::Sender<u64>,
    store: Store,
}

#[derive(Debug)]
struct Pages {
    known: Known,
    /// Of `known`: reading certificates and keys is too much for every look.
    rules: Rules,
}

impl TrustBook {
    /// With what an earlier start kept.
    pub async fn open(store: Store) -> Self {
        let known: Known = store.load(KEPT.to_owned()).await.unwrap_or_default();
        let rules = known.standard.rules();
        Self {
            pages: RwLock::new(Pages { known, rules }),
            changes: watch::channel(0).0,
            store,
        }
    }

    /// Changes whenever something here does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What is known now.
    pub fn known(&self) -> impl std::ops::Deref<Target = Known> + '_ {
        Knowledge(self.pages.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What images are judged by now.
    pub fn rules(&self) -> Rules {
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        pages.rules.clone()
    }

    /// Changes what is known, and keeps it if it is different now.
    pub async fn learn(&self, change: impl FnOnce(&mut Known)) {
        let learned = {
            let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
            let before = pages.known.clone();
            change(&mut pages.known);
            if pages.known.standard != before.standard {
                pages.rules = pages.known.standard.rules();
            }
            (pages.known != before).then(|| pages.known.clone())
        };
        if let Some(learned) = learned {
            self.changes
                .send_modify(|count| *count = count.wrapping_add(1));
            self.store.save(KEPT.to_owned(), &learned).await;
        }
    }
}

struct Knowledge<'a>(RwLockReadGuard<'a, Pages>);

impl std::ops::Deref for Knowledge<'_> {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.0.known
    }
}

impl KnownRoot {
    /// A root that was checked.
    pub fn relayed(json: &[u8]) -> Self {
        Self::Relayed(String::from_utf8_lossy(json).into_owned())
    }
}

impl Known {
    /// Who may have written a revision; `None` until both halves are known.
    pub fn origin(&self) -> Option<Origin> {
        Some(Origin::Operator {
            cluster_uid: self.cluster_uid.clone()?,
            seal_key: ed25519_key(self.seal_key.as_deref()?)?,
        })
    }
}

impl Standard {
    /// Ready to judge. A policy that cannot be read covers what it can and admits nothing; a
    /// root that cannot be read makes what needs it uncheckable.
    pub fn rules(&self) -> Rules {
        let policies: Vec<Policy> = self.policies.iter().map(read_policy).collect();
        let mut roots = match &self.public_root {
            KnownRoot::BuiltIn => Roots::new(),
            KnownRoot::Awaited => Roots::new().with_public_good(Err(RootError::Missing(
                "the operator has relayed nothing yet from the TUF repository that --tuf-root is of"
                    .to_owned(),
            ))),
            KnownRoot::Relayed(json) => {
                Roots::new().with_public_good(TrustedRoot::from_json(json.as_bytes()))
            }
        };
        for (config_map, keys) in &self.roots {
            for (key, text) in keys {
                let reference = RootReference {
                    config_map: config_map.clone(),
                    key: key.clone(),
                };
                roots = roots.with(reference, TrustedRoot::from_json(text.as_bytes()));
            }
        }
        Rules::new(policies, roots)
    }

    /// As much of it as speaks about one image.
    #[must_use]
    pub fn about(&self, scope: &Scope<'_>) -> Self {
        let policies = self.capability_policies.as_ref();
        let mut about = Self {
            capability_policies: policies.map(|all| ceilings::about(all, scope.labels)),
            ..Self::default()
        };
        for (name, spec) in &self.policies {
            let policy = read_policy((name, spec));
            if !policy.covers(scope) {
                continue;
            }
            about.policies.insert(name.clone(), spec.clone());
            if policy.needs_public_good() {
                about.public_root = self.public_root.clone();
            }
            for RootReference { config_map, key } in policy.root_references() {
                let text = self.roots.get(config_map).and_then(|keys| keys.get(key));
                if let Some(text) = text {
                    let keys = about.roots.entry(config_map.clone()).or_default();
                    keys.insert(key.clone(), text.clone());
                }
            }
        }
        about
    }
}

fn read_policy((name, spec): (&String, &serde_json::Value)) -> Policy {
    Policy::parse(name, spec).unwrap_or_else(|error| Policy::closed(name, spec, error))
}

/// The raw key in a PEM of an Ed25519 public key.
fn ed25519_key(pem: &str) -> Option<Vec<u8>> {
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .map(str::trim)
        .collect();
    let der = base64::engine::general_purpose::STANDARD
        .decode(body)
        .ok()?;
    let key = der.strip_prefix(ED25519_SPKI.as_slice())?;
    (key.len() == 32).then(|| key.to_vec())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keyless(glob: &str, config_map: &str) -> serde_json::Value {
        let root = json!({"configMapKeyRef": {"name": config_map, "key": "root"}});
        let identity = json!({"issuer": "https://login.example", "subject": "ci@example.com"});
        json!({
            "images": [{"glob": glob}],
            "authorities": [{
                "name": "ci",
                "keyless": {"identities": [identity], "trustedRoot": root},
                "ctlog": "Required",
            }],
        })
    }

    #[test]
    fn what_is_kept_with_a_verdict_is_what_it_was_given_by_and_no_more() {
        let root = |config_map: &str| {
            let keys = BTreeMap::from([("root".to_owned(), format!("root of {config_map}"))]);
            (config_map.to_owned(), keys)
        };
        let standard = Standard {
            policies: BTreeMap::from([
                ("ours".to_owned(), keyless("registry.example/**", "ours")),
                ("theirs".to_owned(), keyless("other.example/**", "theirs")),
                ("unreadable".to_owned(), json!({"images": "none"})),
            ]),
            roots: BTreeMap::from([root("ours"), root("theirs")]),
            public_root: KnownRoot::Relayed("of the public".to_owned()),
            capability_policies: None,
        };
        let labels = BTreeMap::new();
        let about = standard.about(&Scope {
            image: &"registry.example/shop/orders".parse().unwrap(),
            namespace: "shop",
            labels: &labels,
        });
        // One that cannot be read covers everything, and refuses after a restart as before.
        let names: Vec<&String> = about.policies.keys().collect();
        assert_eq!(names, ["ours", "unreadable"]);
        assert_eq!(about.roots, BTreeMap::from([root("ours")]));
        assert_eq!(about.public_root, KnownRoot::BuiltIn);
    }

    #[test]
    fn a_public_root_is_kept_with_what_was_judged_by_it() {
        let mut spec = keyless("registry.example/**", "unused");
        spec["authorities"][0]["keyless"]["trustedRoot"].take();
        let public_root = KnownRoot::Relayed("of the public".to_owned());
        let standard = Standard {
            policies: BTreeMap::from([("public".to_owned(), spec)]),
            roots: BTreeMap::new(),
            public_root: public_root.clone(),
            capability_policies: None,
        };
        let labels = BTreeMap::new();
        let about = standard.about(&Scope {
            image: &"registry.example/shop/orders".parse().unwrap(),
            namespace: "shop",
            labels: &labels,
        });
        assert_eq!(about.public_root, public_root);
    }

    #[test]
    fn what_an_earlier_version_kept_is_still_read() {
        let kept = json!({"policies": {"shop": {"images": []}}, "seal_key": "PEM"});
        let known: Known = serde_json::from_value(kept).unwrap();
        assert_eq!(known.standard.policies.len(), 1);
        assert_eq!(known.seal_key.as_deref(), Some("PEM"));
    }
}
