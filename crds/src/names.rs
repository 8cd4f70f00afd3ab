//! Names of everything that Lighterman writes into a cluster: labels, annotations,
//! field managers, and the objects that are derived from a component.
//!
//! Pure text. Derived names carry a hash where the whole would be too long, and are
//! the same whoever works them out.

use sha2::{Digest, Sha256};

/// Label of everything that belongs to a component: the component's name.
pub const COMPONENT_LABEL: &str = "lighterman.dev/component";
/// Label of a NetworkPolicy, which is in another namespace than its component: the component's.
pub const COMPONENT_NAMESPACE_LABEL: &str = "lighterman.dev/component-namespace";
/// Label of a NetworkPolicy, which no owner reference ties to its component: the component's uid.
pub const COMPONENT_UID_LABEL: &str = "lighterman.dev/component-uid";
/// Label of a WasmComponent that is a preview: the name of the component that it is one of.
pub const PREVIEW_OF_LABEL: &str = "lighterman.dev/preview-of";
/// Label of a placement: hash of the node's name (which may be too long for a label).
pub const NODE_LABEL: &str = "lighterman.dev/node";
/// Label of a ControllerRevision: the hash of its content.
pub const REVISION_HASH_LABEL: &str = "lighterman.dev/revision-hash";
/// `app.kubernetes.io/managed-by` of what the operator writes.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "lighterman-operator";
/// `app.kubernetes.io/name`: how agent Pods are found.
pub const NAME_LABEL: &str = "app.kubernetes.io/name";
/// Value of [`NAME_LABEL`] on agent Pods.
pub const AGENT_NAME: &str = "lighterman-agent";
/// Value of [`NAME_LABEL`] on guard Pods.
pub const GUARD_NAME: &str = "lighterman-guard";
/// Label by which a Service finds its EndpointSlices.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Label by which EndpointSlice controllers leave each other's slices alone.
pub const ENDPOINT_SLICE_MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// Value of [`ENDPOINT_SLICE_MANAGED_BY_LABEL`].
pub const ENDPOINT_SLICE_MANAGED_BY: &str = "operator.lighterman.dev";
/// Annotation of a ControllerRevision: the operator's [`crate::revision::Seal`], as JSON.
pub const SEAL_ANNOTATION: &str = "lighterman.dev/seal";

/// Field manager of the operator's writes.
pub const OPERATOR_FIELD_MANAGER: &str = "lighterman-operator";
/// Field manager of an agent's writes.
pub const AGENT_FIELD_MANAGER: &str = "lighterman-agent";
/// Field manager of the command line.
pub const CLI_FIELD_MANAGER: &str = "lighterman-cli";

/// Namespace of operator and agents, unless the chart says otherwise.
pub const SYSTEM_NAMESPACE: &str = "lighterman-system";
/// Namespace of the heartbeat Leases, one per node and named like it.
pub const NODE_NAMESPACE: &str = "lighterman-nodes";
/// Secret with the hand-over's certificate authority.
pub const CA_SECRET: &str = "lighterman-ca";
/// Secret with the key that seals revisions.
pub const SEAL_SECRET: &str = "lighterman-seal";
/// ConfigMap with what agents trust.
pub const TRUST_CONFIG_MAP: &str = "lighterman-trust";
/// Key of [`TRUST_CONFIG_MAP`]: certificates of the hand-over's authority, in PEM.
pub const TRUST_CA_KEY: &str = "ca.crt";
/// Key of [`TRUST_CONFIG_MAP`]: the public key of the seal, in PEM.
pub const TRUST_SEAL_KEY: &str = "seal.pub";
/// ServiceAccount of the operator, in [`SYSTEM_NAMESPACE`]: the owner of what it makes there.
pub const OPERATOR_SERVICE_ACCOUNT: &str = "lighterman-operator";
/// The ValidatingAdmissionPolicies, each with a binding of its own name, without which the
/// operator does not start: what agents may write, who may write placements and approvals, and
/// that the operator writes no component but previews.
pub const ADMISSION_POLICIES: [&str; 4] = [
    "lighterman-agent",
    "lighterman-placements",
    "lighterman-approvals",
    "lighterman-previews",
];
/// ConfigMap with the ledger of ports.
pub const PORTS_CONFIG_MAP: &str = "lighterman-ports";
/// Lease of the leader election.
pub const LEADER_LEASE: &str = "lighterman-operator";

/// Characters of a hash in a name: 40 bits keep names of one component apart.
const HASH_LENGTH: usize = 10;

/// Name of the placement of `component` on `node`. At most 63 characters.
pub fn placement_name(component: &str, node: &str) -> String {
    format!("{component}-{}", node_hash(node))
}

/// Value of [`NODE_LABEL`] for a node: node names may be longer than a label.
pub fn node_hash(node: &str) -> String {
    short_hash(node.as_bytes())
}

/// Name of the ControllerRevision of `component` with this content hash. The prefix
/// keeps it apart from those of a DaemonSet or StatefulSet of the same name.
pub fn revision_name(component: &str, hash: &str) -> String {
    format!("wc-{component}-{hash}")
}

/// Name of the NetworkPolicy of a component, in the agents' namespace. Neither part has a dot, so
/// no two components share one.
pub fn network_policy_name(namespace: &str, component: &str) -> String {
    format!("wc-{namespace}.{component}")
}

/// Name of the component that is a preview of another.
pub fn preview_name(component: &str, preview: &str) -> String {
    format!("{component}-{preview}")
}

/// Name of the Service of a component.
pub fn service_name(component: &str) -> String {
    component.to_owned()
}

/// Name of the `index`th EndpointSlice of a component for an address family
/// (`ipv4` or `ipv6`).
pub fn endpoint_slice_name(component: &str, family: &str, index: usize) -> String {
    format!("{component}-{family}-{index}")
}

/// `status.selector`: matches what belongs to a component, and no Pod.
pub fn selector(component: &str) -> String {
    format!("{COMPONENT_LABEL}={component}")
}

/// The first characters of the SHA-256 of some bytes, in hexadecimal.
pub(crate) fn short_hash(bytes: &[u8]) -> String {
    let mut hash = hex::encode(Sha256::digest(bytes));
    hash.truncate(HASH_LENGTH);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_names_fit_where_they_are_used() {
        let component = "c".repeat(crate::bound::COMPONENT_NAME as usize);
        let node = "n".repeat(253);
        assert!(placement_name(&component, &node).len() <= 63);
        assert!(endpoint_slice_name(&component, "ipv6", 9_999).len() <= 63);
        assert!(revision_name(&component, "0123456789").len() <= 253);
    }

    #[test]
    fn nodes_with_a_common_beginning_have_placements_of_their_own() {
        assert_ne!(
            placement_name("orders", "node-1"),
            placement_name("orders", "node-11")
        );
        assert_eq!(
            placement_name("orders", "node-1"),
            placement_name("orders", "node-1")
        );
    }
}
