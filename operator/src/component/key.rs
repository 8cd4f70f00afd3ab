//! The name of a component in a cluster, as maps and queues need it.
//!
//! Ordered by namespace and name, so that every plan walks components in the
//! same order. It must not know the object itself.

use std::fmt;

/// Namespace and name of a `WasmComponent`; `Display` is `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The component's namespace.
    pub namespace: String,
    /// The component's name.
    pub name: String,
}

impl Key {
    /// The key of `namespace/name`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
