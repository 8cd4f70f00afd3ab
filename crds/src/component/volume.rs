//! Files for a component: scratch space, and ConfigMaps, Secrets and directories of the
//! node as files. In the shapes of `core/v1`, as far as a running agent can offer them.

use capability::Bytes;
use kube::KubeSchema;
use kube::core::Rule;
use serde::{Deserialize, Serialize};

use crate::{bound, schema};

/// One volume, with exactly one source. It appears to the component only where
/// `capabilities.filesystem` mounts it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.emptyDir), has(self.configMap), has(self.secret), has(self.hostPath)].filter(there, there).size() == 1")
    .message("needs exactly one of emptyDir, configMap, secret and hostPath; write for example emptyDir: {sizeLimit: 64Mi}"))]
pub struct Volume {
    /// Name of the volume.
    #[schemars(length(min = 1, max = bound::LABEL))]
    #[x_kube(validation = schema::matches("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "must be lower-case letters, digits and -; write for example data"))]
    pub name: String,
    /// An empty directory on the node, kept over revisions and restarts of the component on
    /// that node, and removed when the component leaves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDirVolume>,
    /// Keys of a ConfigMap of the same namespace as files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapVolume>,
    /// Keys of a Secret of the same namespace as files, in memory only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolume>,
    /// A directory of the node. Needs a capability policy and an agent that allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<HostPathVolume>,
}

/// An empty directory on the node.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmptyDirVolume {
    /// The most that its files may hold together, with 4Ki for each file and directory. A
    /// write beyond it fails as on a full disk.
    #[serde(default = "default_size_limit")]
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(validation = schema::quantity_between(bound::SIZE_LIMIT_MIN, bound::SIZE_LIMIT_MAX))]
    pub size_limit: Bytes,
}

/// Keys of a ConfigMap as files.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigMapVolume {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = bound::NAME))]
    pub name: String,
    /// Keys, and the files they become. Absent: each key is a file of its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::VOLUME_ITEMS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".into()]), validation = distinct_paths())]
    pub items: Vec<KeyToPath>,
    /// Whether the component starts without it; false when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// Keys of a Secret as files.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretVolume {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = bound::NAME))]
    pub secret_name: String,
    /// Keys, and the files they become. Absent: each key is a file of its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::VOLUME_ITEMS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".into()]), validation = distinct_paths())]
    pub items: Vec<KeyToPath>,
    /// Whether the component starts without it; false when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A directory of the node.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPathVolume {
    /// The directory, which must be there.
    #[schemars(length(min = 1, max = bound::GUEST_PATH))]
    #[x_kube(
        validation = schema::matches("^(/[^/*]+)+$", "must be an absolute path below / without a slash at its end; write for example /srv/models"),
        validation = Rule::new("!self.matches('/[.][.]?(/|$)')").message("must not contain . or .. as a segment; write the path itself")
    )]
    pub path: String,
}

/// One key, and the file it becomes.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyToPath {
    /// Key within the data.
    #[schemars(length(min = 1, max = bound::VARIABLE_NAME))]
    pub key: String,
    /// The file, relative to the volume.
    #[schemars(length(min = 1, max = bound::GUEST_PATH))]
    #[x_kube(validation = Rule::new("self.matches('^[^/]+(/[^/]+)*$') && !self.matches('(^|/)[.][.]?(/|$)')").message("must be a relative path without . and ..; write for example app.conf"))]
    pub path: String,
}

impl Volume {
    /// Whether a component can be given write rights in it.
    pub fn is_writable(&self) -> bool {
        self.empty_dir.is_some() || self.host_path.is_some()
    }
}

impl Default for EmptyDirVolume {
    fn default() -> Self {
        Self {
            size_limit: default_size_limit(),
        }
    }
}

/// Two keys in one file would be one of them, by chance.
fn distinct_paths() -> Rule {
    Rule::new("self.all(a, self.exists_one(b, b.path == a.path))")
        .message("two items have the same path; give each key a file of its own")
}

fn default_size_limit() -> Bytes {
    Bytes::mib(64)
}
