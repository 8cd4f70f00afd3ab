//! The guard's Pod: how it looks, and how far it is.
//!
//! Pure; `plan` asks. It has no rights at all: no token, no volumes, no root, no
//! capabilities. The admission policy in the chart holds the operator to this.

use std::collections::BTreeMap;

use capability::Bytes;
use crds::names;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, Pod, PodSecurityContext, PodSpec, ResourceRequirements,
    SeccompProfile, SecurityContext, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// How long an eviction waits for the components at most: as long as the
/// cluster-autoscaler lets any Pod take.
const GRACE_PERIOD_SECONDS: i64 = 600;
/// The grace period of a guard that the operator ends: its process does nothing
/// that could be cut off. A shorter one than an evictor's says that it was us.
const END_SECONDS: u32 = 1;
/// Only a sign of life: the guard computes nothing.
const CPU: &str = "1m";
/// A user that owns nothing.
const NOBODY: i64 = 65_532;
const CONTAINER: &str = "guard";
const MEMORY: &str = "memory";

/// What guards run, and where they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// The image: the operator's own.
    pub name: String,
    /// The namespace of the guards.
    pub namespace: String,
    /// The operator's ServiceAccount, which `helm uninstall` takes, and garbage
    /// collection the guards. Without one, each belongs to its WasmNode.
    pub owner: Option<OwnerReference>,
    /// The DNS name of the operator's Service: while it resolves, an operator will say
    /// when a guard may go.
    pub operator: Option<String>,
}

/// Whether somebody else than the operator has told a guard to go.
pub fn is_evicted(guard: &Pod) -> bool {
    let meta = &guard.metadata;
    meta.deletion_timestamp.is_some() && !is_ending(guard) && !has_ended(guard)
}

/// Whether the operator has told a guard to go.
pub(super) fn is_ending(guard: &Pod) -> bool {
    let meta = &guard.metadata;
    let period = meta.deletion_grace_period_seconds.unwrap_or_default();
    meta.deletion_timestamp.is_some() && period <= i64::from(END_SECONDS)
}

/// The grace period with which the operator ends `guard`. Kubelet does not shorten a
/// wait that an evictor began (kubernetes#113606): such a guard goes from the API
/// server at once, and its process, which does nothing, may outlast it on the node.
pub(super) fn end_seconds(guard: &Pod) -> u32 {
    if is_evicted(guard) { 0 } else { END_SECONDS }
}

/// Whether a guard's process has ended, or never started.
pub(super) fn has_ended(guard: &Pod) -> bool {
    let phase = guard.status.as_ref().and_then(|of| of.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// The node a guard is on.
pub(super) fn node(guard: &Pod) -> &str {
    let spec = guard.spec.as_ref();
    spec.and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default()
}

/// What a guard reserves.
pub(super) fn reserved(guard: &Pod) -> Option<Bytes> {
    let container = guard.spec.as_ref()?.containers.first()?;
    let requests = container.resources.as_ref()?.requests.as_ref()?;
    requests.get(MEMORY)?.0.parse().ok()
}

/// `guard` with another reservation.
pub(super) fn resized(guard: &Pod, reserved: Bytes) -> Pod {
    let mut guard = guard.clone();
    let containers = guard.spec.iter_mut().flat_map(|spec| &mut spec.containers);
    for container in containers {
        container.resources = Some(resources(reserved));
    }
    guard
}

/// The guard of `node`. `owner` is the UID of its WasmNode: `kubectl drain` and
/// autoscalers leave Pods without a controller alone.
pub(super) fn pod(image: &Image, node: &str, owner: &str, reserved: Bytes) -> Pod {
    let labels = [
        (names::NAME_LABEL, names::GUARD_NAME.to_owned()),
        (names::MANAGED_BY_LABEL, names::MANAGED_BY.to_owned()),
        (names::NODE_LABEL, names::node_hash(node)),
    ];
    Pod {
        metadata: ObjectMeta {
            name: Some(super::name(node)),
            namespace: Some(image.namespace.clone()),
            labels: Some(
                labels
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect(),
            ),
            annotations: Some(BTreeMap::from([(
                "cluster-autoscaler.kubernetes.io/safe-to-evict".to_owned(),
                "true".to_owned(),
            )])),
            owner_references: Some(vec![controller(image, node, owner)]),
            ..ObjectMeta::default()
        },
        spec: Some(spec(image, node, reserved)),
        status: None,
    }
}

fn controller(image: &Image, node: &str, owner: &str) -> OwnerReference {
    let of_node = || OwnerReference {
        api_version: crds::API_VERSION.to_owned(),
        kind: "WasmNode".to_owned(),
        name: node.to_owned(),
        uid: owner.to_owned(),
        ..OwnerReference::default()
    };
    OwnerReference {
        controller: Some(true),
        block_owner_deletion: Some(false),
        ..image.owner.clone().unwrap_or_else(of_node)
    }
}

fn spec(image: &Image, node: &str, reserved: Bytes) -> PodSpec {
    PodSpec {
        // Not through the scheduler: what it is to reserve is in use already.
        node_name: Some(node.to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_PERIOD_SECONDS),
        // Only an eviction is a signal. Were it taken away with a silent node, the
        // silence of all nodes at once would look like a drain of all of them.
        tolerations: Some(vec![Toleration {
            operator: Some("Exists".to_owned()),
            ..Toleration::default()
        }]),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NOBODY),
            run_as_group: Some(NOBODY),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![Container {
            name: CONTAINER.to_owned(),
            image: Some(image.name.clone()),
            args: Some(
                std::iter::once(super::process::ROLE.to_owned())
                    .chain(image.operator.clone())
                    .collect(),
            ),
            resources: Some(resources(reserved)),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                read_only_root_filesystem: Some(true),
                capabilities: Some(Capabilities {
                    drop: Some(vec!["ALL".to_owned()]),
                    ..Capabilities::default()
                }),
                ..SecurityContext::default()
            }),
            ..Container::default()
        }],
        ..PodSpec::default()
    }
}

fn resources(reserved: Bytes) -> ResourceRequirements {
    ResourceRequirements {
        requests: Some(BTreeMap::from([
            ("cpu".to_owned(), Quantity(CPU.to_owned())),
            (MEMORY.to_owned(), Quantity(reserved.to_string())),
        ])),
        ..ResourceRequirements::default()
    }
}
