//! What a component is granted: which paths of its volumes, which places in the network and
//! which executables. Absent means nothing.
//!
//! The user's part of effective = request ∩ grant ∩ ceiling, as written; what it amounts
//! to is for the crate `capability`, which `grant` converts to.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::outbound::OutboundGrant;
use super::process::Processes;
use crate::{bound, schema};

/// What a component is granted.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("self.grant != 'Requested' || !has(self.network) || !has(self.network.outbound) || size(self.network.outbound) == 0")
        .message("grant: Requested already grants every host that the signed manifest asks for; remove network.outbound, or write grant: Listed"),
    validation = Rule::new("self.grant != 'Requested' || !has(self.filesystem) || self.filesystem.all(m, (!has(m.read) || size(m.read) == 0) && (!has(m.write) || size(m.write) == 0))")
        .message("grant: Requested already grants every path that the signed manifest asks for; remove read and write from filesystem, or write grant: Listed"),
    validation = Rule::new("self.grant != 'Requested' || !has(self.process)")
        .message("grant: Requested already grants every executable that the signed manifest asks for; remove process, or write grant: Listed")
)]
pub struct Capabilities {
    /// Whether the lists below are the grant, or all that the signed manifest asks for,
    /// as far as the capability policies allow it.
    #[serde(default)]
    pub grant: GrantMode,
    /// Where volumes appear to the component, and what it may do there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::MOUNTS))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["mountPath".into()]),
        validation = Rule::new("self.all(a, self.all(b, a.mountPath == b.mountPath || !b.mountPath.startsWith(a.mountPath + '/')))")
            .message("one mountPath lies inside another; give each volume a directory of its own")
    )]
    pub filesystem: Vec<MountGrant>,
    /// What the component may reach in the network.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub network: NetworkGrants,
    /// Which executables of the platform the component may start.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub process: Processes,
}

/// Where one volume appears to the component, and what it may do there. Paths are the
/// component's own, absolute and with `/`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(!has(self.read) || self.read.all(p, p == self.mountPath || p.startsWith(self.mountPath + '/'))) && (!has(self.write) || self.write.all(p, p == self.mountPath || p.startsWith(self.mountPath + '/')))")
    .message("read and write must lie below mountPath; begin each of them with it"))]
pub struct MountGrant {
    /// Name of one of `spec.volumes`.
    #[schemars(length(min = 1, max = bound::LABEL))]
    pub volume: String,
    /// The directory that the volume appears as, such as `/data`.
    #[schemars(length(min = 1, max = bound::GUEST_PATH))]
    #[x_kube(
        validation = schema::matches("^(/[^/*]+)+$", "must be an absolute path below / without a slash at its end; write for example /data"),
        validation = Rule::new("!self.matches('/[.][.]?(/|$)')").message("must not contain . or .. as a segment; write the path itself")
    )]
    pub mount_path: String,
    /// Paths that may be read: segments with `*` for part of one, and a last `**` for
    /// all that is below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::path_globs")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub read: Vec<String>,
    /// Paths that may be written, created and removed. Reading is granted by `read` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::path_globs")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub write: Vec<String>,
}

/// What the component may reach in the network.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkGrants {
    /// Where the component may connect to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::OUTBOUND))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub outbound: Vec<OutboundGrant>,
}

/// Whether what is listed is the grant, or what is requested.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum GrantMode {
    /// What `filesystem`, `network` and `process` list.
    #[default]
    Listed,
    /// All that the signed manifest asks for, under the capability policies' ceiling.
    Requested,
    /// A way of a later version. Nothing is granted.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// What of a component's use of its capabilities is recorded.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum AuditLevel {
    /// What was denied, and every use of credentials.
    Denials,
    /// Also the first use of each path, host and other object.
    #[default]
    FirstUse,
    /// Every use.
    All,
    /// A level of a later version. Everything is recorded.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
