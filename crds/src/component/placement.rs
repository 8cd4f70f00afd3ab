//! Which nodes a component runs on. A wish; `operator::placement` decides.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeAffinity, Toleration};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{bound, schema};

/// Which nodes a component runs on.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.spread) || size(self.spread) == 0 || self.mode != 'EveryNode'")
    .message("mode EveryNode runs one replica on each node; remove spread, or write mode: Spread"))]
pub struct PlacementSpec {
    /// How replicas are laid out over the nodes that match.
    #[serde(default)]
    pub mode: PlacementMode,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::node_selector")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the component puts up with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::tolerations")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub tolerations: Vec<Toleration>,
    /// Which nodes are required and which preferred, by their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::node_affinity")]
    pub node_affinity: Option<NodeAffinity>,
    /// How unequally replicas may be spread over zones, hosts or other domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::SPREAD_CONSTRAINTS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["topologyKey".into(), "whenUnsatisfiable".into()]))]
    pub spread: Vec<SpreadConstraint>,
}

/// How unequally replicas may be spread over the domains of a topology. The words are
/// those of a Pod's `topologySpreadConstraints`; what is counted is this component's
/// replicas, and domains without a node that could take one do not count.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpreadConstraint {
    /// Label of nodes whose values are the domains, such as `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = bound::QUALIFIED_NAME))]
    pub topology_key: String,
    /// How many replicas a domain may have more than the emptiest one.
    #[schemars(range(min = 1, max = bound::REPLICAS))]
    pub max_skew: i32,
    /// What happens with a replica that no node can take without exceeding it.
    pub when_unsatisfiable: WhenUnsatisfiable,
}

/// What happens with a replica that would break a spread constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
pub enum WhenUnsatisfiable {
    /// It is not placed.
    DoNotSchedule,
    /// It is placed where it breaks the constraint least.
    ScheduleAnyway,
    /// A way of a later version. Nothing is placed.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// How replicas are laid out.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum PlacementMode {
    /// `replicas` replicas, spread evenly over the nodes that match.
    #[default]
    Spread,
    /// One replica on each node that matches; `replicas` is left out.
    EveryNode,
    /// A mode of a later version. Nothing is placed.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
