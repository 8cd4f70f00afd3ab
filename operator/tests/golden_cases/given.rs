//! `given.yaml` of a golden case: what is observed, in short.
//!
//! Only its form; `golden.rs` makes of it what `observe` would have gathered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use capability::Bytes;
use crds::placement::RunEnd;
use crds::{CapabilityPolicySpec, Reason, Tally, WasmComponent};
use k8s_openapi::api::core::v1::Taint;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Given {
    pub(super) component: WasmComponent,
    #[serde(default)]
    pub(super) resolution: GivenResolution,
    /// What the image is built for.
    #[serde(default)]
    pub(super) p3: bool,
    pub(super) values: Option<GivenBlocked>,
    #[serde(default)]
    pub(super) nodes: BTreeMap<String, GivenNode>,
    #[serde(default)]
    pub(super) placements: Vec<GivenPlacement>,
    /// Images whose revisions are there, oldest first.
    #[serde(default)]
    pub(super) revisions: Vec<String>,
    #[serde(default)]
    pub(super) service: GivenService,
    /// Slices behind our Service: addresses and whether they are ready.
    #[serde(default)]
    pub(super) slices: Vec<GivenSlice>,
    /// Milliseconds since they were written.
    pub(super) since_slices: Option<u64>,
    #[serde(default)]
    pub(super) ports: GivenPorts,
    /// Whether there are NetworkPolicies; none is there yet.
    #[serde(default)]
    pub(super) network_policies: bool,
    /// What policies in audit would refuse the image for.
    #[serde(default)]
    pub(super) audits: Vec<GivenAudit>,
    /// Digests of what runs that a policy stops, by the words they are the hashes of.
    #[serde(default)]
    pub(super) denied: Vec<String>,
    /// Seconds since the last wave was stopped.
    pub(super) since_stop: Option<u64>,
    /// The image whose revision the status calls current.
    pub(super) current: Option<String>,
    /// The image whose revision the status says is taking over.
    pub(super) updating: Option<GivenUpdate>,
    /// The image whose revision the status says is pinned, for this spec.
    pub(super) pinned: Option<String>,
    /// The image that the status says has failed, for this spec.
    pub(super) failed: Option<String>,
    /// `Component.toml` of images, by the words that their digests are the hashes of.
    #[serde(default)]
    pub(super) manifests: BTreeMap<String, String>,
    /// Capability policies that cover the namespace.
    #[serde(default)]
    pub(super) capability_policies: Vec<GivenPolicy>,
    /// What the other components of the namespace take.
    #[serde(default)]
    pub(super) others: GivenUsage,
    /// What stands under the names of its previews.
    #[serde(default)]
    pub(super) previews: Vec<WasmComponent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct GivenUpdate {
    pub(super) to: String,
    #[serde(default)]
    pub(super) reached: i32,
    /// Steps of its canary that it has passed.
    pub(super) step: Option<i32>,
    /// Seconds since it reached the last node; absent while its time stands still.
    pub(super) since: Option<u64>,
    /// What it has answered since the step began.
    #[serde(default)]
    pub(super) calls: Tally,
    /// What the revision before it has answered since then.
    #[serde(default)]
    pub(super) calls_before: Tally,
}

#[derive(Deserialize)]
pub(super) struct GivenPolicy {
    pub(super) name: String,
    #[serde(default)]
    pub(super) spec: CapabilityPolicySpec,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GivenUsage {
    pub(super) components: u32,
    pub(super) memory: Bytes,
    pub(super) ports: u32,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct GivenAudit {
    pub(super) policy: String,
    pub(super) reason: Reason,
    pub(super) message: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) enum GivenResolution {
    #[default]
    Pending,
    /// The image's digest, by the word it is the hash of.
    Done(String),
    Failed {
        reason: Reason,
        message: String,
        verdict: bool,
        /// What was judged, if not what the image is.
        of: Option<String>,
        #[serde(default)]
        stops: bool,
    },
}

#[derive(Deserialize)]
pub(super) struct GivenBlocked {
    pub(super) reason: Reason,
    pub(super) message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct GivenNode {
    pub(super) address: IpAddr,
    #[serde(default = "memory")]
    pub(super) memory: Bytes,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) taints: Vec<Taint>,
    #[serde(default = "ready")]
    pub(super) standing: GivenStanding,
    pub(super) zone: Option<String>,
    #[serde(default)]
    pub(super) terminating: bool,
    #[serde(default = "features")]
    pub(super) features: BTreeSet<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
pub(super) enum GivenStanding {
    Ready,
    Suspended,
    Lost,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct GivenPlacement {
    pub(super) node: String,
    #[serde(default = "one")]
    pub(super) replicas: i32,
    /// Words whose hashes are the digests.
    pub(super) revisions: Vec<String>,
    #[serde(default = "all_or_nothing")]
    pub(super) weights: Vec<u32>,
    /// Images of revisions that share the requests.
    #[serde(default)]
    pub(super) sharing: Vec<String>,
    pub(super) serving: Option<String>,
    pub(super) failed: Option<String>,
    /// Seconds for which the first revision has served.
    pub(super) steady: Option<u64>,
    /// How its replicas are, of a component that runs by itself.
    pub(super) run: Option<GivenRun>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(super) struct GivenRun {
    /// The image of the revision.
    pub(super) of: String,
    pub(super) running: i32,
    pub(super) waiting: i32,
    pub(super) completed: i32,
    pub(super) failed: i32,
    pub(super) last_end: Option<RunEnd>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) enum GivenService {
    #[default]
    Absent,
    Ours,
    Foreign,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct GivenSlice {
    /// Nodes whose endpoints are in it and ready.
    pub(super) ready: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) enum GivenPorts {
    #[default]
    Held,
    Exhausted,
}

fn memory() -> Bytes {
    Bytes::mib(64)
}

fn features() -> BTreeSet<String> {
    BTreeSet::from(["http", "run", "run-ports", "invoke", "capabilities"].map(str::to_owned))
}

fn ready() -> GivenStanding {
    GivenStanding::Ready
}

fn all_or_nothing() -> Vec<u32> {
    vec![100, 0]
}

fn one() -> i32 {
    1
}
