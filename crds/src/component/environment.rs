//! What a component is given: variables, written out or taken from Secrets and
//! ConfigMaps, in the shapes of `core/v1`.
//!
//! References only. The operator resolves them; the values never come back here.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{bound, schema};

/// One variable: a value, or where to take it from.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.value) != has(self.valueFrom)").message("needs exactly one of value and valueFrom; remove one, or write value: \"\" for an empty value"))]
pub struct EnvVar {
    /// Name of the variable.
    #[schemars(length(min = 1, max = bound::VARIABLE_NAME))]
    #[x_kube(validation = schema::matches("^[-._a-zA-Z][-._a-zA-Z0-9]*$", "must be letters, digits, _, - and ., not starting with a digit"))]
    pub name: String,
    /// The value itself. Use `valueFrom` for what must stay secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::VARIABLE_VALUE))]
    pub value: Option<String>,
    /// Where to take the value from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvVarSource>,
}

/// Where to take one value from.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) != has(self.configMapKeyRef)").message("needs exactly one of secretKeyRef and configMapKeyRef"))]
pub struct EnvVarSource {
    /// A key of a Secret of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeySelector>,
    /// A key of a ConfigMap of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKeySelector>,
}

/// A key of a Secret of the same namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretKeySelector {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = bound::NAME))]
    pub name: String,
    /// Key within its data.
    #[schemars(length(min = 1, max = bound::VARIABLE_NAME))]
    pub key: String,
    /// Whether the component starts without it; false when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A key of a ConfigMap of the same namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigMapKeySelector {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = bound::NAME))]
    pub name: String,
    /// Key within its data.
    #[schemars(length(min = 1, max = bound::VARIABLE_NAME))]
    pub key: String,
    /// Whether the component starts without it; false when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// All keys of a Secret or ConfigMap as variables.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.configMapRef) != has(self.secretRef)").message("needs exactly one of configMapRef and secretRef"))]
pub struct EnvFromSource {
    /// Put before each key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bound::LABEL))]
    #[x_kube(validation = schema::matches("^([-._a-zA-Z][-._a-zA-Z0-9]*)?$", "must be letters, digits, _, - and ., not starting with a digit"))]
    pub prefix: Option<String>,
    /// A ConfigMap of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ObjectReference>,
    /// A Secret of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<ObjectReference>,
}

/// A Secret or ConfigMap of the same namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectReference {
    /// Name of the object.
    #[schemars(length(min = 1, max = bound::NAME))]
    pub name: String,
    /// Whether the component starts without it; false when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}
