//! What this node shall run, as a value: the placements of one node, keyed by their names.
//! It knows no client and no clock; whoever observes (the API server, or files under
//! `lighterman run`) builds it, and the reconcile loop plans over it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use artifact::Digest;
use crds::revision::ComponentIdentity;
use serde::{Deserialize, Serialize};

/// Names one `ComponentPlacement`: namespace and name, written `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PlacementKey {
    /// The namespace of the placement, which is that of its component.
    pub namespace: String,
    /// The name of the placement.
    pub name: String,
}

/// Everything that is placed on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// The placements, by name.
    pub placements: BTreeMap<PlacementKey, DesiredPlacement>,
}

/// One placement: a pointer to a component and the revisions of it that this node shall hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredPlacement {
    /// The uid of the placement: the same name with another uid is another placement.
    pub uid: String,
    /// `metadata.generation` of the placement, echoed in its status.
    pub generation: i64,
    /// The component that is placed.
    pub component: ComponentIdentity,
    /// How many times the per-replica budget applies to the slot.
    pub replicas: u32,
    /// The port of each trigger, by the name of the trigger.
    pub ports: BTreeMap<String, u16>,
    /// One or two revisions with their weights.
    pub revisions: Vec<DesiredRevision>,
}

/// One revision of a placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredRevision {
    /// The name of the revision (`wc-<component>-<hash>`).
    pub name: String,
    /// The digest of the OCI manifest it runs.
    pub digest: Digest,
    /// Its share of the requests, 0 to 100. Nought means: prepare it, and send it nothing.
    pub weight: u32,
}

/// A placement key that is not `namespace/name`.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is not a placement: write namespace/name")]
pub struct InvalidPlacementKey(String);

impl fmt::Display for PlacementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for PlacementKey {
    type Err = InvalidPlacementKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Ok(Self {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                })
            }
            _ => Err(InvalidPlacementKey(text.to_owned())),
        }
    }
}

impl From<PlacementKey> for String {
    fn from(key: PlacementKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for PlacementKey {
    type Error = InvalidPlacementKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
