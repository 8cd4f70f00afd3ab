//! Taints and tolerations, with Kubernetes' matching rules and three of our own.
//!
//! Pure. Silence is not judged here (`Standing`), so the taints that speak of it
//! do not count; those that announce the end of a node move what is there.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use super::Mode;

/// Taint of a cordoned node (`spec.unschedulable`).
pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Taint that stands for a guard Pod that is being evicted: `kubectl drain` or an
/// autoscaler wants the node. It is never on the Node itself; `crate::node` adds it.
pub const DRAINING: &str = "lighterman.dev/draining";

/// Keys whose taints do not count here: the operator judges silence by its own
/// clock (`Standing`), and these would move everything before the grace period.
const JUDGED_BY_STANDING: [&str; 2] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];

/// `NoSchedule` taints that announce the end of the node: what is there leaves,
/// as `kubectl drain` and the autoscalers would have pods do.
const LEAVING: [&str; 4] = [
    UNSCHEDULABLE,
    DRAINING,
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
];

/// The taints a DaemonSet tolerates by itself, and so does `EveryNode`. A drain
/// passes DaemonSets over, so it passes these components over too.
const TOLERATED_BY_EVERY_NODE: [&str; 5] = [
    UNSCHEDULABLE,
    DRAINING,
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/pid-pressure",
];

/// Whether a node with this taint is on its way out.
pub fn announces_end(taint: &Taint) -> bool {
    !only_deters(taint) && LEAVING.contains(&taint.key.as_str())
}

/// Whether a taint moves what is on its node, unless it is tolerated.
pub(super) fn evicts(taint: &Taint) -> bool {
    taint.effect == "NoExecute" || announces_end(taint)
}

/// Whether a taint only makes its node the last choice.
pub(super) fn only_deters(taint: &Taint) -> bool {
    taint.effect == "PreferNoSchedule"
}

/// The taints of a node that a component does not put up with.
pub(super) fn untolerated<'a>(
    taints: &'a [Taint],
    tolerations: &'a [Toleration],
    mode: Mode,
) -> impl Iterator<Item = &'a Taint> {
    taints.iter().filter(move |taint| {
        let key = taint.key.as_str();
        let ignored = JUDGED_BY_STANDING.contains(&key);
        let implied = mode == Mode::EveryNode && TOLERATED_BY_EVERY_NODE.contains(&key);
        let tolerated = tolerations
            .iter()
            .any(|toleration| tolerates(toleration, taint));
        !(ignored || implied || tolerated)
    })
}

/// Whether a toleration covers a taint (core/v1 `Toleration`).
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration
        .effect
        .as_deref()
        .is_none_or(|effect| effect.is_empty() || effect == taint.effect);
    let key = toleration.key.as_deref().unwrap_or_default();
    let operator = toleration.operator.as_deref().unwrap_or("Equal");
    effect
        && match operator {
            "Exists" => key.is_empty() || key == taint.key,
            "Equal" | "" => {
                key == taint.key
                    && toleration.value.as_deref().unwrap_or_default()
                        == taint.value.as_deref().unwrap_or_default()
            }
            _ => false,
        }
}
